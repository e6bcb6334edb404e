/* The linearizability checker itself: it passes what is right and catches what is planted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/attr.h"
#include "support/coord_kit.h"
#include "support/linearize.h"

static enum lin_verdict check(const struct lin_op *ops, size_t n)
{
    char why[200];
    return lin_check(ops, n, why, sizeof why);
}

/* Shorthands: key 0 of object 0. */
#define WRITE(v, rev, from, to)                                                                    \
    {                                                                                              \
        .kind = LIN_WRITE, .mask = 1, .done = true, .value = {v}, .revision = rev, .call = from,   \
        .ret = to                                                                                  \
    }
#define READ(v, from, to)                                                                          \
    {                                                                                              \
        .kind = LIN_GET, .value = {v}, .call = from, .ret = to                                     \
    }
#define SWAP(e, v, ok, rev, from, to)                                                              \
    {                                                                                              \
        .kind = LIN_WRITE, .mask = 1, .compared = 1, .done = ok, .expect = {e}, .value = {v},      \
        .revision = rev, .call = from, .ret = to                                                   \
    }
#define LOST(v, from)                                                                              \
    {                                                                                              \
        .kind = LIN_WRITE, .mask = 1, .unknown = true, .value = {v}, .call = from                  \
    }

static void passes_what_is_right(void **state)
{
    const struct lin_op one_after_the_other[] = {READ(0, 0, 1),
                                                 WRITE(5, 1, 2, 3),
                                                 READ(5, 4, 5),
                                                 SWAP(5, 6, true, 2, 6, 7),
                                                 SWAP(5, 7, false, 0, 8, 9),
                                                 READ(6, 10, 11)};
    const struct lin_op overlapping[] = {WRITE(1, 1, 0, 10), WRITE(2, 2, 0, 10), READ(1, 1, 9),
                                         READ(2, 1, 9), READ(2, 11, 12)};
    const struct lin_op early_and_late[] = {WRITE(1, 1, 0, 10), READ(1, 1, 2), READ(1, 11, 12)};
    assert_int_equal(check(one_after_the_other, LODE_ARRAY_LEN(one_after_the_other)), LIN_OK);
    assert_int_equal(check(overlapping, LODE_ARRAY_LEN(overlapping)), LIN_OK);
    assert_int_equal(check(early_and_late, LODE_ARRAY_LEN(early_and_late)), LIN_OK);
    assert_int_equal(check(NULL, 0), LIN_OK);
}

static void catches_what_is_wrong(void **state)
{
    const struct lin_op stale[] = {WRITE(1, 1, 0, 1), WRITE(2, 2, 2, 3), READ(1, 4, 5)};
    const struct lin_op back_and_forth[] = {WRITE(1, 1, 0, 1), WRITE(2, 2, 2, 20), READ(2, 3, 4),
                                            READ(1, 5, 6)};
    const struct lin_op lost_update[] = {WRITE(1, 1, 0, 1), SWAP(1, 2, true, 2, 2, 9),
                                         SWAP(1, 3, true, 3, 2, 9)};
    const struct lin_op from_nowhere[] = {WRITE(1, 1, 0, 1), READ(7, 2, 3)};
    const struct lin_op from_the_future[] = {READ(1, 0, 1), WRITE(1, 1, 2, 3)};
    const struct lin_op refused_for_no_reason[] = {WRITE(1, 1, 0, 1), SWAP(1, 2, false, 0, 2, 3)};
    const struct lin_op revision_twice[] = {WRITE(1, 1, 0, 1), WRITE(2, 1, 2, 3)};
    const struct lin_op revision_back[] = {WRITE(1, 2, 0, 1), WRITE(2, 1, 2, 3)};
    assert_int_equal(check(stale, LODE_ARRAY_LEN(stale)), LIN_BAD);
    assert_int_equal(check(back_and_forth, LODE_ARRAY_LEN(back_and_forth)), LIN_BAD);
    assert_int_equal(check(lost_update, LODE_ARRAY_LEN(lost_update)), LIN_BAD);
    assert_int_equal(check(from_nowhere, LODE_ARRAY_LEN(from_nowhere)), LIN_BAD);
    assert_int_equal(check(from_the_future, LODE_ARRAY_LEN(from_the_future)), LIN_BAD);
    assert_int_equal(check(refused_for_no_reason, LODE_ARRAY_LEN(refused_for_no_reason)), LIN_BAD);
    assert_int_equal(check(revision_twice, LODE_ARRAY_LEN(revision_twice)), LIN_BAD);
    assert_int_equal(check(revision_back, LODE_ARRAY_LEN(revision_back)), LIN_BAD);
}

static void lost_answers_may_or_may_not_have_happened(void **state)
{
    const struct lin_op happened[] = {WRITE(1, 1, 0, 1), LOST(2, 2), READ(2, 10, 11)};
    const struct lin_op did_not[] = {WRITE(1, 1, 0, 1), LOST(2, 2), READ(1, 10, 11)};
    const struct lin_op happened_late[] = {WRITE(1, 1, 0, 1), LOST(2, 2), READ(1, 10, 11),
                                           READ(2, 12, 13)};
    const struct lin_op undone[] = {WRITE(1, 1, 0, 1), LOST(2, 2), READ(2, 10, 11),
                                    READ(1, 12, 13)};
    const struct lin_op too_early[] = {READ(2, 0, 1), LOST(2, 2)};
    assert_int_equal(check(happened, LODE_ARRAY_LEN(happened)), LIN_OK);
    assert_int_equal(check(did_not, LODE_ARRAY_LEN(did_not)), LIN_OK);
    assert_int_equal(check(happened_late, LODE_ARRAY_LEN(happened_late)), LIN_OK);
    assert_int_equal(check(undone, LODE_ARRAY_LEN(undone)), LIN_BAD);
    assert_int_equal(check(too_early, LODE_ARRAY_LEN(too_early)), LIN_BAD);
}

static void pairs_are_seen_whole(void **state)
{
    const struct lin_op both = {.kind = LIN_WRITE,
                                .mask = 3,
                                .done = true,
                                .value = {1, 2},
                                .revision = 1,
                                .call = 0,
                                .ret = 10};
    const struct lin_op half[] = {both, {.kind = LIN_SNAP, .value = {1, 0}, .call = 1, .ret = 9}};
    const struct lin_op whole[] = {both,
                                   {.kind = LIN_SNAP, .value = {1, 2}, .call = 1, .ret = 9},
                                   {.kind = LIN_SNAP, .value = {0, 0}, .call = 1, .ret = 9}};
    const struct lin_op torn[] = {
        both,
        {.kind = LIN_GET, .key = 0, .value = {1}, .call = 1, .ret = 2},
        {.kind = LIN_GET, .key = 1, .value = {0, 0}, .call = 3, .ret = 4}};
    assert_int_equal(check(half, 2), LIN_BAD);
    assert_int_equal(check(whole, 3), LIN_OK);
    assert_int_equal(check(torn, 3), LIN_BAD);
}

/* A register simulated with five clients: right as it is; one read made stale, and it is caught. */
#define N 240

static size_t simulate(struct lin_op *ops, uint64_t *seed)
{
    uint64_t value = 0, revision = 0;
    int64_t free_at[5] = {0};
    for (int i = 0; i < N; i++) {
        int client = (int)(kit_random(seed) % 5);
        int64_t moment = (int64_t)i * 10, call = moment - (int64_t)(kit_random(seed) % 60);
        call = call <= free_at[client] ? free_at[client] + 1 : call;
        if (call > moment)
            call = moment;
        ops[i] = (struct lin_op){.kind = LIN_GET,
                                 .client = client,
                                 .call = call,
                                 .value = {value},
                                 .ret = moment + 1 + (int64_t)(kit_random(seed) % 60)};
        free_at[client] = ops[i].ret;
        if (kit_random(seed) % 2) {
            value = (uint64_t)i + 1;
            ops[i].kind = LIN_WRITE;
            ops[i].mask = 1;
            ops[i].done = true;
            ops[i].value[0] = value;
            ops[i].revision = ++revision;
        }
    }
    return N;
}

static bool make_stale(struct lin_op *ops, uint64_t *seed)
{
    for (int tries = 0; tries < 1000; tries++) {
        size_t r = kit_random(seed) % N;
        for (size_t w = 0; ops[r].kind == LIN_GET && w < r; w++) {
            /* a write that was over before another one began, which was over before the read */
            bool older = ops[w].kind == LIN_WRITE && ops[w].value[0] != ops[r].value[0];
            for (size_t over = w + 1; older && over < r; over++) {
                if (ops[over].kind == LIN_WRITE && ops[over].call > ops[w].ret &&
                    ops[over].ret < ops[r].call) {
                    ops[r].value[0] = ops[w].value[0];
                    return true;
                }
            }
        }
    }
    return false;
}

static void catches_every_planted_stale_read(void **state)
{
    uint64_t seed = kit_seed();
    for (int round = 0; round < 200; round++) {
        struct lin_op ops[N];
        size_t n = simulate(ops, &seed);
        assert_int_equal(check(ops, n), LIN_OK);
        if (make_stale(ops, &seed))
            assert_int_equal(check(ops, n), LIN_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_what_is_right),
        cmocka_unit_test(catches_what_is_wrong),
        cmocka_unit_test(lost_answers_may_or_may_not_have_happened),
        cmocka_unit_test(pairs_are_seen_whole),
        cmocka_unit_test(catches_every_planted_stale_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
