/* Races: many writers of one name, of different names, of one alias. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "conformance/catalog_suite.h"

#define RACERS 16

struct racer {
    pthread_t thread;
    pthread_barrier_t *start;
    const char *version; /* all the same, or NULL: generated */
    unsigned number;
    int result;
    struct lode_version made;
    struct lode_err err;
};

/* Own words: those of the suite assert, which only the test's thread may. */
static int push(struct lode_catalog *c, const char *version, struct lode_version *out,
                struct lode_err *err)
{
    const struct lode_stage st = {.ns = "_", .name = "rank", .version = version};
    _cleanup_attempt_ struct lode_attempt *a = NULL;
    int r = OPS(c)->stage(c, &st, NULL, &a, err);
    if (r < 0)
        return r;
    const struct lode_attempt_info *info = lode_attempt_info(a);
    _cleanup_manifest_ struct lode_manifest *m = cat_manifest("weights.bin", info->version);
    _cleanup_free_ char *key =
        lode_asprintf("%s%sweights.bin", info->place->prefix, *info->place->prefix ? "/" : "");
    r = lode_store_put(info->place->store, key, info->version, strlen(info->version), false, err);
    return r < 0 ? r : OPS(c)->finish(a, m, out, err);
}

static void *run(void *arg)
{
    struct racer *me = arg;
    struct lode_catalog *c = cat_open();
    pthread_barrier_wait(me->start);
    me->result = push(c, me->version, &me->made, &me->err);
    cat_close(c);
    return NULL;
}

static void race(struct racer racers[RACERS], const char *version)
{
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, RACERS);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.start = &start, .version = version, .number = i};
        pthread_create(&racers[i].thread, NULL, run, &racers[i]);
    }
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(racers[i].thread, NULL);
    pthread_barrier_destroy(&start);
}

static void release(struct racer racers[RACERS])
{
    for (unsigned i = 0; i < RACERS; i++)
        lode_version_release(&racers[i].made);
}

static void one_name(void **state)
{
    struct racer racers[RACERS];
    unsigned won = 0;
    race(racers, "v1");
    for (unsigned i = 0; i < RACERS; i++) {
        won += racers[i].result == 0;
        if (racers[i].result != 0 && racers[i].result != LODE_EXISTS)
            fail_msg("%s: %s", lode_code_name(racers[i].result), racers[i].err.text);
    }
    assert_int_equal(won, 1);
    release(racers);
    _cleanup_version_ struct lode_version v = cat_resolve(cat(), "rank@v1");
    assert_true(v.seq == 1 && v.latest);
}

/* All land, numbered 1 to 16 in one line with the journal. */
static void many_names(void **state)
{
    struct racer racers[RACERS];
    bool seen[RACERS + 1] = {false};
    _cleanup_journal_ struct lode_journal j = {0};
    race(racers, NULL);
    for (unsigned i = 0; i < RACERS; i++) {
        if (racers[i].result < 0)
            fail_msg("%s", racers[i].err.text);
        assert_true(racers[i].made.seq >= 1 && racers[i].made.seq <= RACERS &&
                    !seen[racers[i].made.seq]);
        seen[racers[i].made.seq] = true;
    }
    const struct lode_journal_query q = {.ns = "_", .name = "rank", .oldest_first = true};
    assert_code(OPS(cat())->journal(cat(), &q, &j, &cat_err), 0);
    assert_int_equal(j.n, RACERS);
    for (unsigned i = 0; i < RACERS; i++) {
        _cleanup_version_ struct lode_version v = {0};
        char ref[32];
        snprintf(ref, sizeof ref, "rank@%u", i + 1);
        v = cat_resolve(cat(), ref);
        assert_string_equal(j.items[i].to, v.version);
        assert_true(j.items[i].when_ms == v.created_ms && v.latest == (i + 1 == RACERS));
    }
    release(racers);
}

static void *move(void *arg)
{
    struct racer *me = arg;
    struct lode_catalog *c = cat_open();
    char version[8];
    pthread_barrier_wait(me->start);
    for (unsigned i = 0; i < 4 && me->result == 0; i++) {
        struct lode_journal_entry e = {0};
        snprintf(version, sizeof version, "v%u", (me->number + i) % 3);
        me->result = OPS(c)->alias_set(c, "_", "rank", "prod", version, NULL, NULL, &e, &me->err);
        lode_journal_entry_release(&e);
    }
    cat_close(c);
    return NULL;
}

/* Each move begins where the one before it ended. */
static void one_alias(void **state)
{
    struct racer racers[RACERS];
    pthread_barrier_t start;
    _cleanup_journal_ struct lode_journal j = {0};
    for (unsigned i = 0; i < 3; i++) {
        char version[8];
        snprintf(version, sizeof version, "v%u", i);
        cat_push(cat(), "rank", version, NULL);
    }
    pthread_barrier_init(&start, NULL, RACERS);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.start = &start, .number = i};
        pthread_create(&racers[i].thread, NULL, move, &racers[i]);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        if (racers[i].result < 0)
            fail_msg("%s", racers[i].err.text);
    }
    pthread_barrier_destroy(&start);
    const struct lode_journal_query q = {
        .ns = "_", .name = "rank", .alias = "prod", .oldest_first = true};
    assert_code(OPS(cat())->journal(cat(), &q, &j, &cat_err), 0);
    for (size_t i = 0; i < j.n; i++) {
        assert_true(i == 0 ? !j.items[i].from : strcmp(j.items[i].from, j.items[i - 1].to) == 0);
        assert_true(i == 0 || j.items[i].when_ms > j.items[i - 1].when_ms);
    }
    assert_true(cat_is(cat(), "rank@prod", j.items[j.n - 1].to));
}

const struct CMUnitTest *catalog_suite_races(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name), cmocka_unit_test(many_names), cmocka_unit_test(one_alias)};
    *n = sizeof tests / sizeof *tests;
    return tests;
}
