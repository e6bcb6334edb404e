/* The read/write engine: many positioned transfers in flight, each told when it is done.
 *
 * Two implementations behind one table: the ring (io_uring, one thread that owns it) and threads
 * (blocking pread and pwrite). LODE_IO=uring|threads chooses; without it the ring is taken where
 * the kernel and the sandbox allow it, threads elsewhere. A process has one shared engine, made by
 * the first lode_io_get() and ended with its last reference.
 *
 * The caller owns operations and batches; submitting allocates nothing, never blocks and cannot
 * fail. What does not fit into the depth waits in a queue; batches take turns, so that a long batch
 * does not starve a short one. Short transfers, EINTR and EAGAIN are handled inside: an operation
 * is done whole or failed.
 *
 * Invariants
 *  1. `done` is called exactly once for each submitted operation, on any thread, with no lock of
 * the engine held.
 *  2. After lode_io_wait() has returned no callback of the batch runs or will run, and no buffer of
 * it is touched.
 *  3. An engine touches neither operation nor buffer after it has called `done`.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct lode_io;

enum lode_io_kind { LODE_IO_READ, LODE_IO_WRITE };

struct lode_io_op {
    enum lode_io_kind kind;
    int fd;          /* borrowed until done */
    void *buf;       /* borrowed until done; only read from by a write */
    size_t len;      /* bytes; 0 is done at once */
    uint64_t offset; /* bytes from the file's start */
    void (*done)(struct lode_io_op
                     *op); /* must not block; may submit this and other operations, free this */
    void *arg;             /* the caller's */
    /* Set before `done` is called. */
    size_t moved; /* bytes transferred; len when error is 0 */
    int error;    /* 0 or an errno: ENODATA where the file ends before offset + len,
                     ECANCELED after lode_io_cancel */
    /* The engine's. */
    struct lode_io_batch *batch;
    struct lode_io_op *next;
    unsigned tries;
};

/* Operations that are waited for and cancelled together. Lives where the caller likes, until
 * lode_io_wait(). */
struct lode_io_batch {
    struct lode_io *io;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t pending; /* submitted and not done; guarded by lock */
    bool cancelled; /* guarded by the engine's lock */
    bool queued;    /* is in the engine's list of batches; guarded by the engine's lock */
    struct lode_io_op *head, *tail; /* operations not begun; guarded by the engine's lock */
    struct lode_io_batch *next;
};

/* The shared engine, one more reference. Never fails for want of io_uring unless LODE_IO=uring
 * demands it (UNSUPPORTED). Thread-safe. */
int lode_io_get(struct lode_io **out, struct lode_err *err) lode_must_use;

/* An engine of one's own: `name` "uring", "threads" or NULL (as lode_io_get), depth 0:
 * LODE_IO_DEPTH. */
int lode_io_new(const char *name, unsigned depth, struct lode_io **out,
                struct lode_err *err) lode_must_use;

struct lode_io *lode_io_ref(struct lode_io *io);

/* Drops a reference; the last one ends the threads. All batches of the caller have been waited for.
 * Not to be called from a callback. NULL is fine. Returns NULL. */
struct lode_io *lode_io_unref(struct lode_io *io);

void lode_io_batch_init(struct lode_io_batch *batch, struct lode_io *io);

/* Starts n operations (op, op + 1, ...). Thread-safe, also from callbacks. */
void lode_io_submit(struct lode_io_batch *batch, struct lode_io_op *op, size_t n);

/* Waits until all operations of the batch are done, and releases the batch: init it anew to use it
 * again. Not to be called from a callback. */
void lode_io_wait(struct lode_io_batch *batch);

/* Operations not begun are done with ECANCELED (before this returns, on this thread), those in
 * flight finish by themselves; what is submitted later is cancelled at once. Thread-safe, also from
 * callbacks. Call lode_io_wait() after it. */
void lode_io_cancel(struct lode_io_batch *batch);

/* Tells a failed operation on `what`: "cannot read model.bin at 4096: ...". Returns the code. */
int lode_io_op_err(const struct lode_io_op *op, const char *what, struct lode_err *err);

/* Registers one region with the ring, so that the kernel need not pin its pages for each direct
 * transfer. A hint: where it cannot be (threads, memlock too small, a region is there already)
 * transfers go on without. Unregister before the region is freed and with no operation on it in
 * flight. */
void lode_io_register(struct lode_io *io, void *base, size_t len);
void lode_io_unregister(struct lode_io *io, void *base);

/* For `doctor`: what is used here, and why. */
struct lode_io_about {
    char name[16];           /* "uring" or "threads" */
    char why[200];           /* "LODE_IO", "the default", "io_uring is not permitted here: ..." */
    unsigned depth;          /* transfers in flight at most */
    bool registers;          /* buffers can be registered */
    char registers_why[200]; /* "ok", or why not */
};
void lode_io_describe(struct lode_io *io, struct lode_io_about *out);

static inline void lode_io_unrefp(struct lode_io **io)
{
    lode_io_unref(*io);
}
#define _cleanup_io_ __attribute__((cleanup(lode_io_unrefp)))
