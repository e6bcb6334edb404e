/* The engine by threads: each takes an operation and does it with blocking system calls. Works
 * everywhere. */
#include <errno.h>
#include <unistd.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/sys.h"
#include "io/engine_impl.h"

struct threads {
    struct lode_io io;
    pthread_cond_t more; /* with io.lock: something is queued, or the end */
    unsigned n;
    pthread_t ids[LODE_IO_THREADS_MAX];
};

static struct threads *threads_of(struct lode_io *io)
{
    return lode_container_of(io, struct threads, io);
}

static void transfer(struct lode_io_op *op)
{
    ssize_t moved;
    do {
        struct lode_io_rest rest = lode_io_rest(op);
        if (op->kind == LODE_IO_READ)
            moved = lode_sys->pread(op->fd, rest.buf, rest.len, (off_t)rest.offset);
        else
            moved = lode_sys->pwrite(op->fd, rest.buf, rest.len, (off_t)rest.offset);
    } while (lode_io_step(op, moved < 0 ? -errno : moved));
}

static void *run(void *arg)
{
    struct threads *t = arg;
    pthread_mutex_lock(&t->io.lock);
    for (;;) {
        struct lode_io_op *op = lode_io_pop(&t->io);
        if (op) {
            pthread_mutex_unlock(&t->io.lock);
            transfer(op);
            pthread_mutex_lock(&t->io.lock);
        } else if (t->io.stopping) {
            break;
        } else {
            pthread_cond_wait(&t->more, &t->io.lock);
        }
    }
    pthread_mutex_unlock(&t->io.lock);
    return NULL;
}

static void wake(struct lode_io *io, size_t n)
{
    struct threads *t = threads_of(io);
    if (n >= t->n)
        pthread_cond_broadcast(&t->more);
    for (; n < t->n && n > 0; n--)
        pthread_cond_signal(&t->more);
}

static void destroy(struct lode_io *io)
{
    struct threads *t = threads_of(io);
    pthread_mutex_lock(&io->lock);
    io->stopping = true;
    pthread_cond_broadcast(&t->more);
    pthread_mutex_unlock(&io->lock);
    for (unsigned i = 0; i < t->n; i++)
        pthread_join(t->ids[i], NULL);
    pthread_cond_destroy(&t->more);
    lode_io_release(io);
    lode_free(t);
}

/* Enough to keep a disk and its latency busy; more than the cores, for they mostly wait. */
static unsigned thread_count(unsigned depth)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = cores > 0 ? (unsigned)cores * 2 : 4;
    return lode_min(lode_min(lode_max(n, 4u), (unsigned)LODE_IO_THREADS_MAX), depth);
}

static int create(unsigned depth, struct lode_io **out, struct lode_err *err)
{
    struct threads *t = lode_zalloc(sizeof *t);
    if (!t)
        return lode_err_nomem(err, "the I/O threads");
    unsigned want = thread_count(depth);
    lode_io_init(&t->io, &lode_io_threads, want);
    pthread_cond_init(&t->more, NULL);
    int number = 0;
    while (t->n < want && (number = pthread_create(&t->ids[t->n], NULL, run, t)) == 0)
        t->n++;
    if (t->n == 0) {
        destroy(&t->io);
        return lode_err_num(err, number, "cannot start an I/O thread");
    }
    t->io.depth = t->n;
    *out = &t->io;
    return 0;
}

const struct lode_io_ops lode_io_threads = {
    .name = "threads", .create = create, .wake = wake, .destroy = destroy};
