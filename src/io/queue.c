/* The bounded queue: see io/queue.h. A ring of pointers under one lock. */
#include "io/queue.h"
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include "base/mem.h"

struct lode_queue {
    pthread_mutex_t lock;
    pthread_cond_t room, more;
    void **ring;         /* owned */
    size_t cap, head, n; /* all below guarded by lock */
    bool closed;
    int cancelled; /* 0, or the code */
};

int lode_queue_new(size_t capacity, struct lode_queue **out, struct lode_err *err)
{
    struct lode_queue *q = lode_zalloc(sizeof *q);
    if (!q)
        return lode_err_nomem(err, "a queue");
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->room, NULL);
    pthread_cond_init(&q->more, NULL);
    q->cap = lode_max(capacity, (size_t)1);
    q->ring = lode_calloc(q->cap, sizeof *q->ring);
    if (!q->ring) {
        lode_queue_free(q);
        return lode_err_nomem(err, "a queue");
    }
    *out = q;
    return 0;
}

int lode_queue_push(struct lode_queue *q, void *item)
{
    pthread_mutex_lock(&q->lock);
    assert(!q->closed && item);
    while (q->n == q->cap && !q->cancelled)
        pthread_cond_wait(&q->room, &q->lock);
    int r = q->cancelled;
    if (r == 0) {
        q->ring[(q->head + q->n++) % q->cap] = item;
        pthread_cond_signal(&q->more);
    }
    pthread_mutex_unlock(&q->lock);
    return r;
}

static void *take(struct lode_queue *q)
{
    if (!q->n)
        return NULL;
    void *item = q->ring[q->head];
    q->head = (q->head + 1) % q->cap;
    q->n--;
    pthread_cond_signal(&q->room);
    return item;
}

int lode_queue_pop(struct lode_queue *q, void **item)
{
    pthread_mutex_lock(&q->lock);
    while (!q->n && !q->closed && !q->cancelled)
        pthread_cond_wait(&q->more, &q->lock);
    int r = q->cancelled;
    if (r == 0)
        *item = take(q);
    pthread_mutex_unlock(&q->lock);
    return r;
}

void lode_queue_close(struct lode_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
}

void lode_queue_cancel(struct lode_queue *q, int code)
{
    pthread_mutex_lock(&q->lock);
    if (!q->cancelled)
        q->cancelled = code;
    pthread_cond_broadcast(&q->more);
    pthread_cond_broadcast(&q->room);
    pthread_mutex_unlock(&q->lock);
}

void *lode_queue_rest(struct lode_queue *q)
{
    pthread_mutex_lock(&q->lock);
    void *item = take(q);
    pthread_mutex_unlock(&q->lock);
    return item;
}

void lode_queue_free(struct lode_queue *q)
{
    if (!q)
        return;
    assert(q->n == 0);
    pthread_cond_destroy(&q->room);
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
    lode_free(q->ring);
    lode_free(q);
}
