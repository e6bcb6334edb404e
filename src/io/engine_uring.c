/* The engine by io_uring: one thread owns the ring, fills it from the queue and calls back.
 *
 * Only that thread touches the ring after its creation (registering apart, which is a call of its
 * own to the kernel), so no request is handed between threads through the ring and the thread
 * sanitizer sees every hand-over at the engine's lock. It sleeps in the ring; an eventfd that it
 * reads there wakes it for new operations.
 */
#include <errno.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "io/engine_impl.h"

struct uring {
    struct lode_io io;
    struct io_uring ring;
    pthread_t thread;
    int wake_fd;
    uint64_t wake_count;      /* where the eventfd is read to */
    bool armed;               /* the eventfd's read is in the ring; the thread's own */
    bool asleep;              /* the thread may be waiting in the ring; guarded by io.lock */
    unsigned in_flight;       /* the thread's own */
    struct lode_io_op *again; /* operations to go on with; the thread's own */
};

static struct uring *uring_of(struct lode_io *io)
{
    return lode_container_of(io, struct uring, io);
}

static bool is_registered(const struct uring *u, const struct lode_io_rest *rest)
{
    const char *base = u->io.region;
    return base && rest->buf >= base && (size_t)(rest->buf - base) + rest->len <= u->io.region_len;
}

/* Puts what is left of an operation into the ring. io.lock is held, for the region. */
static void fill(struct uring *u, struct lode_io_op *op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring); /* there is room: in_flight < depth */
    struct lode_io_rest rest = lode_io_rest(op);
    unsigned len = (unsigned)rest.len;
    bool fixed = is_registered(u, &rest);
    if (op->kind == LODE_IO_READ && fixed)
        io_uring_prep_read_fixed(sqe, op->fd, rest.buf, len, rest.offset, 0);
    else if (op->kind == LODE_IO_READ)
        io_uring_prep_read(sqe, op->fd, rest.buf, len, rest.offset);
    else if (fixed)
        io_uring_prep_write_fixed(sqe, op->fd, rest.buf, len, rest.offset, 0);
    else
        io_uring_prep_write(sqe, op->fd, rest.buf, len, rest.offset);
    io_uring_sqe_set_data(sqe, op);
    u->in_flight++;
}

static void arm_wake(struct uring *u)
{
    if (u->armed)
        return;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    io_uring_prep_read(sqe, u->wake_fd, &u->wake_count, sizeof u->wake_count, 0);
    io_uring_sqe_set_data(sqe, NULL);
    u->armed = true;
}

/* Fills the ring; false when all is done and the end has come. */
static bool refill(struct uring *u)
{
    arm_wake(u);
    pthread_mutex_lock(&u->io.lock);
    while (u->in_flight < u->io.depth) {
        struct lode_io_op *op = u->again;
        if (op)
            u->again = op->next;
        else
            op = lode_io_pop(&u->io);
        if (!op)
            break;
        fill(u, op);
    }
    bool go_on = u->in_flight || !u->io.stopping;
    u->asleep = go_on;
    pthread_mutex_unlock(&u->io.lock);
    return go_on;
}

static void complete(struct uring *u, struct lode_io_op *op, int result)
{
    u->in_flight--;
    result = lode_sys->ring_result(op->kind == LODE_IO_WRITE, op->fd, result);
    if (!lode_io_step(op, result))
        return;
    op->next = u->again;
    u->again = op;
}

static void reap(struct uring *u)
{
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
        struct lode_io_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&u->ring, cqe);
        if (op)
            complete(u, op, result);
        else
            u->armed = false;
    }
}

static void *run(void *arg)
{
    struct uring *u = arg;
    while (refill(u)) {
        int r = io_uring_submit_and_wait(&u->ring, 1);
        pthread_mutex_lock(&u->io.lock);
        u->asleep = false;
        pthread_mutex_unlock(&u->io.lock);
        /* Transient ones heal by reaping; the requests stay in the ring and are submitted again. */
        if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY) {
            lode_log_warn("io_uring_submit_and_wait: error %d", -r);
            lode_sleep_ms(1);
        }
        reap(u);
    }
    return NULL;
}

/* The lock is held. One write of the eventfd is enough until the thread has looked at the queue
 * again. */
static void wake(struct lode_io *io, size_t n)
{
    struct uring *u = uring_of(io);
    if (!u->asleep)
        return;
    u->asleep = false;
    if (eventfd_write(u->wake_fd, 1) < 0)
        lode_log_warn("cannot wake the I/O ring");
}

static void release(struct uring *u)
{
    lode_closep(&u->wake_fd);
    lode_io_release(&u->io);
    lode_free(u);
}

/* The kernel gives a closed ring's addresses to the next one. liburing maps and unmaps behind the
 * thread sanitizer's back, so it is told that what a ring's thread wrote there came before anything
 * of a later ring. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
static char ring_addresses;
static void addresses_given_back(void)
{
    __tsan_release(&ring_addresses);
}
static void addresses_taken(void)
{
    __tsan_acquire(&ring_addresses);
}
#else
static void addresses_given_back(void)
{
}
static void addresses_taken(void)
{
}
#endif

static void destroy(struct lode_io *io)
{
    struct uring *u = uring_of(io);
    pthread_mutex_lock(&io->lock);
    io->stopping = true;
    wake(io, 0);
    pthread_mutex_unlock(&io->lock);
    pthread_join(u->thread, NULL);
    addresses_given_back();
    io_uring_queue_exit(&u->ring);
    release(u);
}

static int setup_ring(struct uring *u, unsigned depth, struct lode_err *err)
{
    /* Room for the eventfd's read too. */
    int r = io_uring_queue_init(depth + 1, &u->ring, IORING_SETUP_CLAMP);
    if (r == -EPERM || r == -EACCES)
        return lode_err_set(err, LODE_UNSUPPORTED,
                            "io_uring is not permitted here (seccomp or "
                            "kernel.io_uring_disabled)");
    if (r == -ENOSYS)
        return lode_err_set(err, LODE_UNSUPPORTED, "this kernel or sandbox has no io_uring");
    if (r < 0) {
        struct lode_err reason = {0};
        lode_err_num(&reason, r, "io_uring cannot be set up (limit on locked memory: ulimit -l)");
        return lode_err_set(err, LODE_UNSUPPORTED, "%s", reason.text);
    }
    struct io_uring_probe *probe = io_uring_get_probe_ring(&u->ring);
    bool able = probe && io_uring_opcode_supported(probe, IORING_OP_READ) &&
                io_uring_opcode_supported(probe, IORING_OP_WRITE);
    io_uring_free_probe(probe);
    if (able)
        return 0;
    io_uring_queue_exit(&u->ring);
    return lode_err_set(err, LODE_UNSUPPORTED,
                        "the io_uring of this kernel is too old (5.6 is needed)");
}

static int start(struct uring *u, unsigned depth, struct lode_err *err)
{
    int r = setup_ring(u, depth, err);
    if (r < 0)
        return r;
    addresses_taken();
    r = pthread_create(&u->thread, NULL, run, u);
    if (r == 0)
        return 0;
    io_uring_queue_exit(&u->ring);
    return lode_err_num(err, r, "cannot start the I/O ring's thread");
}

static int create(unsigned depth, struct lode_io **out, struct lode_err *err)
{
    struct uring *u = lode_zalloc(sizeof *u);
    if (!u)
        return lode_err_nomem(err, "the I/O ring");
    u->wake_fd = eventfd(0, EFD_CLOEXEC);
    lode_io_init(&u->io, &lode_io_uring, depth);
    int r = u->wake_fd < 0 ? lode_err_sys(err, "cannot make an eventfd") : start(u, depth, err);
    if (r < 0) {
        release(u);
        return r;
    }
    *out = &u->io;
    return 0;
}

static int enroll(struct lode_io *io, void *base, size_t len, struct lode_err *err)
{
    struct iovec region = {.iov_base = base, .iov_len = len};
    int r = io_uring_register_buffers(&uring_of(io)->ring, &region, 1);
    return r < 0 ? lode_err_num(err, r, "cannot register %zu MiB with the ring (ulimit -l)",
                                len >> 20)
                 : 0;
}

static void withdraw(struct lode_io *io)
{
    io_uring_unregister_buffers(&uring_of(io)->ring);
}

const struct lode_io_ops lode_io_uring = {.name = "uring",
                                          .create = create,
                                          .wake = wake,
                                          .destroy = destroy,
                                          .enroll = enroll,
                                          .withdraw = withdraw};
