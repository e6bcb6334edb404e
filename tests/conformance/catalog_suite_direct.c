/* What only a direct catalog can be asked: publishers that are paused and wake up late, answers
 * that are lost, what Lode did not write, roots that take nothing, and the records that gc works
 * from.
 *
 * A paused publisher is made by a store that, right before one of its operations, takes the
 * publisher's claim away (as the lease's end would) and lets another one win; then the operation
 * goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "catalog/direct.h"
#include "catalog/direct_config.h"
#include "catalog/gc_ops.h"
#include "conformance/catalog_suite.h"

/* ---- a client whose store calls back ---- */

typedef void hook_fn(void);
static struct {
    const char *op; /* before which operation, once */
    hook_fn *hook;
    struct lode_fault fault; /* what the operation then does */
} trap;
static struct lode_attempt *victim, *rival;

static struct lode_fault decide(void *arg, const char *op, const char *key)
{
    if (!trap.op || strcmp(op, trap.op) != 0)
        return (struct lode_fault){0};
    trap.op = NULL;
    if (trap.hook)
        trap.hook();
    return trap.fault;
}

static struct lode_catalog *trapped(struct lode_store **store)
{
    struct lode_catalog *c = NULL;
    struct lode_store *inner = NULL, *outer = NULL;
    struct lode_store *base = lode_catalog_store(cat());
    const struct lode_store_config config = {.url = lode_store_url(base)};
    assert_code(lode_store_open(&config, &inner, &cat_err), 0);
    ((struct lode_store_base *)(void *)inner)->caps = lode_store_caps(base);
    assert_code(lode_store_fault(inner, decide, NULL, &outer, &cat_err), 0);
    assert_code(lode_catalog_direct(lode_catalog_coord(cat()), outer, &c, &cat_err), 0);
    *store = outer;
    return c;
}

static void set_trap(const char *op, hook_fn *hook, struct lode_fault fault)
{
    trap.op = op;
    trap.hook = hook;
    trap.fault = fault;
}

static void lose_claim(struct lode_attempt *a)
{
    assert_code(lode_coord_lease_revoke(a->d->coord, lode_lease_id(a->lease), &cat_err), 0);
}

static bool renames(void)
{
    return lode_store_caps(lode_catalog_store(cat())) & LODE_STORE_RENAME_DIR;
}

/* The version is the rival's, its bytes are whole, and a second look by a fresh client says the
 * same. */
static void check_rival_won(const char *text)
{
    _cleanup_version_ struct lode_version v = cat_resolve(cat(), "rank@v1");
    _cleanup_manifest_ struct lode_manifest *m = NULL;
    _cleanup_buf_ struct lode_buf got = LODE_BUF_INIT(100);
    assert_string_equal(v.author, "rival");
    assert_code(OPS(cat())->manifest(cat(), &v, &m, &cat_err), 0);
    _cleanup_free_ char *key = lode_asprintf("%s/weights.bin", v.directory);
    assert_code(lode_store_get(lode_catalog_store(cat()), key, &got, &cat_err), 0);
    assert_string_equal(lode_buf_str(&got), text);
    char digest[LODE_SHA256_HEX];
    assert_code(
        lode_direct_digest_at((struct lode_direct *)(void *)cat(), v.directory, digest, &cat_err),
        0);
    assert_string_equal(digest, v.digest);
}

static void rival_stages(void)
{
    const struct lode_act act = {"rival", NULL};
    const struct lode_stage st = {.ns = "_", .name = "rank", .version = "v1"};
    lose_claim(victim);
    assert_code(OPS(cat())->stage(cat(), &st, &act, &rival, &cat_err), 0);
    cat_write(rival, "weights.bin", "v1");
}

static void rival_finishes(void)
{
    _cleanup_version_ struct lode_version v = {0};
    assert_code(cat_try_finish(rival, &v), 0);
    OPS(cat())->attempt_close(rival);
    rival = NULL;
}

static void rival_wins(void)
{
    rival_stages();
    rival_finishes();
}

/* The victim pushes "v1" with other bytes of the same length and is interrupted before `op`; its
 * end. */
static int push_victim(const char *op, hook_fn *hook)
{
    struct lode_store *store;
    struct lode_catalog *c = trapped(&store);
    _cleanup_version_ struct lode_version v = {0};
    _cleanup_manifest_ struct lode_manifest *m = cat_manifest("weights.bin", "xx");
    victim = cat_stage(c, "rank", "v1");
    cat_write(victim, "weights.bin", "xx");
    set_trap(op, hook, (struct lode_fault){0});
    int r = OPS(c)->finish(victim, m, &v, &cat_err);
    assert_null(trap.op);
    assert_code(OPS(c)->abandon(victim, false, &cat_err), 0);
    OPS(c)->attempt_close(victim);
    lode_catalog_close(c);
    lode_store_close(store);
    return r;
}

static void wakes_before_rename(void **state)
{
    if (!renames())
        return;
    int r = push_victim("rename_dir", rival_wins);
    assert_true(r == LODE_EXISTS || r == LODE_LOST_LEASE);
    check_rival_won("v1");
}

static void wakes_before_commit(void **state)
{
    int r = push_victim("list", rival_wins);
    assert_true(r < 0);
    check_rival_won("v1");
}

/* The one who took over is still writing when the paused one renames its directory into the place.
 */
static void wakes_in_between(void **state)
{
    if (!renames())
        return;
    int r = push_victim("rename_dir", rival_stages);
    assert_true(r == LODE_EXISTS || r == LODE_LOST_LEASE);
    rival_finishes();
    check_rival_won("v1");
}

static void wakes_before_publishing(void **state)
{
    int r = push_victim("write_begin", rival_wins);
    assert_true(r == LODE_EXISTS || r == LODE_LOST_LEASE);
    check_rival_won("v1");
}

/* Nobody took it over, but the claim is gone: nothing more may be committed. */
static void lost_claim(void **state)
{
    _cleanup_version_ struct lode_version v = {0};
    struct lode_attempt *a = cat_stage(cat(), "rank", "v1");
    cat_write(a, "weights.bin", "v1");
    lose_claim(a);
    assert_code(cat_try_finish(a, &v), LODE_LOST_LEASE);
    OPS(cat())->attempt_close(a);
    cat_push(cat(), "rank", "v1", NULL);
}

/* Killed between `publishing` and the commit: the next one rolls it back and wins. */
static void die(void)
{
    lose_claim(victim);
}

static void killed_while_publishing(void **state)
{
    push_victim("list", die);
    victim = NULL;
    const struct lode_act act = {"rival", NULL};
    const struct lode_stage st = {.ns = "_", .name = "rank", .version = "v1"};
    assert_code(OPS(cat())->stage(cat(), &st, &act, &rival, &cat_err), 0);
    cat_write(rival, "weights.bin", "v1");
    rival_finishes();
    check_rival_won("v1");
}

static void lost_answer(void **state)
{
    if (!renames())
        return;
    struct lode_store *store;
    struct lode_catalog *c = trapped(&store);
    set_trap("rename_dir", NULL, (struct lode_fault){LODE_FAULT_LOST_REPLY, LODE_TIMEOUT, 0});
    cat_push(c, "rank", "v1", NULL);
    assert_null(trap.op);
    assert_true(cat_is(cat(), "rank", "v1"));
    set_trap("rename_dir", NULL, (struct lode_fault){LODE_FAULT_FAIL, LODE_UNAVAILABLE, 0});
    cat_push(c, "rank", "v2", NULL);
    assert_true(cat_is(cat(), "rank", "v2"));
    lode_catalog_close(c);
    lode_store_close(store);
}

/* What Lode did not write stays where it is. */
static void foreign(void **state)
{
    if (!renames())
        return;
    struct lode_store *store = lode_catalog_store(cat());
    struct lode_store_stat st;
    assert_code(lode_store_put(store, "rank/v1/mine.txt", "mine", 4, true, &cat_err), 0);
    const struct lode_stage stage = {.ns = "_", .name = "rank", .version = "v1"};
    assert_code(cat_try_push(cat(), &stage, NULL), LODE_EXISTS);
    assert_non_null(strstr(cat_err.text, "did not write"));
    assert_code(lode_store_stat(store, "rank/v1/mine.txt", &st, &cat_err), 0);
    cat_push(cat(), "rank", "v2", NULL);
}

/* A file that is missing, too much or of another size is found before the commit. */
static void damaged(void **state)
{
    _cleanup_version_ struct lode_version v = {0};
    for (unsigned i = 0; i < 3; i++) {
        struct lode_attempt *a = cat_stage(cat(), "rank", "v1");
        if (i != 0)
            cat_write(a, "weights.bin", i == 1 ? "too long" : "v1");
        if (i != 1)
            cat_write(a, "other.bin", "v1");
        int r = cat_try_finish(a, &v);
        assert_true(r == LODE_CORRUPT || r == LODE_CONFLICT);
        assert_code(OPS(cat())->abandon(a, false, &cat_err), 0);
        OPS(cat())->attempt_close(a);
    }
    cat_push(cat(), "rank", "v1", NULL);
}

/* ---- roots ---- */

static void sealed(void **state)
{
    struct lode_journal_entry e = {0};
    struct lode_attempt *a = NULL;
    struct lode_root_info info = {0};
    struct lode_catalog *other = cat_open();
    cat_push(cat(), "rank", "v1", NULL);
    struct lode_attempt *early = cat_stage(cat(), "rank", "v2");
    cat_write(early, "weights.bin", "v2");
    assert_code(lode_catalog_direct_set_root(other, LODE_ROOT_SEAL, NULL, &cat_err), 0);
    struct lode_catalog *late = cat_open();
    assert_code(cat_try_stage(cat(), "rank", "v3", &a), LODE_READ_ONLY);
    assert_code(cat_try_stage(late, "rank", "v3", &a), LODE_READ_ONLY);
    _cleanup_version_ struct lode_version v = {0};
    assert_code(cat_try_finish(early, &v), LODE_READ_ONLY);
    assert_code(OPS(cat())->alias_set(cat(), "_", "rank", "prod", "v1", NULL, NULL, &e, &cat_err),
                LODE_READ_ONLY);
    assert_true(cat_is(late, "rank", "v1"));
    assert_code(lode_catalog_direct_set_root(other, LODE_ROOT_MOVE, "https://new/", &cat_err), 0);
    assert_code(OPS(cat())->alias_set(cat(), "_", "rank", "prod", "v1", NULL, NULL, &e, &cat_err),
                LODE_MOVED);
    assert_non_null(strstr(cat_err.text, "https://new/"));
    assert_code(OPS(late)->root(late, &info, &cat_err), 0);
    assert_string_equal(info.state, "moved");
    lode_root_info_release(&info);
    assert_code(lode_catalog_direct_set_root(other, LODE_ROOT_UNSEAL, NULL, &cat_err), 0);
    assert_code(OPS(late)->alias_set(late, "_", "rank", "prod", "v1", NULL, NULL, &e, &cat_err), 0);
    lode_journal_entry_release(&e);
    OPS(cat())->attempt_close(early);
    cat_close(late);
    cat_close(other);
}

static void put_record(const char *key, const char *text)
{
    struct lode_coord_txn_result res = {0};
    const struct lode_coord_op put = {LODE_COORD_PUT, key, text, strlen(text), 0};
    const struct lode_coord_txn txn = {NULL, 0, &put, 1, NULL, 0};
    assert_code(lode_coord_txn(lode_catalog_coord(cat()), &txn, &res, &cat_err), 0);
    lode_coord_txn_result_release(&res);
}

static void newer_schema(void **state)
{
    struct lode_catalog *c = NULL;
    struct lode_model_info m = {0};
    cat_push(cat(), "rank", "v1", NULL);
    put_record("model/_/rank", "{\"schema\":2,\"next_seq\":9}");
    assert_code(OPS(cat())->model(cat(), "_", "rank", &m, &cat_err), LODE_SCHEMA);
    put_record("root", "{\"schema\":2,\"id\":\"0\",\"epoch\":1,\"state\":\"open\"}");
    assert_code(
        lode_catalog_direct(lode_catalog_coord(cat()), lode_catalog_store(cat()), &c, &cat_err),
        LODE_SCHEMA);
    put_record("root", "{\"schema\":1,\"id\":");
    assert_code(
        lode_catalog_direct(lode_catalog_coord(cat()), lode_catalog_store(cat()), &c, &cat_err),
        LODE_CORRUPT);
    put_record("root",
               "{\"schema\":1,\"id\":\"0\",\"epoch\":1,\"state\":\"open\",\"store\":\"x\"}");
    assert_code(
        lode_catalog_direct(lode_catalog_coord(cat()), lode_catalog_store(cat()), &c, &cat_err),
        LODE_CONFLICT);
}

static void two_roots(void **state)
{
    assert_code(lode_catalog_init(lode_catalog_coord(cat()), lode_catalog_store(cat()), &cat_err),
                LODE_EXISTS);
}

/* ---- what gc works from ---- */

static struct lode_garbage_list garbage(int64_t grace)
{
    struct lode_garbage_list list = {0};
    assert_code(lode_catalog_garbage(cat(), grace, &list, &cat_err), 0);
    return list;
}

static void collect_all(int64_t grace, unsigned want)
{
    struct lode_garbage_list list = garbage(grace);
    assert_int_equal(list.n, want);
    for (size_t i = 0; i < list.n; i++) {
        char *trash = NULL;
        assert_code(lode_catalog_garbage_take(cat(), &list.items[i], &trash, &cat_err), 0);
        assert_code(lode_store_remove_tree(lode_catalog_store(cat()), list.items[i].directory, NULL,
                                           &cat_err),
                    0);
        assert_code(lode_catalog_garbage_done(cat(), &list.items[i], &cat_err), 0);
        lode_free(trash);
    }
    lode_garbage_list_release(&list);
}

static void deleted_garbage(void **state)
{
    _cleanup_version_ struct lode_version v = {0}, gone = {0}, back = {0};
    struct lode_attempt *a = NULL;
    cat_push(cat(), "rank", "v1", &v);
    collect_all(0, 0);
    assert_code(OPS(cat())->remove(cat(), &v, NULL, &gone, &cat_err), 0);
    collect_all(3600000, 0);
    assert_code(OPS(cat())->restore(cat(), &v, NULL, &back, &cat_err), 0);
    collect_all(0, 0);
    lode_version_release(&gone);
    assert_code(OPS(cat())->remove(cat(), &v, NULL, &gone, &cat_err), 0);
    struct lode_garbage_list list = garbage(0);
    assert_true(list.n == 1 && list.items[0].deleted_version && list.items[0].size == 2);
    char *trash = NULL;
    assert_code(lode_catalog_garbage_take(cat(), &list.items[0], &trash, &cat_err), 0);
    lode_free(trash);
    lode_version_release(&back);
    assert_code(OPS(cat())->restore(cat(), &v, NULL, &back, &cat_err), LODE_NOT_FOUND);
    lode_garbage_list_release(&list);
    collect_all(0, 1);
    collect_all(0, 0);
    assert_code(cat_try_stage(cat(), "rank", "v1", &a), LODE_EXISTS);
    assert_code(OPS(cat())->restore(cat(), &v, NULL, &back, &cat_err), LODE_NOT_FOUND);
}

static void leased_garbage(void **state)
{
    _cleanup_version_ struct lode_version v = {0}, gone = {0};
    struct lode_lease *lease = NULL, *late = NULL;
    cat_push(cat(), "rank", "v1", &v);
    assert_code(lode_lease_start(lode_catalog_coord(cat()), 15000, &lease, &cat_err), 0);
    assert_code(OPS(cat())->lease(cat(), &v, "reader-1", lease, &cat_err), 0);
    assert_code(OPS(cat())->lease(cat(), &v, "a/b", lease, &cat_err), LODE_INVALID);
    assert_code(OPS(cat())->remove(cat(), &v, NULL, &gone, &cat_err), LODE_HELD);
    assert_non_null(strstr(cat_err.text, "reader-1"));
    lode_lease_stop(lease);
    assert_code(OPS(cat())->remove(cat(), &v, NULL, &gone, &cat_err), 0);
    assert_code(lode_lease_start(lode_catalog_coord(cat()), 15000, &late, &cat_err), 0);
    assert_code(OPS(cat())->lease(cat(), &v, "reader-2", late, &cat_err), LODE_NOT_FOUND);
    lode_lease_stop(late);
    collect_all(0, 1);
}

static void attempts_garbage(void **state)
{
    _cleanup_version_ struct lode_version v = {0};
    struct lode_attempt *live = cat_stage(cat(), "rank", "live");
    struct lode_attempt *crashed = cat_stage(cat(), "rank", "crashed");
    struct lode_attempt *kept = cat_stage(cat(), "rank", "kept");
    struct lode_attempt *given_up = cat_stage(cat(), "rank", "given-up");
    struct lode_attempt *all[] = {live, crashed, kept, given_up};
    for (unsigned i = 0; i < 4; i++)
        cat_write(all[i], "weights.bin", lode_attempt_info(all[i])->version);
    lose_claim(crashed);
    assert_code(OPS(cat())->abandon(kept, true, &cat_err), 0);
    assert_code(OPS(cat())->abandon(given_up, false, &cat_err), 0);
    collect_all(3600000, 2);
    collect_all(0, 1);
    collect_all(0, 0);
    assert_code(cat_try_finish(crashed, &v), LODE_LOST_LEASE);
    assert_code(cat_try_finish(live, &v), 0);
    for (unsigned i = 0; i < 4; i++)
        OPS(cat())->attempt_close(all[i]);
    cat_push(cat(), "rank", "crashed", NULL);
    cat_push(cat(), "rank", "kept", NULL);
    collect_all(0, 0);
}

/* gc between `publishing` and a take-over: what lies in the version's place goes too. */
static void publishing_garbage(void **state)
{
    struct lode_store *store;
    struct lode_catalog *c = trapped(&store);
    _cleanup_version_ struct lode_version v = {0};
    struct lode_store_stat st;
    victim = cat_stage(c, "rank", "v1");
    cat_write(victim, "weights.bin", "v1");
    set_trap("list", die, (struct lode_fault){0});
    assert_true(cat_try_finish(victim, &v) < 0);
    assert_code(lode_store_stat(lode_catalog_store(cat()), "rank/v1/weights.bin", &st, &cat_err),
                0);
    collect_all(0, 1);
    assert_code(lode_store_stat(lode_catalog_store(cat()), "rank/v1/weights.bin", &st, NULL),
                LODE_NOT_FOUND);
    OPS(c)->attempt_close(victim);
    lode_catalog_close(c);
    lode_store_close(store);
    cat_push(cat(), "rank", "v1", NULL);
}

/* A claim ends with its lease, not before: then the name is free again. */
static void claim_ends(void **state)
{
    struct lode_catalog *c = cat_open();
    struct lode_attempt *a = cat_stage(cat(), "rank", "v1"), *b = NULL;
    assert_code(cat_try_stage(c, "rank", "v1", &b), LODE_EXISTS);
    assert_non_null(strstr(cat_err.text, "is being pushed"));
    OPS(cat())->attempt_close(a);
    assert_code(cat_try_stage(c, "rank", "v1", &b), 0);
    assert_int_equal(lode_attempt_info(b)->attempt, 2);
    OPS(c)->attempt_close(b);
    cat_close(c);
}

static int64_t clock_shift;
static struct lode_sys shifted;

static int clock_gettime_shifted(clockid_t clock, struct timespec *ts)
{
    int r = lode_sys_real.clock_gettime(clock, ts);
    if (clock == CLOCK_REALTIME)
        ts->tv_sec += clock_shift;
    return r;
}

/* The wall clock jumps back a day: the journal's times rise all the same. */
static void clock_jumps(void **state)
{
    _cleanup_journal_ struct lode_journal j = {0};
    cat_push(cat(), "rank", "v1", NULL);
    shifted = lode_sys_real;
    shifted.clock_gettime = clock_gettime_shifted;
    clock_shift = -86400;
    lode_sys = &shifted;
    cat_push(cat(), "rank", "v2", NULL);
    cat_push(cat(), "rank", "v3", NULL);
    lode_sys = &lode_sys_real;
    const struct lode_journal_query q = {.ns = "_", .name = "rank", .oldest_first = true};
    assert_code(OPS(cat())->journal(cat(), &q, &j, &cat_err), 0);
    assert_true(j.n == 3 && j.items[1].when_ms == j.items[0].when_ms + 1 &&
                j.items[2].when_ms == j.items[1].when_ms + 1);
}

const struct CMUnitTest *catalog_suite_direct(size_t *n)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(wakes_before_rename),
                                              cmocka_unit_test(wakes_before_commit),
                                              cmocka_unit_test(wakes_in_between),
                                              cmocka_unit_test(wakes_before_publishing),
                                              cmocka_unit_test(lost_claim),
                                              cmocka_unit_test(killed_while_publishing),
                                              cmocka_unit_test(lost_answer),
                                              cmocka_unit_test(foreign),
                                              cmocka_unit_test(damaged),
                                              cmocka_unit_test(sealed),
                                              cmocka_unit_test(newer_schema),
                                              cmocka_unit_test(two_roots),
                                              cmocka_unit_test(deleted_garbage),
                                              cmocka_unit_test(leased_garbage),
                                              cmocka_unit_test(attempts_garbage),
                                              cmocka_unit_test(publishing_garbage),
                                              cmocka_unit_test(claim_ends),
                                              cmocka_unit_test(clock_jumps)};
    *n = sizeof tests / sizeof *tests;
    return tests;
}
