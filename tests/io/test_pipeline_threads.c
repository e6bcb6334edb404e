/* Pool, queue, workers and engine under many threads; meant for the thread sanitizer too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/sys.h"
#include "io/engine.h"
#include "io/pool.h"
#include "io/queue.h"
#include "io/workers.h"
#include "support/fault_sys.h"

/* ---- pool ---- */

struct borrower {
    struct lode_pool *pool;
    atomic_int *in_use, *most;
    int r;
};

static void *borrow(void *arg)
{
    struct borrower *b = arg;
    for (int i = 0; i < 200; i++) {
        void *buf;
        b->r = lode_pool_get(b->pool, &buf, NULL);
        if (b->r < 0)
            return NULL;
        int n = atomic_fetch_add(b->in_use, 1) + 1, most = atomic_load(b->most);
        while (n > most && !atomic_compare_exchange_weak(b->most, &most, n))
            ;
        memset(buf, i, 64);
        atomic_fetch_sub(b->in_use, 1);
        lode_pool_put(b->pool, buf);
    }
    return NULL;
}

static void pool_is_bounded(void **state)
{
    struct lode_pool *pool;
    pthread_t ids[6];
    struct borrower b[6];
    atomic_int in_use = 0, most = 0;
    assert_int_equal(lode_pool_new(5000, 3 * 8192, true, NULL, &pool, NULL), 0);
    assert_int_equal(lode_pool_size(pool), 8192);
    assert_int_equal(lode_pool_count(pool), 3);
    for (int i = 0; i < 6; i++) {
        b[i] = (struct borrower){pool, &in_use, &most, 0};
        pthread_create(&ids[i], NULL, borrow, &b[i]);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(ids[i], NULL);
        assert_int_equal(b[i].r, 0);
    }
    assert_true(most >= 1 && most <= 3);
    lode_pool_free(pool);
}

static void pool_cancels(void **state)
{
    struct lode_pool *pool;
    void *only;
    pthread_t id;
    atomic_int in_use = 0, most = 0;
    assert_int_equal(lode_pool_new(4096, 1, false, NULL, &pool, NULL), 0);
    assert_int_equal(lode_pool_get(pool, &only, NULL), 0);
    assert_int_equal((uintptr_t)only % 4096, 0);
    assert_null(lode_pool_try_get(pool));
    struct borrower b = {pool, &in_use, &most, 0};
    pthread_create(&id, NULL, borrow, &b);
    usleep(2000);
    lode_pool_cancel(pool);
    pthread_join(id, NULL);
    assert_int_equal(b.r, LODE_CANCELLED);
    lode_pool_put(pool, only);
    assert_null(lode_pool_try_get(pool));
    lode_pool_free(pool);
}

static void pool_without_memory(void **state)
{
    struct lode_pool *pool;
    struct lode_err err = {0};
    assert_int_equal(lode_pool_new(SIZE_MAX, 1, false, NULL, &pool, &err), LODE_LIMIT);
    fault_install();
    for (uint64_t nth = 1; nth <= 2; nth++) {
        fault_fail(FAULT_MALLOC, nth, ENOMEM, FAULT_ONCE);
        assert_int_equal(lode_pool_new(4096, 4096, false, NULL, &pool, &err), LODE_NO_MEMORY);
    }
    fault_fail(FAULT_MMAP, 1, ENOMEM, FAULT_ONCE);
    assert_int_equal(lode_pool_new(4096, 4096, false, NULL, &pool, &err), LODE_NO_MEMORY);
    fault_uninstall();
}

static void queue_and_workers_without_memory(void **state)
{
    struct lode_queue *queue;
    struct lode_workers *workers;
    fault_install();
    for (uint64_t nth = 1; nth <= 2; nth++) {
        fault_fail(FAULT_MALLOC, nth, ENOMEM, FAULT_ONCE);
        assert_int_equal(lode_queue_new(4, &queue, NULL), LODE_NO_MEMORY);
        fault_fail(FAULT_MALLOC, nth, ENOMEM, FAULT_ONCE);
        assert_int_equal(lode_workers_new(2, 4, &workers, NULL), LODE_NO_MEMORY);
    }
    fault_uninstall();
}

/* ---- queue ---- */

#define ITEMS 2000

static void *push_items(void *arg)
{
    for (uintptr_t i = 1; i <= ITEMS; i++) {
        if (lode_queue_push(arg, (void *)i) < 0)
            return NULL;
    }
    lode_queue_close(arg);
    return arg;
}

static void queue_keeps_order(void **state)
{
    struct lode_queue *q;
    pthread_t id;
    void *item, *result;
    assert_int_equal(lode_queue_new(4, &q, NULL), 0);
    pthread_create(&id, NULL, push_items, q);
    for (uintptr_t i = 1; i <= ITEMS; i++) {
        assert_int_equal(lode_queue_pop(q, &item), 0);
        assert_int_equal((uintptr_t)item, i);
    }
    assert_int_equal(lode_queue_pop(q, &item), 0);
    assert_null(item);
    pthread_join(id, &result);
    assert_ptr_equal(result, q);
    lode_queue_free(q);
}

static void queue_cancels_both_sides(void **state)
{
    struct lode_queue *q;
    pthread_t id;
    void *item, *result = &q;
    int left = 0;
    assert_int_equal(lode_queue_new(4, &q, NULL), 0);
    pthread_create(&id, NULL, push_items, q);
    usleep(2000); /* it is full by now, or will be: either way the pusher must end */
    lode_queue_cancel(q, LODE_NO_SPACE);
    lode_queue_cancel(q, LODE_IO);
    pthread_join(id, &result);
    assert_null(result);
    assert_int_equal(lode_queue_pop(q, &item), LODE_NO_SPACE);
    while (lode_queue_rest(q))
        left++;
    assert_true(left <= 4);
    lode_queue_free(q);
}

/* ---- workers ---- */

struct counting {
    struct lode_job job;
    atomic_int *ran, *dropped;
    struct lode_workers *w;
};

static void count_job(struct lode_job *job, bool cancelled)
{
    struct counting *c = lode_container_of(job, struct counting, job);
    atomic_fetch_add(cancelled ? c->dropped : c->ran, 1);
}

static void slow_job(struct lode_job *job, bool cancelled)
{
    usleep(cancelled ? 0 : 2000);
    count_job(job, cancelled);
}

static void workers_run_all(void **state)
{
    struct lode_workers *w;
    struct counting jobs[300];
    atomic_int ran = 0, dropped = 0;
    assert_int_equal(lode_workers_new(3, 8, &w, NULL), 0);
    for (int i = 0; i < 300; i++) {
        jobs[i] = (struct counting){{count_job, NULL}, &ran, &dropped, w};
        assert_int_equal(lode_workers_submit(w, &jobs[i].job), 0);
    }
    lode_workers_drain(w);
    assert_int_equal(ran, 300);
    assert_int_equal(dropped, 0);
    lode_workers_free(w);
}

static void workers_cancel(void **state)
{
    struct lode_workers *w;
    struct counting jobs[100];
    atomic_int ran = 0, dropped = 0;
    int accepted = 0, r = 0;
    assert_int_equal(lode_workers_new(2, 50, &w, NULL), 0);
    for (int i = 0; i < 100; i++) {
        jobs[i] = (struct counting){{slow_job, NULL}, &ran, &dropped, w};
        r = lode_workers_try_submit(w, &jobs[i].job);
        accepted += r == 0;
    }
    assert_int_equal(r, LODE_LIMIT);
    lode_workers_cancel(w);
    assert_int_equal(lode_workers_submit(w, &jobs[99].job), LODE_CANCELLED);
    lode_workers_free(w);
    assert_int_equal(ran + dropped, accepted);
    assert_true(dropped > 0);
}

/* ---- the engine from many threads, with what a pipeline does with it ---- */

struct reader {
    struct lode_io *io;
    struct lode_pool *pool;
    int fd, seed;
    atomic_int bad;
};

#define CHUNK 8192
#define CHUNKS 64

static void put_back(struct lode_io_op *op)
{
    struct reader *r = op->arg;
    const unsigned char *p = op->buf;
    if (op->error != 0 || p[0] != (unsigned char)(op->offset / CHUNK) || p[CHUNK - 1] != p[0])
        atomic_fetch_add(&r->bad, 1);
}

static void *read_many(void *arg)
{
    struct reader *r = arg;
    for (int round = 0; round < 30; round++) {
        struct lode_io_op ops[8];
        struct lode_io_batch batch;
        void *bufs[8];
        lode_io_batch_init(&batch, r->io);
        for (int i = 0; i < 8; i++) {
            r->seed = (int)((unsigned)r->seed * 1103515245u + 12345u);
            uint64_t chunk = (unsigned)r->seed / 65536 % CHUNKS;
            if (lode_pool_get(r->pool, &bufs[i], NULL) < 0)
                abort();
            ops[i] = (struct lode_io_op){.fd = r->fd,
                                         .buf = bufs[i],
                                         .len = CHUNK,
                                         .offset = chunk * CHUNK,
                                         .done = put_back,
                                         .arg = r};
            lode_io_submit(&batch, &ops[i], 1);
        }
        lode_io_wait(&batch);
        for (int i = 0; i < 8; i++)
            lode_pool_put(r->pool, bufs[i]);
    }
    return NULL;
}

static void engine_from_many_threads(const char *name)
{
    struct lode_io *io;
    struct lode_pool *pool;
    pthread_t ids[4];
    struct reader readers[4];
    struct lode_err err = {0};
    if (lode_io_new(name, 16, &io, &err) < 0) {
        print_message("%s\n", err.text);
        skip();
    }
    int fd = memfd_create("chunks", 0);
    for (int i = 0; i < CHUNKS; i++) {
        unsigned char chunk[CHUNK];
        memset(chunk, i, sizeof chunk);
        assert_int_equal(write(fd, chunk, sizeof chunk), CHUNK);
    }
    assert_int_equal(lode_pool_new(CHUNK, 40 * CHUNK, false, io, &pool, NULL), 0);
    for (int i = 0; i < 4; i++) {
        readers[i] = (struct reader){io, pool, fd, i + 1, 0};
        pthread_create(&ids[i], NULL, read_many, &readers[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(ids[i], NULL);
        assert_int_equal(readers[i].bad, 0);
    }
    lode_pool_free(pool);
    close(fd);
    lode_io_unref(io);
}

static void engine_ring(void **state)
{
    engine_from_many_threads("uring");
}

static void engine_threads(void **state)
{
    engine_from_many_threads("threads");
}

static void *get_and_drop(void *arg)
{
    for (int i = 0; i < 50; i++) {
        struct lode_io *io;
        char byte;
        if (lode_io_get(&io, NULL) < 0)
            abort();
        int fd = open("/dev/zero", O_RDONLY);
        struct reader r = {0};
        struct lode_io_op op = {
            .fd = fd, .buf = (char[CHUNK]){0}, .len = CHUNK, .done = put_back, .arg = &r};
        struct lode_io_batch batch;
        lode_io_batch_init(&batch, io);
        lode_io_submit(&batch, &op, 1);
        lode_io_cancel(&batch);
        lode_io_wait(&batch);
        close(fd);
        byte = op.error == 0 || op.error == ECANCELED;
        lode_io_unref(io);
        if (!byte)
            abort();
    }
    return NULL;
}

/* The shared engine ends and begins again under several threads. */
static void shared_engine_comes_and_goes(void **state)
{
    pthread_t ids[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&ids[i], NULL, get_and_drop, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(ids[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_is_bounded),
        cmocka_unit_test(pool_cancels),
        cmocka_unit_test(pool_without_memory),
        cmocka_unit_test(queue_and_workers_without_memory),
        cmocka_unit_test(queue_keeps_order),
        cmocka_unit_test(queue_cancels_both_sides),
        cmocka_unit_test(workers_run_all),
        cmocka_unit_test(workers_cancel),
        cmocka_unit_test(engine_ring),
        cmocka_unit_test(engine_threads),
        cmocka_unit_test(shared_engine_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
