/* The suite's part on leases. Times are generous to slow machines on the late side only: what must
 * not happen before a time is checked to the millisecond of this process's boot clock. See
 * coord_suite.h. */
#include "conformance/coord_suite.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "support/coord_kit.h"

#define LATE_MS 10000 /* a lease that has ended this long ago is gone on any machine */

static int64_t ttl(void)
{
    return coord_suite_current->lease_ms;
}

static uint64_t grant_for(struct lode_coord *c, int64_t ms)
{
    struct lode_err err = {0};
    uint64_t id = 0;
    if (lode_coord_lease_grant(c, ms, &id, &err) < 0)
        fail_msg("grant: %s", err.text);
    assert_int_not_equal(id, 0);
    return id;
}

static int put_under(struct lode_coord *c, const char *key, uint64_t lease)
{
    struct lode_coord_op ops[] = {{LODE_COORD_PUT, "beside", "x", 1, 0},
                                  {LODE_COORD_PUT, key, "x", 1, lease}};
    struct lode_coord_txn t = {.ops = ops, .n_ops = 2};
    struct lode_coord_txn_result result;
    return lode_coord_txn(c, &t, &result, NULL);
}

static void ends_in_its_time(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    int64_t before = lode_boot_ms();
    uint64_t id = grant_for(c, ttl());
    struct lode_coord_kv kv;
    uint64_t bound = kit_put_leased(c, "claim", "me", id);
    assert_int_equal(lode_coord_get(c, "claim", &kv, NULL), 0);
    assert_int_equal(kv.lease, id);
    lode_coord_kv_release(&kv);
    kit_put_leased(c, "claim/2", "me", id);
    assert_true(kit_wait_gone(c, "claim", ttl() + LATE_MS));
    assert_true(lode_boot_ms() - before >= ttl());
    assert_false(kit_has(c, "claim/2"));
    struct lode_coord_watch *w;
    struct lode_coord_events e;
    assert_int_equal(lode_coord_watch(c, "claim", bound + 2, &w, NULL), 0);
    assert_int_equal(lode_coord_watch_next(w, 1000, &e, NULL), 0);
    assert_int_equal(e.n, 2); /* both by one transaction */
    assert_int_equal(e.items[0].kind, LODE_COORD_EVENT_DELETE);
    assert_int_equal(e.items[0].revision, e.items[1].revision);
    assert_string_equal(e.items[0].kv.key, "claim");
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
    assert_int_equal(lode_coord_lease_keep(c, id, NULL), LODE_LOST_LEASE);
    uint64_t now = kit_revision(c);
    assert_int_equal(put_under(c, "claim", id), LODE_LOST_LEASE);
    assert_false(kit_has(c, "beside"));
    assert_int_equal(kit_revision(c), now);
}

/* Nobody writes, nobody reads: the watch alone hears of the end. */
static void tells_the_end_by_itself(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    _cleanup_coord_ struct lode_coord *other = coord_suite_open();
    struct lode_coord_watch *w;
    struct lode_coord_events e;
    uint64_t id = grant_for(c, ttl());
    uint64_t bound = kit_put_leased(c, "claim", "me", id);
    assert_int_equal(lode_coord_watch(other, "claim", bound + 1, &w, NULL), 0);
    assert_int_equal(lode_coord_watch_next(w, ttl() + LATE_MS, &e, NULL), 0);
    assert_int_equal(e.n, 1);
    assert_int_equal(e.items[0].kind, LODE_COORD_EVENT_DELETE);
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
}

static void lives_while_kept(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    uint64_t id = grant_for(c, ttl() * 3);
    kit_put_leased(c, "claim", "me", id);
    int64_t until = lode_boot_ms() + ttl() * 6;
    while (lode_boot_ms() < until) {
        assert_int_equal(lode_coord_lease_keep(c, id, NULL), 0);
        assert_true(kit_has(c, "claim"));
        usleep((unsigned)(ttl() * 1000 / 4));
    }
    assert_int_equal(put_under(c, "more", id), 0);
    assert_true(kit_wait_gone(c, "claim", ttl() * 3 + LATE_MS));
    assert_true(kit_wait_gone(c, "more", 1000));
    assert_true(kit_has(c, "beside"));
}

static void revokes(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    uint64_t id = grant_for(c, 60000), stays = grant_for(c, 60000);
    assert_int_not_equal(id, stays);
    kit_put_leased(c, "a", "1", id);
    kit_put_leased(c, "b", "1", stays);
    uint64_t before = kit_revision(c);
    assert_int_equal(lode_coord_lease_revoke(c, id, NULL), 0);
    assert_false(kit_has(c, "a"));
    assert_true(kit_has(c, "b"));
    assert_true(kit_revision(c) > before);
    assert_int_equal(lode_coord_lease_revoke(c, id, NULL), 0);
    assert_int_equal(lode_coord_lease_keep(c, id, NULL), LODE_LOST_LEASE);
    assert_int_equal(put_under(c, "a", id), LODE_LOST_LEASE);
    assert_int_equal(lode_coord_lease_keep(c, stays, NULL), 0);
}

/* The last write of a key decides which lease it hangs on. */
static void rebinds(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    uint64_t one = grant_for(c, 60000), two = grant_for(c, 60000);
    kit_put_leased(c, "freed", "1", one);
    kit_put(c, "freed", "2");
    kit_put_leased(c, "moved", "1", one);
    kit_put_leased(c, "moved", "2", two);
    kit_put(c, "bound", "1");
    kit_put_leased(c, "bound", "2", one);
    assert_int_equal(lode_coord_lease_revoke(c, one, NULL), 0);
    assert_true(kit_has(c, "freed"));
    assert_true(kit_has(c, "moved"));
    assert_false(kit_has(c, "bound"));
    assert_int_equal(lode_coord_lease_revoke(c, two, NULL), 0);
    assert_false(kit_has(c, "moved"));
    assert_true(kit_has(c, "freed"));
}

static void refuses_odd_times(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    uint64_t id;
    assert_int_equal(lode_coord_lease_grant(c, 0, &id, NULL), LODE_INVALID);
    assert_int_equal(lode_coord_lease_grant(c, -5, &id, NULL), LODE_INVALID);
    assert_int_equal(lode_coord_lease_grant(c, INT64_MAX, &id, NULL), LODE_INVALID);
    assert_int_equal(lode_coord_lease_keep(c, 123456, NULL), LODE_LOST_LEASE);
    assert_int_equal(put_under(c, "a", 123456), LODE_LOST_LEASE);
}

/* ---- the lease that keeps itself ---- */

static void keeps_itself(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    struct lode_lease *lease;
    assert_int_equal(lode_lease_start(c, ttl() * 3, &lease, NULL), 0);
    kit_put_leased(c, "claim", "me", lode_lease_id(lease));
    int64_t until = lode_boot_ms() + ttl() * 6;
    while (lode_boot_ms() < until) {
        assert_int_equal(lode_lease_check(lease, NULL), 0);
        assert_true(kit_has(c, "claim"));
        usleep(20000);
    }
    lode_lease_stop(lease);
    assert_false(kit_has(c, "claim"));
    lode_lease_stop(NULL);
}

static void hears_that_it_was_lost(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    struct lode_lease *lease;
    struct lode_err err = {0};
    assert_int_equal(lode_lease_start(c, ttl() * 3, &lease, NULL), 0);
    assert_int_equal(lode_coord_lease_revoke(c, lode_lease_id(lease), NULL), 0);
    int64_t until = lode_boot_ms() + ttl() * 3 + LATE_MS;
    while (lode_lease_check(lease, &err) == 0 && lode_boot_ms() < until)
        usleep(10000);
    assert_int_equal(err.code, LODE_LOST_LEASE);
    assert_int_equal(lode_lease_check(lease, NULL), LODE_LOST_LEASE);
    lode_lease_stop(lease);
}

const struct CMUnitTest *coord_suite_leasing(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ends_in_its_time, coord_suite_setup),
        cmocka_unit_test_setup(tells_the_end_by_itself, coord_suite_setup),
        cmocka_unit_test_setup(lives_while_kept, coord_suite_setup),
        cmocka_unit_test_setup(revokes, coord_suite_setup),
        cmocka_unit_test_setup(rebinds, coord_suite_setup),
        cmocka_unit_test_setup(refuses_odd_times, coord_suite_setup),
        cmocka_unit_test_setup(keeps_itself, coord_suite_setup),
        cmocka_unit_test_setup(hears_that_it_was_lost, coord_suite_setup),
    };
    *n = LODE_ARRAY_LEN(tests);
    return tests;
}
