/* The workers: see io/workers.h. */
#include "io/workers.h"
#include <pthread.h>
#include <sched.h>
#include "base/mem.h"

struct lode_workers {
    pthread_mutex_t lock;
    pthread_cond_t more, room, idle;
    struct lode_job *head, *tail; /* waiting; all below guarded by lock */
    size_t waiting, max_waiting;
    size_t unfinished; /* accepted and not run to the end */
    bool cancelled, stopping;
    unsigned n;     /* set before the workers are shared */
    pthread_t *ids; /* owned */
};

static struct lode_job *take(struct lode_workers *w)
{
    struct lode_job *job = w->head;
    if (!job)
        return NULL;
    w->head = job->next;
    if (!w->head)
        w->tail = NULL;
    w->waiting--;
    pthread_cond_signal(&w->room);
    return job;
}

static void *work(void *arg)
{
    struct lode_workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct lode_job *job = take(w);
        if (job) {
            bool cancelled = w->cancelled;
            pthread_mutex_unlock(&w->lock);
            job->run(job, cancelled);
            pthread_mutex_lock(&w->lock);
            if (--w->unfinished == 0)
                pthread_cond_broadcast(&w->idle);
        } else if (w->stopping) {
            break;
        } else {
            pthread_cond_wait(&w->more, &w->lock);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int lode_workers_new(unsigned n, size_t queue, struct lode_workers **out, struct lode_err *err)
{
    struct lode_workers *w = lode_zalloc(sizeof *w);
    if (!w)
        return lode_err_nomem(err, "workers");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    pthread_cond_init(&w->room, NULL);
    pthread_cond_init(&w->idle, NULL);
    w->max_waiting = lode_max(queue, (size_t)1);
    n = lode_max(n, 1u);
    w->ids = lode_calloc(n, sizeof *w->ids);
    int number = 0, r = w->ids ? 0 : lode_err_nomem(err, "workers");
    while (r == 0 && w->n < n && (number = pthread_create(&w->ids[w->n], NULL, work, w)) == 0)
        w->n++;
    if (r == 0 && w->n == 0)
        r = lode_err_num(err, number, "cannot start a worker thread");
    if (r < 0) {
        lode_workers_free(w);
        return r;
    }
    *out = w;
    return 0;
}

/* The lock is held and there is room. */
static void accept_job(struct lode_workers *w, struct lode_job *job)
{
    job->next = NULL;
    if (w->tail)
        w->tail->next = job;
    else
        w->head = job;
    w->tail = job;
    w->waiting++;
    w->unfinished++;
    pthread_cond_signal(&w->more);
}

static int submit(struct lode_workers *w, struct lode_job *job, bool wait)
{
    int r = 0;
    pthread_mutex_lock(&w->lock);
    while (wait && !w->cancelled && w->waiting == w->max_waiting)
        pthread_cond_wait(&w->room, &w->lock);
    if (w->cancelled)
        r = LODE_CANCELLED;
    else if (w->waiting == w->max_waiting)
        r = LODE_LIMIT;
    else
        accept_job(w, job);
    pthread_mutex_unlock(&w->lock);
    return r;
}

int lode_workers_submit(struct lode_workers *w, struct lode_job *job)
{
    return submit(w, job, true);
}

int lode_workers_try_submit(struct lode_workers *w, struct lode_job *job)
{
    return submit(w, job, false);
}

void lode_workers_drain(struct lode_workers *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->unfinished)
        pthread_cond_wait(&w->idle, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void lode_workers_cancel(struct lode_workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->cancelled = true;
    pthread_cond_broadcast(&w->room);
    pthread_mutex_unlock(&w->lock);
}

unsigned lode_workers_count(const struct lode_workers *w)
{
    return w->n;
}

void lode_workers_free(struct lode_workers *w)
{
    if (!w)
        return;
    lode_workers_drain(w);
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->n; i++)
        pthread_join(w->ids[i], NULL);
    pthread_cond_destroy(&w->more);
    pthread_cond_destroy(&w->room);
    pthread_cond_destroy(&w->idle);
    pthread_mutex_destroy(&w->lock);
    lode_free(w->ids);
    lode_free(w);
}

unsigned lode_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    return (unsigned)lode_max(CPU_COUNT(&set), 1);
}
