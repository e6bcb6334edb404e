/* What each decorator adds: retry, limit, verify, and the fault decorator that they are tried
 * with. That they keep the store's own contract is the conformance suite's part. */
#include "conformance/store_suite_impl.h"
#include <stdatomic.h>
#include <pthread.h> /* built under ThreadSanitizer, too */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "store/wrap.h"

#define BLOCK 1000
#define SIZE 10500 /* ten blocks and a half */

/* ---- a store whose faults a test writes down ---- */

struct script {
    const char *op;  /* NULL: every */
    const char *key; /* NULL: every */
    int skip, times; /* calls before the faults, faults */
    struct lode_fault fault;
    _Atomic int seen, hits;
};

static struct lode_fault follow(void *arg, const char *op, const char *key)
{
    struct script *script = arg;
    bool mine =
        (!script->op || !strcmp(script->op, op)) && (!script->key || !strcmp(script->key, key));
    if (!mine)
        return (struct lode_fault){0};
    int n = atomic_fetch_add(&script->seen, 1);
    if (n < script->skip || n >= script->skip + script->times)
        return (struct lode_fault){0};
    atomic_fetch_add(&script->hits, 1);
    return script->fault;
}

static struct lode_store *open_mem(bool scrambled)
{
    static const char *const options[] = {"scramble", "7", NULL};
    struct lode_store_config config = {
        .url = "mem:", .create = true, .options = scrambled ? options : NULL};
    struct lode_store *store = NULL;
    OK(lode_store_open(&config, &store, err));
    return store;
}

static struct lode_store *faulty(struct lode_store *inner, struct script *script)
{
    struct lode_store *store = NULL;
    OK(lode_store_fault(inner, follow, script, &store, err));
    return store;
}

static struct lode_store *retrying(struct lode_store *inner, unsigned attempts, int64_t base_ms,
                                   int64_t budget_ms)
{
    struct lode_retry_policy policy = {attempts, base_ms, base_ms * 4, budget_ms};
    struct lode_store *store = NULL;
    OK(lode_store_retry(inner, &policy, &store, err));
    return store;
}

/* ---- fault ---- */

static void faults_do_what_they_say(void **state)
{
    struct script script = {
        .op = "write_complete", .times = 1, .fault = {LODE_FAULT_LOST_REPLY, LODE_UNAVAILABLE, 0}};
    _cleanup_store_ struct lode_store *store = faulty(open_mem(false), &script);
    FAILS(LODE_UNAVAILABLE, lode_store_put(store, "a", "x", 1, true, err));
    FAILS(LODE_EXISTS, lode_store_put(store, "a", "x", 1, true, err)); /* it was done */
    script =
        (struct script){.op = "remove", .times = 1, .fault = {LODE_FAULT_FAIL, LODE_DENIED, 0}};
    FAILS(LODE_DENIED, lode_store_remove(store, "a", err));
    OK(lode_store_remove(store, "a", err));
    suite_put(store, "b", SIZE, 1);
    script = (struct script){.op = "read", .times = 1, .fault = {LODE_FAULT_CORRUPT, 0, 0}};
    _cleanup_free_ char *want = suite_bytes(SIZE, 1);
    char have[SIZE];
    OK(lode_store_pread(store, "b", have, SIZE, 0, err));
    int differ = 0;
    for (int i = 0; i < SIZE; i++)
        differ += have[i] != want[i];
    assert_int_equal(differ, 1);
    script = (struct script){.op = "stat", .times = 1, .fault = {LODE_FAULT_DELAY, 0, 30}};
    int64_t before = lode_mono_ms();
    suite_expect(store, "b", SIZE, 1);
    assert_true(lode_mono_ms() - before >= 30);
}

/* ---- retry ---- */

static void retry_hides_what_passes(void **state)
{
    static const char *const ops[] = {"stat", "list", "read", "write_part"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(ops); i++) {
        struct script script = {
            .op = ops[i], .times = 3, .fault = {LODE_FAULT_FAIL, LODE_UNAVAILABLE, 0}};
        _cleanup_store_ struct lode_store *store =
            retrying(faulty(open_mem(false), &script), 4, 1, 0);
        struct lode_store_page page;
        suite_put(store, "d/a", 100, 1);
        suite_expect(store, "d/a", 100, 1);
        OK(lode_store_list(store, "d", NULL, 10, &page, err));
        lode_store_page_release(&page);
        assert_int_equal(script.hits, 3);
    }
}

static void retry_ends(void **state)
{
    struct script script = {
        .op = "stat", .times = 1000, .fault = {LODE_FAULT_FAIL, LODE_TIMEOUT, 0}};
    struct lode_store_stat st;
    char byte;
    _cleanup_store_ struct lode_store *store = retrying(faulty(open_mem(false), &script), 4, 1, 0);
    FAILS(LODE_TIMEOUT, lode_store_stat(store, "a", &st, err));
    assert_int_equal(script.hits, 4);
    script = (struct script){
        .op = "read", .times = 1000, .fault = {LODE_FAULT_FAIL, LODE_UNAVAILABLE, 0}};
    FAILS(LODE_UNAVAILABLE, lode_store_pread(store, "a", &byte, 1, 0, err));
    assert_int_equal(script.hits, 4);
}

/* The budget bounds an operation with all its retries. */
static void retry_keeps_its_budget(void **state)
{
    struct script script = {.times = 100000, .fault = {LODE_FAULT_FAIL, LODE_UNAVAILABLE, 0}};
    struct lode_store_stat st;
    char byte;
    _cleanup_store_ struct lode_store *store =
        retrying(faulty(open_mem(false), &script), 100000, 10, 60);
    int64_t start = lode_mono_ms();
    FAILS(LODE_UNAVAILABLE, lode_store_stat(store, "a", &st, err));
    assert_true(lode_mono_ms() - start < 2000);
    start = lode_mono_ms();
    FAILS(LODE_UNAVAILABLE, lode_store_pread(store, "a", &byte, 1, 0, err));
    assert_true(lode_mono_ms() - start < 2000);
    assert_true(script.hits > 2);
}

/* What may have been done is not done again; what will not pass is not tried again. */
static void retry_only_where_it_is_safe(void **state)
{
    struct script script = {
        .op = "write_complete", .times = 1, .fault = {LODE_FAULT_LOST_REPLY, LODE_UNAVAILABLE, 0}};
    struct lode_store_stat st;
    _cleanup_store_ struct lode_store *store = retrying(faulty(open_mem(false), &script), 5, 1, 0);
    FAILS(LODE_UNAVAILABLE, lode_store_put(store, "d/a", "x", 1, true, err));
    assert_int_equal(script.seen, 1);
    static const char *const ops[] = {"rename_dir", "remove", "copy"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(ops); i++) {
        script = (struct script){
            .op = ops[i], .times = 10, .fault = {LODE_FAULT_FAIL, LODE_UNAVAILABLE, 0}};
        if (i == 0)
            FAILS(LODE_UNAVAILABLE, lode_store_rename_dir(store, "d", "e", err));
        else if (i == 1)
            FAILS(LODE_UNAVAILABLE, lode_store_remove(store, "d/a", err));
        else
            FAILS(LODE_UNAVAILABLE, lode_store_copy(store, "d/a", "d/b", true, err));
        assert_int_equal(script.seen, 1);
    }
    script = (struct script){.op = "stat", .times = 10, .fault = {LODE_FAULT_FAIL, LODE_DENIED, 0}};
    FAILS(LODE_DENIED, lode_store_stat(store, "d/a", &st, err));
    assert_int_equal(script.seen, 1);
}

/* Of ten ranges the one that failed is read again, and no other. */
static void retry_reads_only_what_failed(void **state)
{
    struct script script = {
        .op = "read", .skip = 4, .times = 1, .fault = {LODE_FAULT_FAIL, LODE_UNAVAILABLE, 0}};
    _cleanup_store_ struct lode_store *store = retrying(faulty(open_mem(true), &script), 3, 1, 0);
    suite_put(store, "a", SIZE, 1);
    char room[10][BLOCK];
    struct lode_store_range ranges[10];
    for (int i = 0; i < 10; i++)
        ranges[i] = (struct lode_store_range){"a", (uint64_t)i * BLOCK, BLOCK, room[i]};
    struct tally tally;
    struct lode_store_read *read;
    tally_init(&tally, ranges, 10);
    OK(lode_store_read(store, ranges, 10, tally_done, &tally, &read, err));
    OK(lode_store_read_wait(read, err));
    tally_end(&tally, false);
    assert_int_equal(script.seen, 11);
    assert_int_equal(script.hits, 1);
    _cleanup_free_ char *want = suite_bytes(SIZE, 1);
    assert_memory_equal(room, want, sizeof room);
}

/* A store whose first read brings the middle of each range and then breaks. */
struct half_store {
    struct lode_wrap wrap;
    int calls;
    size_t asked; /* bytes, by the later calls */
};

static int half_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
                     lode_store_read_done *done, void *arg, struct lode_store_read **out,
                     struct lode_err *err)
{
    struct half_store *self = (struct half_store *)(void *)store;
    bool breaks = self->calls++ == 0;
    for (size_t i = 0; i < n; i++) {
        self->asked += breaks ? 0 : ranges[i].len;
        if (!breaks)
            continue;
        size_t from = ranges[i].len / 4, len = ranges[i].len / 2;
        struct lode_err broken = {0};
        int r = lode_store_pread(self->wrap.inner, ranges[i].key, (char *)ranges[i].into + from,
                                 len, ranges[i].offset + from, err);
        assert_int_equal(r, 0);
        done(arg, &ranges[i], from, len, NULL);
        lode_err_set(&broken, LODE_UNAVAILABLE, "the connection broke");
        done(arg, &ranges[i], 0, ranges[i].len, &broken);
    }
    return lode_wrap_read(store, ranges, breaks ? 0 : n, done, arg, out, err);
}

static void half_close(struct lode_store *store)
{
    lode_wrap_release((struct lode_wrap *)(void *)store);
}

/* What came before a range broke is not read again. */
static void retry_reads_only_what_is_missing(void **state)
{
    static const struct lode_store_ops half_ops = {
        .abi = LODE_STORE_ABI, .scheme = "half", .read = half_read, .close = half_close};
    struct half_store half = {.calls = 0};
    struct lode_store *inner = open_mem(true);
    suite_put(inner, "a", SIZE, 1);
    assert_int_equal(lode_wrap_init(&half.wrap, &half_ops, inner, NULL), 0);
    struct lode_store *store = retrying((struct lode_store *)(void *)&half, 3, 1, 0);
    char room[2][4000];
    struct lode_store_range ranges[] = {{"a", 0, 4000, room[0]}, {"a", 5000, 4000, room[1]}};
    struct tally tally;
    struct lode_store_read *read;
    tally_init(&tally, ranges, 2);
    OK(lode_store_read(store, ranges, 2, tally_done, &tally, &read, err));
    OK(lode_store_read_wait(read, err));
    tally_end(&tally, false);
    assert_int_equal(half.asked, 4000);
    _cleanup_free_ char *want = suite_bytes(SIZE, 1);
    assert_memory_equal(room[0], want, 4000);
    assert_memory_equal(room[1], want + 5000, 4000);
    lode_store_close(store);
}

static void retry_can_be_cancelled_in_its_pause(void **state)
{
    struct script script = {
        .op = "read", .times = 100000, .fault = {LODE_FAULT_FAIL, LODE_UNAVAILABLE, 0}};
    _cleanup_store_ struct lode_store *store =
        retrying(faulty(open_mem(false), &script), 1000, 100000, 0);
    suite_put(store, "a", SIZE, 1);
    char room[BLOCK];
    struct lode_store_range range = {"a", 0, BLOCK, room};
    struct tally tally;
    struct lode_store_read *read;
    tally_init(&tally, &range, 1);
    int64_t start = lode_mono_ms();
    OK(lode_store_read(store, &range, 1, tally_done, &tally, &read, err));
    lode_sleep_ms(5);
    lode_store_read_cancel(read);
    assert_true(lode_mono_ms() - start < 20000);
    tally_end(&tally, true);
}

/* ---- limit ---- */

static void limit_keeps_the_rate(void **state)
{
    struct lode_limit_policy policy = {.read_bytes_per_s = 4 << 20, .write_bytes_per_s = 4 << 20};
    struct lode_store *store = NULL;
    OK(lode_store_limit(open_mem(false), &policy, &store, err));
    size_t size = 1 << 20;
    _cleanup_free_ char *bytes = suite_bytes(size, 1);
    struct lode_store_write *write = suite_begin(store, "a", size, size / 8, NULL);
    int64_t start = lode_mono_ms();
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(suite_part(write, i, size / 8, size, 1), 0);
    int64_t took = lode_mono_ms() - start;
    OK(lode_store_write_complete(write, size, true, err));
    assert_true(took >= 200 && took < 5000); /* a quarter of a second, the last part free */
    start = lode_mono_ms();
    OK(lode_store_pread(store, "a", bytes, size, 0, err));
    took = lode_mono_ms() - start;
    assert_true(took >= 200 && took < 5000);
    lode_store_close(store);
}

/* How much is under way below the limit: counted where the limit hands it on. */
struct gauge {
    _Atomic size_t most_ops, ops;
};

static struct lode_fault count_ops(void *arg, const char *op, const char *key)
{
    struct gauge *gauge = arg;
    if (strcmp(op, "read") == 0)
        atomic_fetch_add(&gauge->ops, 1);
    return (struct lode_fault){0};
}

struct in_flight {
    struct gauge *gauge;
    _Atomic size_t ended_ops, ended_bytes, most_ops;
};

static void slow_done(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                      const struct lode_err *err)
{
    struct in_flight *seen = arg;
    size_t started = atomic_load(&seen->gauge->ops);
    size_t ended = atomic_load(&seen->ended_ops);
    size_t now = started - ended;
    size_t most = atomic_load(&seen->most_ops);
    while (now > most && !atomic_compare_exchange_weak(&seen->most_ops, &most, now))
        continue;
    atomic_fetch_add(&seen->ended_bytes, len);
    if (atomic_load(&seen->ended_bytes) / BLOCK > ended)
        atomic_store(&seen->ended_ops, atomic_load(&seen->ended_bytes) / BLOCK);
}

static void limit_bounds_what_is_in_flight(void **state)
{
    struct gauge gauge = {0};
    struct in_flight seen = {.gauge = &gauge};
    struct lode_limit_policy policy = {.in_flight_bytes = 3 * BLOCK, .in_flight_ops = 8};
    struct lode_store *counted = NULL, *store = NULL;
    OK(lode_store_fault(open_mem(true), count_ops, &gauge, &counted, err));
    OK(lode_store_limit(counted, &policy, &store, err));
    suite_put(store, "a", 200 * BLOCK, 1);
    struct lode_store_range ranges[100];
    _cleanup_free_ char *room = lode_alloc(100 * BLOCK);
    for (int i = 0; i < 100; i++)
        ranges[i] = (struct lode_store_range){"a", (uint64_t)i * BLOCK, BLOCK, room + i * BLOCK};
    struct lode_store_read *read;
    OK(lode_store_read(store, ranges, 100, slow_done, &seen, &read, err));
    OK(lode_store_read_wait(read, err));
    assert_int_equal(seen.ended_bytes, 100 * BLOCK);
    /* Three chunks of a block fit; what has ended is counted a little late, by whole blocks that
     * came in pieces. */
    assert_in_range(seen.most_ops, 1, 8);
    _cleanup_free_ char *want = suite_bytes(100 * BLOCK, 1);
    assert_memory_equal(room, want, 100 * BLOCK);
    lode_store_close(store);
}

/* ---- verify ---- */

struct verified {
    struct lode_store *store;
    struct lode_xxh128 blocks[(SIZE + BLOCK - 1) / BLOCK];
    struct lode_verify_entry entry;
    struct lode_verify_table table;
};

/* Stores `bytes` under "m/w"; the digests are those of suite_fill(SIZE, 5). */
static void verified_open(struct verified *v, const char *bytes, size_t len, bool scrambled)
{
    _cleanup_free_ char *good = suite_bytes(SIZE, 5);
    for (size_t i = 0; i < LODE_ARRAY_LEN(v->blocks); i++)
        v->blocks[i] = lode_xxh128_of(good + i * BLOCK, lode_min((size_t)BLOCK, SIZE - i * BLOCK));
    v->entry = (struct lode_verify_entry){"m/w", SIZE, v->blocks, LODE_ARRAY_LEN(v->blocks)};
    v->table = (struct lode_verify_table){&v->entry, 1, BLOCK, false};
    struct lode_store *inner = open_mem(scrambled);
    OK(lode_store_put(inner, "m/w", bytes, len, true, err));
    OK(lode_store_put(inner, "unknown", bytes, len, true, err));
    OK(lode_store_verify(inner, &v->table, &v->store, err));
}

static void verify_passes_what_is_whole(void **state)
{
    _cleanup_free_ char *good = suite_bytes(SIZE, 5);
    for (int scrambled = 0; scrambled < 2; scrambled++) {
        struct verified v;
        verified_open(&v, good, SIZE, scrambled);
        char have[SIZE];
        static const struct {
            uint64_t at;
            size_t len;
        } ranges[] = {
            {0, SIZE},
            {0, 1},
            {SIZE - 1, 1},
            {0, BLOCK},
            {BLOCK, BLOCK},
            {999, 2},
            {1, SIZE - 2},
            {500, 3000},
            {BLOCK * 10, 500},
            {BLOCK * 10 + 1, 499},
            {BLOCK * 9, 1500},
            {2 * BLOCK, 10},
            {2 * BLOCK + 10, 990},
        };
        for (size_t i = 0; i < LODE_ARRAY_LEN(ranges); i++) {
            OK(lode_store_pread(v.store, "m/w", have, ranges[i].len, ranges[i].at, err));
            assert_memory_equal(have, good + ranges[i].at, ranges[i].len);
        }
        FAILS(LODE_IO, lode_store_pread(v.store, "m/w", have, 2, SIZE - 1, err));
        FAILS(LODE_CORRUPT, lode_store_pread(v.store, "unknown", have, 2, 0, err));
        v.table.allow_unknown = true;
        OK(lode_store_pread(v.store, "unknown", have, 2, 0, err));
        lode_store_close(v.store);
    }
}

/* One flipped bit in any block, at its ends and inside: found, and named. */
static void verify_finds_any_flipped_bit(void **state)
{
    _cleanup_free_ char *bytes = suite_bytes(SIZE, 5);
    for (size_t at = 0; at < SIZE; at += at % BLOCK == 0     ? 1
                                         : at % BLOCK == 1   ? 498
                                         : at % BLOCK == 499 ? 500
                                                             : 1) {
        struct verified v;
        struct lode_err told = {0};
        char have[SIZE], name[64];
        bytes[at] ^= 1 << (at % 8);
        verified_open(&v, bytes, SIZE, at % 3 == 0);
        assert_int_equal(lode_store_pread(v.store, "m/w", have, SIZE, 0, &told), LODE_CORRUPT);
        snprintf(name, sizeof name, "block %zu, bytes %zu to", at / BLOCK, at / BLOCK * BLOCK);
        assert_non_null(strstr(told.text, name));
        assert_non_null(strstr(told.text, "m/w"));
        /* Also by a range that only touches the block. */
        size_t other = at / BLOCK * BLOCK == at ? at + 1 : at / BLOCK * BLOCK;
        assert_int_equal(
            lode_store_pread(v.store, "m/w", have, 1, lode_min(other, (size_t)SIZE - 1), NULL),
            LODE_CORRUPT);
        lode_store_close(v.store);
        bytes[at] ^= 1 << (at % 8);
    }
}

/* The blocks around a damaged one are told as good, the damaged one never is. */
static void verify_tells_the_rest(void **state)
{
    _cleanup_free_ char *bytes = suite_bytes(SIZE, 5);
    bytes[4 * BLOCK + 3] ^= 4;
    struct verified v;
    verified_open(&v, bytes, SIZE, true);
    char room[3][SIZE];
    struct lode_store_range ranges[] = {{"m/w", 0, 4 * BLOCK, room[0]},
                                        {"m/w", 3 * BLOCK + 1, 1500, room[1]},
                                        {"m/w", 5 * BLOCK, 5500, room[2]}};
    struct tally tally;
    struct lode_store_read *read;
    tally_init(&tally, ranges, 3);
    OK(lode_store_read(v.store, ranges, 3, tally_done, &tally, &read, err));
    FAILS(LODE_CORRUPT, lode_store_read_wait(read, err));
    assert_int_equal(tally.failures[0], 0);
    assert_int_equal(tally.failures[1], LODE_CORRUPT);
    assert_int_equal(tally.failures[2], 0);
    for (size_t k = BLOCK - 1; k < 1500; k++)
        assert_int_equal(tally.seen[1][k], 0);
    tally_end(&tally, false);
    lode_store_close(v.store);
}

static void verify_refuses_what_is_too_short(void **state)
{
    _cleanup_free_ char *bytes = suite_bytes(SIZE, 5);
    struct verified v;
    char have[SIZE];
    verified_open(&v, bytes, SIZE - 1, false);
    assert_true(lode_store_pread(v.store, "m/w", have, SIZE, 0, NULL) < 0);
    assert_true(lode_store_pread(v.store, "m/w", have, 1, SIZE - 400, NULL) < 0);
    OK(lode_store_pread(v.store, "m/w", have, 10 * BLOCK, 0, err));
    lode_store_close(v.store);
}

static void verify_refuses_a_wrong_table(void **state)
{
    struct lode_xxh128 block;
    struct lode_verify_entry entries[] = {{"b", 10, &block, 1}, {"a", 10, &block, 1}};
    struct lode_verify_table table = {entries, 2, BLOCK, false};
    struct lode_store *inner = open_mem(false), *out;
    FAILS(LODE_INVALID, lode_store_verify(inner, &table, &out, err));
    entries[0] = (struct lode_verify_entry){"A", BLOCK + 1, &block, 1};
    FAILS(LODE_INVALID, lode_store_verify(inner, &table, &out, err));
    table.block_size = 0;
    FAILS(LODE_INVALID, lode_store_verify(inner, &table, &out, err));
    lode_store_close(inner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_do_what_they_say),
        cmocka_unit_test(retry_hides_what_passes),
        cmocka_unit_test(retry_ends),
        cmocka_unit_test(retry_keeps_its_budget),
        cmocka_unit_test(retry_only_where_it_is_safe),
        cmocka_unit_test(retry_reads_only_what_failed),
        cmocka_unit_test(retry_reads_only_what_is_missing),
        cmocka_unit_test(retry_can_be_cancelled_in_its_pause),
        cmocka_unit_test(limit_keeps_the_rate),
        cmocka_unit_test(limit_bounds_what_is_in_flight),
        cmocka_unit_test(verify_passes_what_is_whole),
        cmocka_unit_test(verify_finds_any_flipped_bit),
        cmocka_unit_test(verify_tells_the_rest),
        cmocka_unit_test(verify_refuses_what_is_too_short),
        cmocka_unit_test(verify_refuses_a_wrong_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
