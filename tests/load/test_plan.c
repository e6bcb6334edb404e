/* Plans: rounding, merging, and where things come to lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "load/plan.h"

#define MIB (1ull << 20)

static void want(struct lode_plan *p, unsigned file, uint64_t offset, uint64_t len, uint32_t unit)
{
    assert_int_equal(lode_plan_want(p, file, 100 * MIB - 5, offset, len, unit, NULL), 0);
}

static void blocks(void **state)
{
    _cleanup_plan_ struct lode_plan p = {0};
    want(&p, 1, 5 * MIB + 1, 10, MIB);
    want(&p, 0, 3 * MIB - 1, 2, MIB);
    want(&p, 1, 5 * MIB + 100, MIB, MIB);
    want(&p, 1, 99 * MIB, MIB - 5, MIB);
    assert_int_equal(lode_plan_finish(&p, NULL), 0);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.ranges[0].file, 0);
    assert_int_equal(p.ranges[0].offset, 2 * MIB);
    assert_int_equal(p.ranges[0].len, 2 * MIB);
    assert_int_equal(p.ranges[1].offset, 5 * MIB);
    assert_int_equal(p.ranges[1].len, 2 * MIB);
    assert_int_equal(p.ranges[2].len, MIB - 5);
    assert_int_equal(p.read, 5 * MIB - 5);
    assert_int_equal(lode_plan_place(&p, 0, 3 * MIB - 1), MIB - 1);
    assert_int_equal(lode_plan_place(&p, 1, 5 * MIB + 100), 2 * MIB + 100);
    assert_int_equal(lode_plan_place(&p, 1, 99 * MIB), 4 * MIB);
}

static void small_gaps_are_read_over(void **state)
{
    _cleanup_plan_ struct lode_plan p = {0};
    want(&p, 0, 0, 200000, 4096);
    want(&p, 0, 200704 + 65536, 100, 4096); /* a gap of LODE_PLAN_GAP */
    want(&p, 0, 10 * MIB, 100, 4096);
    want(&p, 0, 10 * MIB + 20000, 100, 4096); /* a gap larger than what is wanted before it */
    assert_int_equal(lode_plan_finish(&p, NULL), 0);
    assert_int_equal(p.n, 3);
    assert_true(p.read <= 2 * (200000 + 100 + 3 * 4096) + LODE_PLAN_GAP);
}

static void phase_is_kept(void **state)
{
    _cleanup_plan_ struct lode_plan p = {0};
    want(&p, 0, 1000, 50, 1);
    want(&p, 0, 5 * MIB + 72, 50, 1);
    want(&p, 3, 4095, 2, 1);
    assert_int_equal(lode_plan_finish(&p, NULL), 0);
    assert_int_equal(lode_plan_place(&p, 0, 1000) % LODE_PLAN_PAGE, 1000);
    assert_int_equal(lode_plan_place(&p, 0, 5 * MIB + 72) % LODE_PLAN_PAGE, 72);
    assert_int_equal(lode_plan_place(&p, 3, 4095) % LODE_PLAN_PAGE, 4095);
    for (size_t i = 0; i + 1 < p.n; i++)
        assert_true(p.ranges[i].at + p.ranges[i].len <= p.ranges[i + 1].at);
    assert_true(p.ranges[p.n - 1].at + p.ranges[p.n - 1].len <= p.bytes);
}

static void too_much(void **state)
{
    _cleanup_plan_ struct lode_plan p = {0};
    struct lode_err err = {0};
    assert_int_equal(lode_plan_want(&p, 0, UINT64_MAX - 1, 0, UINT64_MAX - 1, 1, &err), 0);
    assert_int_equal(lode_plan_finish(&p, &err), LODE_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(blocks),
                                       cmocka_unit_test(small_gaps_are_read_over),
                                       cmocka_unit_test(phase_is_kept), cmocka_unit_test(too_much)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
