/* Histories of concurrent clients: random reads, swaps, writes and snapshots on a few keys,
 * recorded with their times and judged by tests/support/linearize.h. As processes, one client is
 * killed on the way: what it was doing may or may not have happened. See coord_suite.h.
 */
#include "conformance/coord_suite.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "support/coord_kit.h"
#include "support/linearize.h"

#define CLIENTS 5
#define OPS 70
#define OBJECTS 2

struct client {
    struct lode_coord *c;
    int id;
    uint64_t seed;
    struct lin_op *ops; /* OPS of them; shared memory where clients are processes */
    volatile int *n;    /* begun; shared as well */
    uint64_t modified[OBJECTS][2], value[OBJECTS][2]; /* what it saw last */
};

static void key_name(char out[32], uint32_t object, int key)
{
    snprintf(out, 32, "lin/%u/%d", object, key);
}

static uint64_t value_of(const struct lode_coord_kv *kv)
{
    return kv->key ? strtoull(kv->value, NULL, 10) : 0;
}

static void saw(struct client *self, uint32_t object, int key, const struct lode_coord_kv *kv)
{
    self->modified[object][key] = kv->key ? kv->modified : 0;
    self->value[object][key] = value_of(kv);
}

static int do_get(struct client *self, struct lin_op *op)
{
    char key[32];
    struct lode_coord_kv kv = {0};
    key_name(key, op->object, op->key);
    int r = lode_coord_get(self->c, key, &kv, NULL);
    if (r < 0 && r != LODE_NOT_FOUND)
        return r;
    op->value[op->key] = value_of(&kv);
    saw(self, op->object, op->key, &kv);
    lode_coord_kv_release(&kv);
    return 0;
}

/* A comparison that cannot hold makes else_gets a read of both at one revision. */
static int do_snap(struct client *self, struct lin_op *op)
{
    char keys[2][32];
    key_name(keys[0], op->object, 0);
    key_name(keys[1], op->object, 1);
    const char *gets[] = {keys[0], keys[1]};
    struct lode_coord_compare never = {"lin/never", 1};
    struct lode_coord_txn txn = {
        .compares = &never, .n_compares = 1, .else_gets = gets, .n_else_gets = 2};
    struct lode_coord_txn_result result = {0};
    int r = lode_coord_txn(self->c, &txn, &result, NULL);
    for (int k = 0; r == 0 && k < 2; k++) {
        op->value[k] = value_of(&result.gets[k]);
        saw(self, op->object, k, &result.gets[k]);
    }
    lode_coord_txn_result_release(&result);
    return r;
}

static int do_write(struct client *self, struct lin_op *op)
{
    char keys[2][32], values[2][32];
    struct lode_coord_op ops[2];
    struct lode_coord_compare compares[2];
    struct lode_coord_txn txn = {.compares = compares, .ops = ops};
    struct lode_coord_txn_result result = {0};
    for (int k = 0; k < 2; k++) {
        key_name(keys[k], op->object, k);
        snprintf(values[k], sizeof values[k], "%llu", (unsigned long long)op->value[k]);
        if (op->compared & (1 << k))
            compares[txn.n_compares++] =
                (struct lode_coord_compare){keys[k], self->modified[op->object][k]};
        if (op->mask & (1 << k))
            ops[txn.n_ops++] =
                op->value[k] ? (struct lode_coord_op){LODE_COORD_PUT, keys[k], values[k],
                                                      strlen(values[k]), 0}
                             : (struct lode_coord_op){.kind = LODE_COORD_DELETE, .key = keys[k]};
    }
    int r = lode_coord_txn(self->c, &txn, &result, NULL);
    op->done = result.succeeded;
    op->revision = result.revision;
    for (int k = 0; r == 0 && result.succeeded && k < 2; k++) {
        if (op->mask & (1 << k)) {
            self->modified[op->object][k] = op->value[k] ? result.revision : 0;
            self->value[op->object][k] = op->value[k];
        }
    }
    lode_coord_txn_result_release(&result);
    return r;
}

/* Chooses what comes next. A delete always compares its key present, so that it does change
 * something. */
static void choose(struct client *self, struct lin_op *op, int i)
{
    uint64_t r = kit_random(&self->seed);
    *op = (struct lin_op){.object = (uint32_t)(r >> 8) % OBJECTS,
                          .key = (uint8_t)(r >> 16) & 1,
                          .client = self->id,
                          .unknown = true};
    op->kind = r % 10 < 4 ? LIN_GET : r % 10 < 5 ? LIN_SNAP : LIN_WRITE;
    if (op->kind != LIN_WRITE)
        return;
    op->mask = (uint8_t)((r >> 24) % 3 + 1);
    op->compared = (uint8_t)((r >> 32) % 4);
    for (int k = 0; k < 2; k++) {
        op->expect[k] = self->value[op->object][k];
        bool delete = (r >> (40 + k)) % 4 == 0 && op->compared & (1 << k) && op->expect[k];
        op->value[k] = delete ? 0 : (uint64_t)(self->id * 1000 + i) * 2 + 2 + (uint64_t)k;
    }
}

static void *run_client(void *arg)
{
    struct client *self = arg;
    for (int i = 0; i < OPS; i++) {
        struct lin_op *op = &self->ops[i];
        choose(self, op, i);
        op->call = (int64_t)lode_mono_ns();
        *self->n = i + 1;
        int r = op->kind == LIN_GET    ? do_get(self, op)
                : op->kind == LIN_SNAP ? do_snap(self, op)
                                       : do_write(self, op);
        op->ret = (int64_t)lode_mono_ns();
        __atomic_store_n(&op->unknown, r < 0,
                         __ATOMIC_RELEASE); /* after `ret`, also for who reads after a kill */
        if (kit_random(&self->seed) % 4 == 0)
            usleep(kit_random(&self->seed) % 1500);
    }
    return NULL;
}

static void run_threads(struct client *clients)
{
    pthread_t threads[CLIENTS];
    struct lode_coord *a = coord_suite_open(), *b = coord_suite_open();
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].c = i % 2 ? a : b;
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    lode_coord_close(a);
    lode_coord_close(b);
}

static void run_processes(struct client *clients, uint64_t seed)
{
    pid_t children[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        children[i] = kit_fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            clients[i].c = coord_suite_open();
            run_client(&clients[i]);
            lode_coord_close(clients[i].c);
            _exit(0);
        }
    }
    usleep(20000 + kit_random(&seed) % 60000);
    kill(children[0], SIGKILL);
    for (int i = 0; i < CLIENTS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(i == 0 || status == 0);
    }
}

static void one_history(uint64_t seed, bool processes)
{
    size_t bytes = sizeof(struct lin_op) * CLIENTS * OPS + sizeof(int) * CLIENTS;
    struct lin_op *ops =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(ops, MAP_FAILED);
    volatile int *counts = (volatile int *)(ops + CLIENTS * OPS);
    struct client clients[CLIENTS];
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){
            .id = i, .seed = seed * 31 + (uint64_t)i, .ops = ops + i * OPS, .n = &counts[i]};
    }
    if (processes)
        run_processes(clients, seed);
    else
        run_threads(clients);
    size_t n = 0;
    for (int i = 0; i < CLIENTS; i++) {
        memmove(ops + n, clients[i].ops, (size_t)counts[i] * sizeof *ops);
        n += (size_t)counts[i];
    }
    char why[200] = "";
    enum lin_verdict verdict = lin_check(ops, n, why, sizeof why);
    munmap(ops, bytes);
    if (verdict != LIN_OK)
        fail_msg("not linearizable (LODE_TEST_SEED=%llu): %s", (unsigned long long)seed, why);
}

void coord_suite_histories(const struct coord_suite *suite, int rounds, bool processes)
{
    uint64_t seed = kit_seed();
    coord_suite_current = suite;
    if (getenv("LODE_TEST_LONG"))
        rounds *= 20;
    for (int i = 0; i < rounds; i++) {
        assert_int_equal(coord_suite_setup(NULL), 0);
        one_history(seed + (uint64_t)i, processes);
    }
}
