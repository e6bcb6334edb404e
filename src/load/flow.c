/* A flow of several threads: see load/flow.h. */
#include "load/flow.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include "base/clock.h"
#include "base/sys.h"

#define TICK_MS 40

int lode_flow_init(struct lode_flow *self, const char *stage, const struct lode_call *call,
                   struct lode_err *err)
{
    *self = (struct lode_flow){.call = call, .stage = stage};
    pthread_condattr_t attr;
    int r = pthread_mutex_init(&self->lock, NULL);
    if (r != 0)
        return lode_err_num(err, r, "cannot make a lock");
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    r = pthread_cond_init(&self->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (r == 0)
        return 0;
    pthread_mutex_destroy(&self->lock);
    return lode_err_num(err, r, "cannot make a condition");
}

void lode_flow_release(struct lode_flow *self)
{
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
}

int lode_flow_fail(struct lode_flow *self, const struct lode_err *why)
{
    pthread_mutex_lock(&self->lock);
    if (!self->err.code)
        self->err = *why;
    pthread_mutex_unlock(&self->lock);
    atomic_store(&self->stopped, true);
    return why->code;
}

bool lode_flow_stopped(struct lode_flow *self)
{
    return atomic_load_explicit(&self->stopped, memory_order_relaxed);
}

static void tell(struct lode_flow *self)
{
    if (!self->call || !self->call->progress)
        return;
    struct lode_progress p = {
        .stage = self->stage,
        .done = atomic_load(&self->done),
        .total = atomic_load(&self->total),
        .files_done = atomic_load(&self->files_done),
        .files_total = atomic_load(&self->files_total),
    };
    self->call->progress(self->call->arg, &p);
}

int lode_flow_tick(struct lode_flow *self, struct lode_err *err)
{
    tell(self);
    if (!self->call || !self->call->cancelled || !self->call->cancelled(self->call->arg))
        return 0;
    return lode_err_set(err, LODE_CANCELLED, "stopped by the caller");
}

struct start {
    struct lode_flow *flow;
    lode_flow_worker *worker;
    void *arg;
};

static void *work(void *arg)
{
    struct start *start = arg;
    start->worker(start->arg);
    pthread_mutex_lock(&start->flow->lock);
    start->flow->running--;
    pthread_cond_signal(&start->flow->wake);
    pthread_mutex_unlock(&start->flow->lock);
    return NULL;
}

/* Sleeps until a worker ended or the tick is over; false when none runs any more. */
static bool wait_a_tick(struct lode_flow *self)
{
    struct timespec until;
    lode_sys->clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000l;
    until.tv_sec += until.tv_nsec / 1000000000l;
    until.tv_nsec %= 1000000000l;
    pthread_mutex_lock(&self->lock);
    if (self->running)
        pthread_cond_timedwait(&self->wake, &self->lock, &until);
    bool running = self->running > 0;
    pthread_mutex_unlock(&self->lock);
    return running;
}

static unsigned start_threads(struct lode_flow *self, struct start *start, unsigned n,
                              pthread_t *threads, int *failed)
{
    unsigned started = 0;
    for (; started < n; started++) {
        pthread_mutex_lock(&self->lock);
        self->running++;
        pthread_mutex_unlock(&self->lock);
        *failed = pthread_create(&threads[started], NULL, work, start);
        if (*failed) {
            pthread_mutex_lock(&self->lock);
            self->running--;
            pthread_mutex_unlock(&self->lock);
            break;
        }
    }
    return started;
}

int lode_flow_run(struct lode_flow *self, unsigned n, lode_flow_worker *worker, void *arg,
                  struct lode_err *err)
{
    pthread_t threads[LODE_FLOW_THREADS_MAX];
    struct start start = {self, worker, arg};
    struct lode_err why;
    int failed = 0, r = lode_flow_tick(self, err);
    if (r < 0)
        return r;
    unsigned started =
        start_threads(self, &start, lode_min(n, (unsigned)LODE_FLOW_THREADS_MAX), threads, &failed);
    if (started == 0)
        return lode_err_num(err, failed, "cannot start a thread");
    while (wait_a_tick(self)) {
        if (!lode_flow_stopped(self) && lode_flow_tick(self, &why) < 0)
            lode_flow_fail(self, &why);
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    tell(self);
    if (self->err.code && err)
        *err = self->err;
    return self->err.code;
}

unsigned lode_flow_threads(unsigned low, unsigned high)
{
    cpu_set_t set;
    unsigned cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    return lode_min(lode_max(2 * cpus, low), high);
}
