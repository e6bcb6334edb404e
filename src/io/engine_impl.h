/* What the engine and its implementations share. Private to src/io/engine*.c.
 *
 * An implementation takes operations with lode_io_pop(), moves their bytes and gives each result to
 * lode_io_step(), which says whether to go on with the operation or finishes it.
 */
#pragma once
#include <stdatomic.h>
#include <sys/types.h>
#include "io/engine.h"

struct lode_io_ops {
    const char *name;
    /* Makes an instance whose first member is struct lode_io and starts its threads. UNSUPPORTED
     * with the reason where the system does not allow it. */
    int (*create)(unsigned depth, struct lode_io **out, struct lode_err *err);
    void (*wake)(struct lode_io *self,
                 size_t n);                /* n operations have been queued; the lock is held */
    void (*destroy)(struct lode_io *self); /* nothing is queued or in flight: ends threads, frees */
    int (*enroll)(struct lode_io *self, void *base, size_t len,
                  struct lode_err *err); /* NULL: cannot */
    void (*withdraw)(struct lode_io *self);
};

extern const struct lode_io_ops lode_io_uring, lode_io_threads;

struct lode_io {
    const struct lode_io_ops *ops;
    atomic_int refs;
    pid_t owner; /* a forked child must not use it */
    unsigned depth;
    char why[200]; /* set before it is shared */
    pthread_mutex_t lock;
    struct lode_io_batch *first,
        *last;     /* batches with operations not begun, in turn; guarded by lock */
    bool stopping; /* guarded by lock */
    char *region;  /* registered memory; guarded by lock */
    size_t region_len;
};

void lode_io_init(struct lode_io *io, const struct lode_io_ops *ops, unsigned depth);
void lode_io_release(struct lode_io *io);

/* The next operation to begin, or NULL. The lock is held. */
struct lode_io_op *lode_io_pop(struct lode_io *io);

/* Takes the outcome of one system call or completion (bytes, or -errno). True: the operation has
 * bytes left, go on at lode_io_rest(); false: it is finished and must not be touched. No lock is
 * held. */
bool lode_io_step(struct lode_io_op *op, ssize_t result);

/* What is left of an operation, at most what one system call takes. */
struct lode_io_rest {
    char *buf;
    size_t len;
    uint64_t offset;
};
struct lode_io_rest lode_io_rest(const struct lode_io_op *op);
