/* The engine's common part: choosing, queueing, finishing. See io/engine.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/sys.h"
#include "io/engine_impl.h"

#define STEP_MAX                                                                                   \
    ((size_t)1 << 30)  /* bytes of one system call; the kernel itself stops below 2 GiB */
#define AGAIN_MAX 1000 /* EAGAIN in a row before it is an error */
#define TRIAL_LEN ((size_t)16 << 20) /* bytes that describe tries to register */

/* ---- choosing ---- */

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lode_io *shared; /* guarded by shared_lock; holds no reference of its own */

static int create(const struct lode_io_ops *ops, unsigned depth, const char *why,
                  struct lode_io **out, struct lode_err *err)
{
    int r = ops->create(depth ? depth : LODE_IO_DEPTH, out, err);
    if (r == 0)
        snprintf((*out)->why, sizeof(*out)->why, "%s", why);
    return r;
}

static int create_best(unsigned depth, struct lode_io **out, struct lode_err *err)
{
    struct lode_err reason = {0};
    char why[200];
    if (create(&lode_io_uring, depth, "io_uring works here", out, &reason) == 0)
        return 0;
    lode_log_debug("no io_uring: %s", reason.text);
    snprintf(why, sizeof why, "%.190s", reason.text);
    return create(&lode_io_threads, depth, why, out, err);
}

int lode_io_new(const char *name, unsigned depth, struct lode_io **out, struct lode_err *err)
{
    const char *why = "asked for";
    if (!name && (name = getenv("LODE_IO")))
        why = "LODE_IO says so";
    if (!name || !*name)
        return create_best(depth, out, err);
    if (strcmp(name, "uring") == 0)
        return create(&lode_io_uring, depth, why, out, err);
    if (strcmp(name, "threads") == 0)
        return create(&lode_io_threads, depth, why, out, err);
    return lode_err_set(err, LODE_INVALID, "LODE_IO is '%.32s': it must be uring or threads", name);
}

int lode_io_get(struct lode_io **out, struct lode_err *err)
{
    int r = 0;
    pthread_mutex_lock(&shared_lock);
    if (shared && shared->owner != getpid())
        shared = NULL; /* a fork's child: the threads stayed with the parent */
    if (shared) {
        *out = lode_io_ref(shared);
    } else {
        r = lode_io_new(NULL, 0, out, err);
        if (r == 0)
            shared = *out;
    }
    pthread_mutex_unlock(&shared_lock);
    return r;
}

struct lode_io *lode_io_ref(struct lode_io *io)
{
    atomic_fetch_add(&io->refs, 1);
    return io;
}

struct lode_io *lode_io_unref(struct lode_io *io)
{
    if (!io)
        return NULL;
    /* Under the lock, or lode_io_get() could revive an engine that is about to end. */
    pthread_mutex_lock(&shared_lock);
    bool last = atomic_fetch_sub(&io->refs, 1) == 1;
    if (last && shared == io)
        shared = NULL;
    pthread_mutex_unlock(&shared_lock);
    if (last)
        io->ops->destroy(io);
    return NULL;
}

void lode_io_init(struct lode_io *io, const struct lode_io_ops *ops, unsigned depth)
{
    io->ops = ops;
    atomic_init(&io->refs, 1);
    io->owner = getpid();
    io->depth = depth;
    pthread_mutex_init(&io->lock, NULL);
}

void lode_io_release(struct lode_io *io)
{
    pthread_mutex_destroy(&io->lock);
}

/* ---- finishing ---- */

/* The last that the engine has to do with an operation. */
static void finish(struct lode_io_op *op, int error)
{
    struct lode_io_batch *batch = op->batch;
    op->error = error;
    op->done(op); /* may free op */
    pthread_mutex_lock(&batch->lock);
    if (--batch->pending == 0)
        pthread_cond_broadcast(&batch->idle);
    pthread_mutex_unlock(&batch->lock);
}

static bool is_cancelled(struct lode_io_batch *batch)
{
    pthread_mutex_lock(&batch->io->lock);
    bool cancelled = batch->cancelled;
    pthread_mutex_unlock(&batch->io->lock);
    return cancelled;
}

/* -1: go on; else the errno that the operation ends with, 0 for success. */
static int verdict(struct lode_io_op *op, ssize_t result)
{
    if (result == -EINTR)
        return -1;
    if (result == -EAGAIN)
        return ++op->tries < AGAIN_MAX ? -1 : EAGAIN;
    if (result < 0)
        return (int)-result;
    if (result == 0)
        return op->kind == LODE_IO_READ ? ENODATA : EIO;
    op->tries = 0;
    op->moved += (size_t)result;
    return op->moved < op->len && !LODE_PLANTED(io_short_is_whole) ? -1 : 0;
}

bool lode_io_step(struct lode_io_op *op, ssize_t result)
{
    int error = verdict(op, result);
    if (error < 0 && is_cancelled(op->batch))
        error = ECANCELED;
    if (error < 0)
        return true;
    finish(op, error);
    return false;
}

struct lode_io_rest lode_io_rest(const struct lode_io_op *op)
{
    return (struct lode_io_rest){.buf = (char *)op->buf + op->moved,
                                 .len = lode_min(op->len - op->moved, STEP_MAX),
                                 .offset = op->offset + op->moved};
}

int lode_io_op_err(const struct lode_io_op *op, const char *what, struct lode_err *err)
{
    return lode_err_num(err, op->error, "cannot %s %s at byte %llu",
                        op->kind == LODE_IO_READ ? "read" : "write", what,
                        (unsigned long long)(op->offset + op->moved));
}

/* ---- queueing ---- */

void lode_io_batch_init(struct lode_io_batch *batch, struct lode_io *io)
{
    *batch = (struct lode_io_batch){.io = io};
    pthread_mutex_init(&batch->lock, NULL);
    pthread_cond_init(&batch->idle, NULL);
}

static void enqueue_batch(struct lode_io *io, struct lode_io_batch *batch)
{
    batch->queued = true;
    batch->next = NULL;
    if (io->last)
        io->last->next = batch;
    else
        io->first = batch;
    io->last = batch;
}

/* A batch whose operations were taken away stays in the list until its turn; pop() and wait() see
 * to that. */
static struct lode_io_batch *dequeue_batch(struct lode_io *io)
{
    struct lode_io_batch *batch = io->first;
    if (!batch)
        return NULL;
    io->first = batch->next;
    if (!io->first)
        io->last = NULL;
    batch->queued = false;
    return batch;
}

static void unlink_batch(struct lode_io *io, struct lode_io_batch *batch)
{
    struct lode_io_batch **at = &io->first, *before = NULL;
    if (!batch->queued)
        return;
    for (; *at != batch; at = &(*at)->next)
        before = *at;
    *at = batch->next;
    if (io->last == batch)
        io->last = before;
    batch->queued = false;
}

struct lode_io_op *lode_io_pop(struct lode_io *io)
{
    struct lode_io_batch *batch = dequeue_batch(io);
    if (!batch)
        return NULL;
    struct lode_io_op *op = batch->head;
    batch->head = op->next;
    if (batch->head)
        enqueue_batch(io, batch);
    else
        batch->tail = NULL;
    return op;
}

static void prepare(struct lode_io_batch *batch, struct lode_io_op *op)
{
    op->batch = batch;
    op->next = NULL;
    op->moved = 0;
    op->error = 0;
    op->tries = 0;
}

/* Queues operations that have bytes to move; false if the batch is cancelled. */
static bool enqueue(struct lode_io_batch *batch, struct lode_io_op *op, size_t n)
{
    struct lode_io *io = batch->io;
    pthread_mutex_lock(&io->lock);
    bool cancelled = batch->cancelled && !LODE_PLANTED(io_cancel_is_late);
    for (size_t i = 0; !cancelled && i < n; i++) {
        if (batch->tail)
            batch->tail->next = &op[i];
        else
            batch->head = &op[i];
        batch->tail = &op[i];
    }
    if (!cancelled) {
        if (!batch->queued)
            enqueue_batch(io, batch);
        io->ops->wake(io, n);
    }
    pthread_mutex_unlock(&io->lock);
    return !cancelled;
}

void lode_io_submit(struct lode_io_batch *batch, struct lode_io_op *op, size_t n)
{
    if (n == 0)
        return;
    pthread_mutex_lock(&batch->lock);
    batch->pending += n;
    pthread_mutex_unlock(&batch->lock);
    /* Empty operations split the array into runs: the engine proper never sees them. */
    for (size_t from = 0; from < n;) {
        size_t run = 0;
        for (; from + run < n && op[from + run].len; run++)
            prepare(batch, &op[from + run]);
        bool empty_follows = from + run < n;
        size_t next = from + run + empty_follows;
        if (run && !enqueue(batch, &op[from], run)) {
            for (size_t i = 0; i < run; i++)
                finish(&op[from + i], ECANCELED);
        }
        if (empty_follows) {
            prepare(batch, &op[from + run]);
            finish(&op[from + run], 0);
        }
        from = next;
    }
}

void lode_io_wait(struct lode_io_batch *batch)
{
    pthread_mutex_lock(&batch->lock);
    while (batch->pending)
        pthread_cond_wait(&batch->idle, &batch->lock);
    pthread_mutex_unlock(&batch->lock);
    pthread_cond_destroy(&batch->idle);
    pthread_mutex_destroy(&batch->lock);
}

void lode_io_cancel(struct lode_io_batch *batch)
{
    struct lode_io *io = batch->io;
    pthread_mutex_lock(&io->lock);
    batch->cancelled = true;
    unlink_batch(io, batch);
    struct lode_io_op *op = batch->head;
    batch->head = batch->tail = NULL;
    pthread_mutex_unlock(&io->lock);
    while (op) {
        struct lode_io_op *next = op->next;
        finish(op, ECANCELED);
        op = next;
    }
}

/* ---- registered memory ---- */

void lode_io_register(struct lode_io *io, void *base, size_t len)
{
    struct lode_err reason = {0};
    if (!io->ops->enroll)
        return;
    pthread_mutex_lock(&io->lock);
    if (!io->region && io->ops->enroll(io, base, len, &reason) == 0) {
        io->region = base;
        io->region_len = len;
    }
    pthread_mutex_unlock(&io->lock);
    if (reason.code)
        lode_log_debug("%s: going on unregistered", reason.text);
}

void lode_io_unregister(struct lode_io *io, void *base)
{
    pthread_mutex_lock(&io->lock);
    if (io->region && io->region == base) {
        io->ops->withdraw(io);
        io->region = NULL;
    }
    pthread_mutex_unlock(&io->lock);
}

/* Whether registering works here, by doing it. */
static void try_registering(struct lode_io *io, struct lode_io_about *out)
{
    struct lode_err reason = {0};
    void *p =
        lode_sys->mmap(NULL, TRIAL_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        snprintf(out->registers_why, sizeof out->registers_why, "no memory to try it");
        return;
    }
    pthread_mutex_lock(&io->lock);
    out->registers = io->region || io->ops->enroll(io, p, TRIAL_LEN, &reason) == 0;
    if (out->registers && !io->region)
        io->ops->withdraw(io);
    pthread_mutex_unlock(&io->lock);
    snprintf(out->registers_why, sizeof out->registers_why, "%.190s",
             out->registers ? "ok" : reason.text);
    lode_sys->munmap(p, TRIAL_LEN);
}

void lode_io_describe(struct lode_io *io, struct lode_io_about *out)
{
    *out = (struct lode_io_about){.depth = io->depth};
    snprintf(out->name, sizeof out->name, "%s", io->ops->name);
    snprintf(out->why, sizeof out->why, "%s", io->why);
    if (io->ops->enroll)
        try_registering(io, out);
    else
        snprintf(out->registers_why, sizeof out->registers_why,
                 "threads need no registered memory");
}
