/* Watches: every change once, in order, from any event on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/catalog_suite.h"

static struct lode_catalog_watch *watch(enum lode_watch_scope scope, const char *name,
                                        const char *from)
{
    struct lode_catalog_watch *w = NULL;
    assert_code(OPS(cat())->watch(cat(), scope, name ? "_" : NULL, name, from, &w, &cat_err), 0);
    return w;
}

static int next(struct lode_catalog_watch *w, int64_t ms, struct lode_journal_entry *e)
{
    lode_journal_entry_release(e);
    return lode_catalog_ops_of(w)->watch_next(w, ms, e, &cat_err);
}

static void closed(struct lode_catalog_watch *w)
{
    lode_catalog_ops_of(w)->watch_close(w);
}

static void expect(struct lode_catalog_watch *w, const char *name, uint64_t number,
                   enum lode_change change)
{
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    assert_code(next(w, 10000, &e), 0);
    assert_string_equal(e.name, name);
    assert_true(e.number == number && e.change == change && e.event);
}

static void told(void **state)
{
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    static const char *const prod[] = {"prod"};
    const struct lode_stage st = {
        .ns = "_", .name = "rank", .version = "v2", .aliases = prod, .n_aliases = 1};
    cat_push(cat(), "rank", "v1", NULL);
    struct lode_catalog_watch *all = watch(LODE_WATCH_ALL, NULL, NULL),
                              *one = watch(LODE_WATCH_MODEL, "rank", NULL);
    assert_code(next(all, 20, &e), LODE_TIMEOUT);
    struct lode_catalog *other = cat_open();
    assert_code(cat_try_push(other, &st, NULL), 0);
    cat_push(other, "rank2", "x", NULL);
    cat_push(other, "rank", "v3", NULL);
    expect(all, "rank", 2, LODE_CHANGE_COMMIT);
    expect(all, "rank", 3, LODE_CHANGE_ALIAS_SET);
    expect(all, "rank2", 1, LODE_CHANGE_COMMIT);
    expect(all, "rank", 4, LODE_CHANGE_COMMIT);
    expect(one, "rank", 2, LODE_CHANGE_COMMIT);
    expect(one, "rank", 3, LODE_CHANGE_ALIAS_SET);
    expect(one, "rank", 4, LODE_CHANGE_COMMIT);
    assert_code(next(one, 20, &e), LODE_TIMEOUT);
    closed(all);
    closed(one);
    cat_close(other);
}

/* From each event on, exactly the later ones come; also inside one transaction. */
static void resumed(void **state)
{
    char *events[8] = {0};
    static const char *const two[] = {"a", "b"};
    const struct lode_stage st = {
        .ns = "_", .name = "rank", .version = "v2", .aliases = two, .n_aliases = 2};
    struct lode_catalog_watch *w = watch(LODE_WATCH_ALL, NULL, NULL);
    cat_push(cat(), "rank", "v1", NULL);
    assert_code(cat_try_push(cat(), &st, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        struct lode_journal_entry e = {0};
        assert_code(next(w, 10000, &e), 0);
        assert_true(e.number == i + 1);
        events[i] = lode_strdup(e.event);
        lode_journal_entry_release(&e);
    }
    closed(w);
    for (unsigned i = 0; i < 4; i++) {
        _cleanup_journal_entry_ struct lode_journal_entry e = {0};
        w = watch(LODE_WATCH_ALL, NULL, events[i]);
        for (unsigned k = i + 1; k < 4; k++) {
            assert_code(next(w, 10000, &e), 0);
            assert_true(e.number == k + 1 && strcmp(e.event, events[k]) == 0);
        }
        assert_code(next(w, 10, &e), LODE_TIMEOUT);
        closed(w);
    }
    for (unsigned i = 0; i < 4; i++)
        lode_free(events[i]);
}

static void refused(void **state)
{
    static const char *const bad[] = {
        "", "1", "1:2", "x:1.1", "1:1.x", "1:1.1 ", "99999999999999999999:1.1"};
    struct lode_catalog_watch *w = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_code(OPS(cat())->watch(cat(), LODE_WATCH_ALL, NULL, NULL, bad[i], &w, &cat_err),
                    LODE_INVALID);
    assert_code(OPS(cat())->watch(cat(), LODE_WATCH_ALL, NULL, NULL, "77:1.0", &w, &cat_err),
                LODE_COMPACTED);
    assert_code(OPS(cat())->watch(cat(), LODE_WATCH_ALL, NULL, NULL, "1:999999999.0", &w, &cat_err),
                LODE_COMPACTED);
}

/* What the coord has forgotten is told as such, and a list is still complete. */
static void forgotten(void **state)
{
    struct lode_journal_entry e = {0};
    struct lode_catalog_watch *w = watch(LODE_WATCH_ALL, NULL, NULL);
    cat_push(cat(), "rank", "v1", NULL);
    assert_code(next(w, 10000, &e), 0);
    for (unsigned i = 0; i < 60; i++)
        cat_push(cat(), "rank", NULL, NULL);
    struct lode_catalog_watch *late = NULL;
    int r = OPS(cat())->watch(cat(), LODE_WATCH_ALL, NULL, NULL, e.event, &late, &cat_err);
    lode_journal_entry_release(&e);
    if (r == 0)
        r = next(late, 1000, &e);
    if (catalog_suite_current->forgets)
        assert_code(r, LODE_COMPACTED);
    else
        assert_code(r, 0);
    const struct lode_query q = {.limit = 1000};
    _cleanup_versions_ struct lode_versions p = {0};
    assert_code(OPS(cat())->versions(cat(), &q, &p, &cat_err), 0);
    assert_int_equal(p.n, 61);
    if (late)
        closed(late);
    lode_journal_entry_release(&e);
    closed(w);
}

static void *wake_later(void *arg)
{
    lode_sleep_ms(50);
    struct lode_catalog_watch *w = arg;
    lode_catalog_ops_of(w)->watch_wake(w);
    return NULL;
}

static void woken(void **state)
{
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    pthread_t thread;
    struct lode_catalog_watch *w = watch(LODE_WATCH_ALL, NULL, NULL);
    pthread_create(&thread, NULL, wake_later, w);
    assert_code(next(w, -1, &e), LODE_CANCELLED);
    assert_code(next(w, 10, &e), LODE_CANCELLED);
    pthread_join(thread, NULL);
    closed(w);
}

struct mover {
    pthread_t thread;
    unsigned number;
};

static void *move_often(void *arg)
{
    struct mover *m = arg;
    struct lode_catalog *c = cat_open();
    char alias[16];
    snprintf(alias, sizeof alias, "a%u", m->number);
    for (unsigned i = 0; i < 10; i++) {
        struct lode_journal_entry e = {0};
        struct lode_err err = {0};
        if (OPS(c)->alias_set(c, "_", "rank", alias, i % 2 ? "v1" : "v2", NULL, NULL, &e, &err) < 0)
            fprintf(stderr, "%s\n", err.text);
        lode_journal_entry_release(&e);
    }
    cat_close(c);
    return NULL;
}

/* Four writers at once: a watcher hears each of the changes once, numbered without a gap. */
static void at_once(void **state)
{
    struct mover movers[4];
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    cat_push(cat(), "rank", "v1", NULL);
    cat_push(cat(), "rank", "v2", NULL);
    struct lode_catalog_watch *w = watch(LODE_WATCH_MODEL, "rank", NULL);
    for (unsigned i = 0; i < 4; i++) {
        movers[i].number = i;
        pthread_create(&movers[i].thread, NULL, move_often, &movers[i]);
    }
    int64_t when = 0;
    int r = 0;
    for (uint64_t i = 3; i < 43 && r == 0; i++) {
        r = next(w, 20000, &e);
        if (r == LODE_COMPACTED && catalog_suite_current->forgets)
            break;
        assert_code(r, 0);
        assert_true(e.number == i && e.when_ms > when);
        when = e.when_ms;
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(movers[i].thread, NULL);
    closed(w);
}

const struct CMUnitTest *catalog_suite_watches(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(told),      cmocka_unit_test(resumed), cmocka_unit_test(refused),
        cmocka_unit_test(forgotten), cmocka_unit_test(woken),   cmocka_unit_test(at_once)};
    *n = sizeof tests / sizeof *tests;
    return tests;
}
