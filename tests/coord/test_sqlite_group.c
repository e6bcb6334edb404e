/* The writers of the SQLite coord: one sync serves many, none is acknowledged before it, none
 * starves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "support/coord_kit.h"
#include "support/fault_sys.h"

#define CLIENTS 16
#define WRITES 30

static char *dir;
static char url[64], path[64];

static int setup(void **state)
{
    dir = kit_temp_dir();
    snprintf(path, sizeof path, "%s/coord.db", dir);
    snprintf(url, sizeof url, "sqlite://%s", path);
    fault_install();
    return 0;
}

static int teardown(void **state)
{
    fault_uninstall();
    kit_remove_dir(dir);
    return 0;
}

/* ---- durable when acknowledged ---- */

static void each_answer_comes_after_a_sync(void **state)
{
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    uint64_t lease;
    for (int i = 0; i < 20; i++) {
        uint64_t before = fault_count(FAULT_SYNC);
        kit_put(c, "k", "v");
        assert_true(fault_count(FAULT_SYNC) > before);
    }
    uint64_t before = fault_count(FAULT_SYNC);
    assert_int_equal(lode_coord_lease_grant(c, 60000, &lease, NULL), 0);
    assert_true(fault_count(FAULT_SYNC) > before);
    before = fault_count(FAULT_SYNC);
    assert_false(kit_swap(c, "k", 12345, "no"));
    assert_int_equal(fault_count(FAULT_SYNC), before); /* nothing changed, nothing to keep */
}

struct client {
    struct lode_coord *c;
    int id;
    uint64_t revisions[WRITES];
    int lost;   /* transactions refused for their lease */
    bool early; /* acknowledged before a sync that began after it was asked */
    _Atomic bool failed;
};

static void *write_all(void *arg)
{
    struct client *self = arg;
    char key[32];
    for (int i = 0; i < WRITES; i++) {
        snprintf(key, sizeof key, "c%d/%d", self->id, i);
        struct lode_coord_op op = {LODE_COORD_PUT, key, "v", 1, 0};
        struct lode_coord_txn_result result = {0};
        uint64_t syncs = fault_count(FAULT_SYNC);
        if (lode_coord_txn(self->c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1}, &result,
                           NULL) < 0)
            self->failed = true;
        self->early |= fault_count(FAULT_SYNC) == syncs;
        self->revisions[i] = result.revision;
        op.lease = 999; /* a lease that there is not: this one is undone, its neighbours are not */
        self->lost += lode_coord_txn(self->c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1},
                                     &result, NULL) == LODE_LOST_LEASE;
    }
    return NULL;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void run_clients(struct lode_coord *c, struct client *clients)
{
    pthread_t threads[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.c = c, .id = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_all, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
}

/* With every sync slowed to 5 ms: without sharing, 16 clients would reach 200 writes a second only
 * if the disk did nothing else; sharing gives many times that, and the count of syncs proves that
 * it is sharing. */
static void groups_share_syncs(void **state)
{
    static struct client clients[CLIENTS];
    uint64_t all[CLIENTS * WRITES];
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    kit_put(c, "first", "v");
    fault_slow_sync(5);
    fault_zero();
    int64_t before = lode_mono_ms();
    run_clients(c, clients);
    int64_t took = lode_mono_ms() - before;
    fault_slow_sync(0);
    uint64_t syncs = fault_count(FAULT_SYNC);
    double per_second = CLIENTS * WRITES * 1000.0 / (double)(took ? took : 1);
    fprintf(stderr, "%d writes of %d clients: %.0f a second, %.2f syncs each\n", CLIENTS * WRITES,
            CLIENTS, per_second, (double)syncs / (CLIENTS * WRITES));
    for (int i = 0; i < CLIENTS; i++) {
        assert_false(clients[i].failed);
        assert_false(clients[i].early);
        assert_int_equal(clients[i].lost, WRITES);
        memcpy(all + i * WRITES, clients[i].revisions, sizeof clients[i].revisions);
    }
    assert_true(per_second >= 200);
    assert_true(syncs * 3 <= CLIENTS * WRITES);
    qsort(all, CLIENTS * WRITES, sizeof *all, by_number);
    for (int i = 1; i < CLIENTS * WRITES; i++)
        assert_int_equal(all[i], all[i - 1] + 1);
    struct lode_coord_kvs kvs;
    assert_int_equal(lode_coord_range(c, "c", NULL, 1000, &kvs, NULL), 0);
    assert_int_equal(kvs.n, CLIENTS * WRITES);
    lode_coord_kvs_release(&kvs);
}

/* A disk that keeps nothing: then nothing is acknowledged, to no member of any group. */
static void *put_in_vain(void *arg)
{
    struct client *self = arg;
    char key[32];
    snprintf(key, sizeof key, "vain/%d", self->id);
    struct lode_coord_op op = {LODE_COORD_PUT, key, "v", 1, 0};
    struct lode_coord_txn_result result;
    for (int i = 0; i < 5; i++)
        self->failed |= lode_coord_txn(self->c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1},
                                       &result, NULL) != LODE_UNAVAILABLE;
    return NULL;
}

static void without_a_sync_nothing_is_acknowledged(void **state)
{
    static struct client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    kit_put(c, "first", "v");
    fault_fail(FAULT_SYNC, 1, EIO, FAULT_STICKY);
    fault_slow_sync(3);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.c = c, .id = i};
        assert_int_equal(pthread_create(&threads[i], NULL, put_in_vain, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(clients[i].failed);
    }
    fault_disarm();
    fault_slow_sync(0);
    kit_put(c, "again", "v");
    assert_false(kit_has(c, "vain/0"));
}

/* ---- the log of the database ---- */

static void *read_on(void *arg)
{
    struct client *self = arg;
    while (!self->failed) {
        struct lode_coord_kvs kvs;
        if (lode_coord_range(self->c, "", NULL, 1000, &kvs, NULL) < 0)
            return arg;
        lode_coord_kvs_release(&kvs);
    }
    return NULL;
}

/* It is moved into the database on the way, though somebody always reads. */
static void the_write_ahead_log_stays_short(void **state)
{
    static char value[20000];
    struct client reader = {.c = kit_open(url, NULL)};
    char key[32], wal[80];
    struct stat st;
    off_t longest = 0;
    pthread_t thread;
    memset(value, 'v', sizeof value - 1);
    snprintf(wal, sizeof wal, "%s-wal", path);
    assert_int_equal(pthread_create(&thread, NULL, read_on, &reader), 0);
    for (int i = 0; i < 1500; i++) { /* about 13 pages each, 76 MiB */
        snprintf(key, sizeof key, "k%d", i % 10);
        kit_put(reader.c, key, value);
        longest = stat(wal, &st) == 0 && st.st_size > longest ? st.st_size : longest;
    }
    reader.failed = true;
    void *wrong;
    pthread_join(thread, &wrong);
    assert_null(wrong);
    fprintf(stderr, "the log was at most %.1f MiB long, the database is %.1f MiB\n",
            (double)longest / 1048576, stat(path, &st) == 0 ? (double)st.st_size / 1048576 : 0);
    assert_true(longest > 0 && longest < 45 << 20);
    lode_coord_close(reader.c);
    assert_int_not_equal(stat(wal, &st), 0);
}

/* ---- deadlines ---- */

static struct lode_coord *open_impatient(int64_t ms)
{
    struct lode_coord *c = NULL;
    struct lode_coord_config config = {.url = url, .create = true, .timeout_ms = ms};
    assert_int_equal(lode_coord_open(&config, &c, NULL), 0);
    return c;
}

static void *put_one(void *c)
{
    struct lode_err err = {0};
    struct lode_coord_op op = {LODE_COORD_PUT, "k", "v", 1, 0};
    struct lode_coord_txn_result result;
    int64_t before = lode_mono_ms();
    int r = lode_coord_txn(c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1}, &result, &err);
    int64_t took = lode_mono_ms() - before;
    bool right = r == LODE_TIMEOUT && *err.text && took >= 150 && took < 5000;
    if (!right)
        fprintf(stderr, "%d after %lld ms: %s\n", r, (long long)took, err.text);
    return right ? NULL : c;
}

/* Another program holds the database: all wait their time, none longer, and afterwards all is well.
 */
static void waits_until_its_deadline_and_recovers(void **state)
{
    _cleanup_coord_ struct lode_coord *c = open_impatient(150);
    pthread_t threads[4];
    sqlite3 *stranger;
    kit_put(c, "k", "v");
    assert_int_equal(sqlite3_open(path, &stranger), SQLITE_OK);
    assert_int_equal(sqlite3_exec(stranger, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_one, c), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_true(kit_has(c, "k")); /* readers do not mind */
    assert_int_equal(sqlite3_exec(stranger, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(stranger);
    kit_put(c, "k", "again");
}

/* ---- many processes ---- */

static struct {
    volatile long acknowledged[CLIENTS];
    volatile long worst_ms[CLIENTS];
    volatile int failed;
} * shared;

static void map_shared(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
}

/* Writes its next number under its own key, and adds it to the shared log of the database. */
static void writer_process(int id, int64_t until)
{
    struct lode_coord_config config = {.url = url};
    struct lode_coord *c = NULL;
    char key[32], value[32];
    if (lode_coord_open(&config, &c, NULL) < 0)
        _exit(97);
    snprintf(key, sizeof key, "p/%02d", id);
    for (long n = 1; lode_mono_ms() < until; n++) {
        struct lode_coord_op op = {LODE_COORD_PUT, key, value, 0, 0};
        struct lode_coord_txn_result result;
        struct lode_err err = {0};
        snprintf(value, sizeof value, "%ld", n);
        op.len = strlen(value);
        int64_t asked = lode_mono_ms();
        if (lode_coord_txn(c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1}, &result, &err) <
            0) {
            fprintf(stderr, "writer %d: %s\n", id, err.text);
            shared->failed++;
            break;
        }
        long took = (long)(lode_mono_ms() - asked);
        shared->worst_ms[id] = took > shared->worst_ms[id] ? took : shared->worst_ms[id];
        shared->acknowledged[id] = n;
    }
    lode_coord_close(c);
    _exit(0);
}

static void no_process_starves(void **state)
{
    pid_t children[CLIENTS];
    long least = 0, most = 0, worst = 0;
    map_shared();
    lode_coord_close(kit_open(url, NULL));
    int64_t until = lode_mono_ms() + (getenv("LODE_TEST_LONG") ? 10000 : 3000);
    for (int i = 0; i < CLIENTS; i++) {
        children[i] = kit_fork();
        if (children[i] == 0)
            writer_process(i, until);
    }
    for (int i = 0; i < CLIENTS; i++) {
        int status;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
        least = i == 0 || shared->acknowledged[i] < least ? shared->acknowledged[i] : least;
        most = shared->acknowledged[i] > most ? shared->acknowledged[i] : most;
        worst = shared->worst_ms[i] > worst ? shared->worst_ms[i] : worst;
    }
    fprintf(stderr, "writes of a process: %ld to %ld, the slowest took %ld ms\n", least, most,
            worst);
    assert_int_equal(shared->failed, 0);
    assert_true(least > 0 && least * 2 > most);
    munmap(shared, sizeof *shared);
}

/* SIGKILL at random: what was acknowledged is there, at most one write more, and the log agrees. */
static void check_after_kills(void)
{
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    struct lode_coord_watch *w;
    long told[CLIENTS] = {0};
    assert_int_equal(lode_coord_watch(c, "p/", 1, &w, NULL), 0);
    for (uint64_t until = kit_revision(c), at = 0; at < until;) {
        struct lode_coord_events e;
        assert_int_equal(lode_coord_watch_next(w, 1000, &e, NULL), 0);
        for (size_t i = 0; i < e.n; i++) {
            long id = strtol(e.items[i].kv.key + 2, NULL, 10);
            assert_int_equal(strtol(e.items[i].kv.value, NULL, 10), ++told[id]);
        }
        at = e.revision;
        lode_coord_events_release(&e);
    }
    lode_coord_watch_close(w);
    for (int i = 0; i < CLIENTS; i++) {
        char key[32];
        snprintf(key, sizeof key, "p/%02d", i);
        _cleanup_free_ char *value = kit_get(c, key);
        long n = value ? strtol(value, NULL, 10) : 0;
        assert_int_equal(n, told[i]);
        assert_true(n == shared->acknowledged[i] || n == shared->acknowledged[i] + 1);
    }
}

static void survives_kills(void **state)
{
    static const char *const keep_all[] = {"log_keep", "1000000", NULL};
    uint64_t seed = kit_seed();
    for (int round = 0; round < (getenv("LODE_TEST_LONG") ? 60 : 4); round++) {
        pid_t children[CLIENTS / 2];
        teardown(NULL);
        setup(NULL);
        map_shared();
        lode_coord_close(kit_open(url, keep_all));
        for (int i = 0; i < CLIENTS / 2; i++) {
            children[i] = kit_fork();
            if (children[i] == 0)
                writer_process(i, lode_mono_ms() + 20000);
        }
        for (int i = 0; i < CLIENTS / 2; i++) {
            usleep((useconds_t)(kit_random(&seed) % 60000));
            kill(children[i], SIGKILL);
        }
        for (int i = 0; i < CLIENTS / 2; i++)
            waitpid(children[i], NULL, 0);
        assert_int_equal(shared->failed, 0);
        check_after_kills();
        munmap(shared, sizeof *shared);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_answer_comes_after_a_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_share_syncs, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_sync_nothing_is_acknowledged, setup, teardown),
        cmocka_unit_test_setup_teardown(the_write_ahead_log_stays_short, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_until_its_deadline_and_recovers, setup, teardown),
        cmocka_unit_test_setup_teardown(no_process_starves, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_kills, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
