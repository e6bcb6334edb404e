/* The engine, each case with the ring and with threads: bytes, errors, turns, cancelling, faults,
 * small limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/sys.h"
#include "io/engine.h"
#include "support/fault_sys.h"

#define PIECE 65536
#define PIECES 100

struct fixture {
    const char *name;
    struct lode_io *io;
    int fd;
    unsigned char *data; /* PIECES * PIECE bytes */
    char why[200];       /* there is no such engine here */
    atomic_int calls;
};

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 16) * 7);
}

static int setup(void **state, const char *name)
{
    static struct fixture f;
    struct lode_err err = {0};
    f = (struct fixture){
        .name = name, .fd = memfd_create("engine", 0), .data = malloc((size_t)PIECES * PIECE)};
    if (lode_io_new(name, 8, &f.io, &err) < 0)
        snprintf(f.why, sizeof f.why, "%s", err.text);
    for (size_t i = 0; i < (size_t)PIECES * PIECE; i++)
        f.data[i] = byte_at(i);
    *state = &f;
    return 0;
}

/* The case's engine; ends the case as skipped where there is none. */
static struct fixture *fixture_of(void **state)
{
    struct fixture *f = *state;
    if (!f->io) {
        print_message("%s\n", f->why);
        skip();
    }
    return f;
}

static int setup_uring(void **state)
{
    return setup(state, "uring");
}

static int setup_threads(void **state)
{
    return setup(state, "threads");
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fault_uninstall();
    lode_io_unref(f->io);
    close(f->fd);
    free(f->data);
    return 0;
}

static void count_call(struct lode_io_op *op)
{
    struct fixture *f = op->arg;
    atomic_fetch_add(&f->calls, 1);
}

static void fill_ops(struct fixture *f, struct lode_io_op *ops, enum lode_io_kind kind,
                     unsigned char *base)
{
    for (size_t i = 0; i < PIECES; i++)
        ops[i] = (struct lode_io_op){.kind = kind,
                                     .fd = f->fd,
                                     .buf = base + i * PIECE,
                                     .len = PIECE,
                                     .offset = i * PIECE,
                                     .done = count_call,
                                     .arg = f};
}

static void transfer_all(struct fixture *f, enum lode_io_kind kind, unsigned char *base)
{
    struct lode_io_op ops[PIECES];
    struct lode_io_batch batch;
    f->calls = 0;
    fill_ops(f, ops, kind, base);
    lode_io_batch_init(&batch, f->io);
    lode_io_submit(&batch, ops, PIECES);
    lode_io_wait(&batch);
    assert_int_equal(f->calls, PIECES);
    for (size_t i = 0; i < PIECES; i++) {
        assert_int_equal(ops[i].error, 0);
        assert_int_equal(ops[i].moved, PIECE);
    }
}

static void round_trip(void **state)
{
    struct fixture *f = fixture_of(state);
    size_t n = (size_t)PIECES * PIECE;
    unsigned char *back = calloc(1, n);
    transfer_all(f, LODE_IO_WRITE, f->data);
    transfer_all(f, LODE_IO_READ, back);
    assert_memory_equal(back, f->data, n);
    free(back);
}

static void registered(void **state)
{
    struct fixture *f = fixture_of(state);
    size_t n = (size_t)PIECES * PIECE;
    unsigned char *back = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    lode_io_register(f->io, back, n);
    transfer_all(f, LODE_IO_WRITE, f->data);
    transfer_all(f, LODE_IO_READ, back);
    lode_io_unregister(f->io, back);
    assert_memory_equal(back, f->data, n);
    munmap(back, n);
}

static struct lode_io_op one(struct fixture *f, enum lode_io_kind kind, int fd, void *buf,
                             size_t len, uint64_t offset)
{
    struct lode_io_op op = {.kind = kind,
                            .fd = fd,
                            .buf = buf,
                            .len = len,
                            .offset = offset,
                            .done = count_call,
                            .arg = f};
    struct lode_io_batch batch;
    lode_io_batch_init(&batch, f->io);
    lode_io_submit(&batch, &op, 1);
    lode_io_wait(&batch);
    return op;
}

static void errors(void **state)
{
    struct fixture *f = fixture_of(state);
    char buf[16];
    struct lode_err err;
    assert_int_equal(pwrite(f->fd, "0123456789", 10, 0), 10);
    struct lode_io_op op = one(f, LODE_IO_READ, f->fd, buf, 16, 4);
    assert_int_equal(op.error, ENODATA);
    assert_int_equal(op.moved, 6);
    assert_memory_equal(buf, "456789", 6);
    assert_int_equal(lode_io_op_err(&op, "f", &err), LODE_IO);
    assert_string_equal(err.text, "cannot read f at byte 10: the file ends early");
    op = one(f, LODE_IO_READ, 987, buf, 16, 0);
    assert_int_equal(op.error, EBADF);
    int ro = open("/dev/full", O_WRONLY);
    op = one(f, LODE_IO_WRITE, ro, buf, 16, 0);
    assert_int_equal(op.error, ENOSPC);
    close(ro);
    op = one(f, LODE_IO_READ, 987, NULL, 0, 0);
    assert_int_equal(op.error, 0);
    assert_int_equal(f->calls, 4);
}

/* Callbacks may go on with the next piece: a stream with one operation. */
struct stream {
    struct fixture *f;
    struct lode_io_batch batch;
    unsigned char sum;
    unsigned char piece[PIECE];
    size_t at;
};

static void next_piece(struct lode_io_op *op)
{
    struct stream *s = op->arg;
    for (size_t i = 0; i < op->len; i++)
        s->sum ^= s->piece[i];
    op->offset += PIECE;
    if (op->offset < (uint64_t)PIECES * PIECE)
        lode_io_submit(&s->batch, op, 1);
}

static void streaming(void **state)
{
    struct fixture *f = fixture_of(state);
    unsigned char sum = 0;
    struct stream s = {.f = f};
    transfer_all(f, LODE_IO_WRITE, f->data);
    for (size_t i = 0; i < (size_t)PIECES * PIECE; i++)
        sum ^= f->data[i];
    struct lode_io_op op = {.kind = LODE_IO_READ,
                            .fd = f->fd,
                            .buf = s.piece,
                            .len = PIECE,
                            .done = next_piece,
                            .arg = &s};
    lode_io_batch_init(&s.batch, f->io);
    lode_io_submit(&s.batch, &op, 1);
    lode_io_wait(&s.batch);
    assert_int_equal(s.sum, sum);
}

/* Slow reads show that the queue is dropped at once. */
static void cancelling(void **state)
{
    struct fixture *f = fixture_of(state);
    struct lode_io_op ops[PIECES];
    struct lode_io_batch batch;
    int cancelled = 0;
    char byte;
    transfer_all(f, LODE_IO_WRITE, f->data);
    fault_install();
    fault_slow_read(20); /* 100 of them would take seconds */
    int64_t begin = lode_mono_ms();
    unsigned char *back = malloc((size_t)PIECES * PIECE);
    fill_ops(f, ops, LODE_IO_READ, back);
    f->calls = 0;
    lode_io_batch_init(&batch, f->io);
    lode_io_submit(&batch, ops, PIECES);
    lode_io_cancel(&batch);
    struct lode_io_op late = {.fd = f->fd, .buf = &byte, .len = 1, .done = count_call, .arg = f};
    lode_io_submit(&batch, &late, 1);
    lode_io_wait(&batch);
    assert_int_equal(late.error, ECANCELED);
    assert_int_equal(f->calls, PIECES + 1);
    for (int i = 0; i < PIECES; i++)
        cancelled += ops[i].error == ECANCELED;
    assert_true(cancelled >= PIECES / 2);
    assert_true(lode_mono_ms() - begin < 1500);
    free(back);
}

static atomic_int order, short_came;

static void note_order(struct lode_io_op *op)
{
    int n = atomic_fetch_add(&order, 1);
    if (op->arg)
        atomic_store((atomic_int *)op->arg, n);
}

/* A batch of one, submitted behind a batch of a hundred, is served long before their end. */
static void batches_take_turns(void **state)
{
    struct fixture *f = fixture_of(state);
    struct lode_io_op ops[PIECES], small;
    struct lode_io_batch crowd, alone;
    char byte;
    transfer_all(f, LODE_IO_WRITE, f->data);
    fault_install();
    fault_slow_read(2);
    unsigned char *back = malloc((size_t)PIECES * PIECE);
    fill_ops(f, ops, LODE_IO_READ, back);
    for (int i = 0; i < PIECES; i++) {
        ops[i].done = note_order;
        ops[i].arg = NULL;
    }
    order = 0;
    small = (struct lode_io_op){
        .fd = f->fd, .buf = &byte, .len = 1, .done = note_order, .arg = &short_came};
    lode_io_batch_init(&crowd, f->io);
    lode_io_batch_init(&alone, f->io);
    lode_io_submit(&crowd, ops, PIECES);
    lode_io_submit(&alone, &small, 1);
    lode_io_wait(&alone);
    lode_io_wait(&crowd);
    assert_true(short_came < PIECES / 2);
    free(back);
}

/* Short and interrupted transfers are the engine's business; other errors are the caller's. */
static void faults(void **state)
{
    struct fixture *f = fixture_of(state);
    unsigned char *back = calloc(PIECES, PIECE);
    static const int healed[] = {EINTR, EAGAIN, FAULT_SHORT};
    fault_install();
    for (size_t k = 0; k < LODE_ARRAY_LEN(healed); k++) {
        for (uint64_t nth = 1; nth < 200; nth += 37) {
            fault_fail(FAULT_WRITE, nth, healed[k], FAULT_ONCE);
            transfer_all(f, LODE_IO_WRITE, f->data);
            fault_fail(FAULT_READ, nth, healed[k], FAULT_ONCE);
            transfer_all(f, LODE_IO_READ, back);
            assert_memory_equal(back, f->data, (size_t)PIECES * PIECE);
        }
    }
    fault_fail(FAULT_READ, 1, FAULT_SHORT, FAULT_STICKY);
    transfer_all(f, LODE_IO_READ, back);
    assert_memory_equal(back, f->data, (size_t)PIECES * PIECE);
    fault_fail(FAULT_READ, 1, EIO, FAULT_ONCE);
    struct lode_io_op op = one(f, LODE_IO_READ, f->fd, back, PIECE, 0);
    assert_int_equal(op.error, EIO);
    fault_fail(FAULT_READ, 1, EAGAIN, FAULT_STICKY); /* not for ever */
    op = one(f, LODE_IO_READ, f->fd, back, PIECE, 0);
    assert_int_equal(op.error, EAGAIN);
    free(back);
}

static void creation_without_memory(void **state)
{
    struct fixture *f = fixture_of(state);
    struct lode_io *io;
    struct lode_err err = {0};
    fault_install();
    fault_fail(FAULT_MALLOC, 1, ENOMEM, FAULT_ONCE);
    assert_int_equal(lode_io_new(f->name, 8, &io, &err), LODE_NO_MEMORY);
    assert_int_equal(lode_io_new(f->name, 8, &io, &err), 0);
    lode_io_unref(io);
}

static void choosing(void **state)
{
    struct lode_io *a, *b;
    struct lode_err err = {0};
    struct lode_io_about about;
    setenv("LODE_IO", "threads", 1);
    assert_int_equal(lode_io_get(&a, &err), 0);
    assert_int_equal(lode_io_get(&b, &err), 0);
    assert_ptr_equal(a, b);
    lode_io_describe(a, &about);
    assert_string_equal(about.name, "threads");
    assert_string_equal(about.why, "LODE_IO says so");
    assert_false(about.registers);
    lode_io_unref(a);
    lode_io_unref(b);
    setenv("LODE_IO", "aio", 1);
    assert_int_equal(lode_io_get(&a, &err), LODE_INVALID);
    unsetenv("LODE_IO");
    assert_int_equal(lode_io_get(&a, &err), 0);
    lode_io_describe(a, &about);
    assert_true(about.why[0] && about.registers_why[0]);
    fprintf(stderr, "here: %s, %s; registered memory: %s\n", about.name, about.why,
            about.registers_why);
    lode_io_unref(a);
}

/* An ordinary user with little locked memory: whatever cannot be had is done without. */
static int as_ordinary_user(void)
{
    struct rlimit small = {64 << 10, 64 << 10};
    struct lode_io *io;
    struct lode_io_about about;
    struct lode_err err = {0};
    char path[] = "/tmp/lode-engine-XXXXXX", buf[10] = {0};
    if (setrlimit(RLIMIT_MEMLOCK, &small) < 0 ||
        (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0)))
        return 10;
    if (lode_io_get(&io, &err) < 0)
        return 11;
    lode_io_describe(io, &about);
    fprintf(stderr, "ordinary user: %s, %s; registered memory: %s\n", about.name, about.why,
            about.registers_why);
    if (about.registers || !about.registers_why[0])
        return 12;
    struct fixture f = {.io = io, .fd = mkstemp(path)};
    unlink(path);
    lode_io_register(io, buf, sizeof buf); /* small enough, or not: it must work either way */
    if (one(&f, LODE_IO_WRITE, f.fd, (char *)"0123456789", 10, 0).error)
        return 13;
    if (one(&f, LODE_IO_READ, f.fd, buf, 10, 0).error || memcmp(buf, "0123456789", 10) != 0)
        return 14;
    lode_io_unregister(io, buf);
    lode_io_unref(io);
    return 0;
}

static void ordinary_user(void **state)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(as_ordinary_user());
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

/* A child of fork() gets an engine of its own. */
static void after_fork(void **state)
{
#ifdef __SANITIZE_THREAD__
    print_message("the thread sanitizer allows a forked child no threads\n");
    skip();
#endif
    struct lode_io *io;
    int status;
    assert_int_equal(lode_io_get(&io, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        struct fixture f = {.fd = open("/dev/zero", O_RDONLY)};
        if (lode_io_get(&f.io, NULL) < 0 || f.io == io)
            _exit(1);
        _exit(one(&f, LODE_IO_READ, f.fd, &byte, 1, 0).error);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    lode_io_unref(io);
}

#define BOTH(f)                                                                                    \
    {#f "@uring", f, setup_uring, teardown, NULL},                                                 \
    {                                                                                              \
#f "@threads", f, setup_threads, teardown, NULL                                            \
    }

static const struct CMUnitTest tests[] = {
    BOTH(round_trip),
    BOTH(registered),
    BOTH(errors),
    BOTH(streaming),
    BOTH(cancelling),
    BOTH(batches_take_turns),
    BOTH(faults),
    BOTH(creation_without_memory),
    cmocka_unit_test(choosing),
    cmocka_unit_test(ordinary_user),
    cmocka_unit_test(after_fork),
};

int main(void)
{
    unsetenv("LODE_IO");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
