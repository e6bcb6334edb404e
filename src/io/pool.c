/* The buffer pool: see io/pool.h. Free buffers are a stack of addresses. */
#include "io/pool.h"
#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/size.h"
#include "base/sys.h"

struct lode_pool {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    char *base; /* the mapping: count * size bytes */
    size_t size, count;
    void **stack;       /* owned; free buffers, the warmest last; guarded by lock */
    size_t n_free;      /* guarded by lock */
    bool cancelled;     /* guarded by lock */
    struct lode_io *io; /* referenced, or NULL */
};

static int map(struct lode_pool *p, bool prefault, struct lode_err *err)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (prefault ? MAP_POPULATE : 0);
    void *base = lode_sys->mmap(NULL, p->size * p->count, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED)
        return lode_err_sys(err, "cannot map %zu MiB of buffers", p->size * p->count >> 20);
    p->base = base;
    for (size_t i = p->count; i-- > 0;)
        p->stack[p->n_free++] = p->base + i * p->size;
    return 0;
}

int lode_pool_new(size_t size, size_t total, bool prefault, struct lode_io *io,
                  struct lode_pool **out, struct lode_err *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded;
    if (size == 0 || !lode_add_size(size, page - 1, &rounded))
        return lode_err_set(err, LODE_LIMIT, "buffers of %zu bytes cannot be", size);
    struct lode_pool *p = lode_zalloc(sizeof *p);
    if (!p)
        return lode_err_nomem(err, "a buffer pool");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->freed, NULL);
    p->size = rounded & ~(page - 1);
    p->count = lode_max(total / p->size, (size_t)1);
    p->stack = lode_calloc(p->count, sizeof *p->stack);
    int r = p->stack ? map(p, prefault, err) : lode_err_nomem(err, "a buffer pool");
    if (r < 0) {
        lode_pool_free(p);
        return r;
    }
    if (io) {
        p->io = lode_io_ref(io);
        lode_io_register(io, p->base, p->size * p->count);
    }
    *out = p;
    return 0;
}

int lode_pool_get(struct lode_pool *p, void **out, struct lode_err *err)
{
    int r = 0;
    pthread_mutex_lock(&p->lock);
    while (!p->n_free && !p->cancelled)
        pthread_cond_wait(&p->freed, &p->lock);
    if (p->cancelled)
        r = lode_err_set(err, LODE_CANCELLED, "stopped while waiting for a buffer");
    else
        *out = p->stack[--p->n_free];
    pthread_mutex_unlock(&p->lock);
    return r;
}

void *lode_pool_try_get(struct lode_pool *p)
{
    pthread_mutex_lock(&p->lock);
    void *buf = p->n_free && !p->cancelled ? p->stack[--p->n_free] : NULL;
    pthread_mutex_unlock(&p->lock);
    return buf;
}

void lode_pool_put(struct lode_pool *p, void *buf)
{
    if (!buf)
        return;
    pthread_mutex_lock(&p->lock);
    assert(p->n_free < p->count && (size_t)((char *)buf - p->base) % p->size == 0);
    p->stack[p->n_free++] = buf;
    pthread_cond_signal(&p->freed);
    pthread_mutex_unlock(&p->lock);
}

void lode_pool_cancel(struct lode_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->cancelled = true;
    pthread_cond_broadcast(&p->freed);
    pthread_mutex_unlock(&p->lock);
}

size_t lode_pool_size(const struct lode_pool *p)
{
    return p->size;
}

size_t lode_pool_count(const struct lode_pool *p)
{
    return p->count;
}

void lode_pool_free(struct lode_pool *p)
{
    if (!p)
        return;
    assert(!p->base || p->n_free == p->count);
    if (p->io) {
        lode_io_unregister(p->io, p->base);
        lode_io_unref(p->io);
    }
    if (p->base)
        lode_sys->munmap(p->base, p->size * p->count);
    pthread_cond_destroy(&p->freed);
    pthread_mutex_destroy(&p->lock);
    lode_free(p->stack);
    lode_free(p);
}
