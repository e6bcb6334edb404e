/* Workers: threads that may block on disks, the coord or each other's commits, so that event
 * threads never do.
 *
 * One queue, first in first out. Every task that was added is run, also while the pool stops: a
 * task owns a suspended connection, and nobody else would resume it. */
#include "base/mem.h"
#include "server/srv.h"

struct srv_pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct srv_task *first, *last; /* guarded by lock */
    size_t waiting;                /* guarded by lock */
    bool stopping;                 /* guarded by lock */
    unsigned n;
    pthread_t threads[];
};

static struct srv_task *take(struct srv_pool *self)
{
    pthread_mutex_lock(&self->lock);
    while (!self->first && !self->stopping)
        pthread_cond_wait(&self->more, &self->lock);
    struct srv_task *task = self->first;
    if (task) {
        self->first = task->next;
        self->waiting--;
    }
    pthread_mutex_unlock(&self->lock);
    return task;
}

static void *work(void *arg)
{
    struct srv_task *task;
    while ((task = take(arg)))
        task->run(task);
    return NULL;
}

int srv_pool_start(unsigned threads, struct srv_pool **out, struct lode_err *err)
{
    struct srv_pool *self = lode_zalloc(sizeof(*self) + threads * sizeof(pthread_t));
    if (!self)
        return lode_err_nomem(err, "the workers");
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->more, NULL);
    for (; self->n < threads; self->n++) {
        int r = pthread_create(&self->threads[self->n], NULL, work, self);
        if (r != 0) {
            srv_pool_stop(self);
            return lode_err_num(err, r, "cannot start a worker");
        }
    }
    *out = self;
    return 0;
}

bool srv_pool_add(struct srv_pool *self, struct srv_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&self->lock);
    bool taken = !self->stopping;
    if (taken) {
        if (self->first)
            self->last->next = task;
        else
            self->first = task;
        self->last = task;
        self->waiting++;
        pthread_cond_signal(&self->more);
    }
    pthread_mutex_unlock(&self->lock);
    return taken;
}

size_t srv_pool_waiting(struct srv_pool *self)
{
    pthread_mutex_lock(&self->lock);
    size_t n = self->waiting;
    pthread_mutex_unlock(&self->lock);
    return n;
}

void srv_pool_stop(struct srv_pool *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->more);
    pthread_mutex_unlock(&self->lock);
    for (unsigned i = 0; i < self->n; i++)
        pthread_join(self->threads[i], NULL);
    pthread_cond_destroy(&self->more);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}
