/* The suite's part on watches: from the past, in order, exactly once, or COMPACTED. See
 * coord_suite.h. */
#include "conformance/coord_suite.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "support/coord_kit.h"

static struct lode_coord_watch *watch(struct lode_coord *c, const char *prefix, uint64_t from)
{
    struct lode_err err = {0};
    struct lode_coord_watch *w = NULL;
    if (lode_coord_watch(c, prefix, from, &w, &err) < 0)
        fail_msg("watch: %s", err.text);
    return w;
}

static struct lode_coord_events next(struct lode_coord_watch *w, int64_t ms)
{
    struct lode_err err = {0};
    struct lode_coord_events events;
    if (lode_coord_watch_next(w, ms, &events, &err) < 0)
        fail_msg("watch_next: %s", err.text);
    return events;
}

static void expect_event(const struct lode_coord_event *e, enum lode_coord_event_kind kind,
                         uint64_t revision, uint32_t index, const char *key, const char *value)
{
    assert_int_equal(e->kind, kind);
    assert_int_equal(e->revision, revision);
    assert_int_equal(e->index, index);
    assert_string_equal(e->kv.key, key);
    if (kind == LODE_COORD_EVENT_PUT) {
        assert_int_equal(e->kv.modified, revision);
        assert_int_equal(e->kv.len, strlen(value));
        assert_string_equal(e->kv.value, value);
    } else {
        assert_int_equal(e->kv.len, 0);
    }
}

static void tells_the_past(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    uint64_t a = kit_put(c, "p/a", "1");
    uint64_t o = kit_put(c, "other", "x");
    uint64_t b = kit_put(c, "p/a", "2");
    uint64_t d = kit_delete(c, "p/a");
    struct lode_coord_watch *w = watch(c, "p/", a);
    struct lode_coord_events e = next(w, 5000);
    assert_int_equal(e.n, 3);
    expect_event(&e.items[0], LODE_COORD_EVENT_PUT, a, 0, "p/a", "1");
    expect_event(&e.items[1], LODE_COORD_EVENT_PUT, b, 0, "p/a", "2");
    expect_event(&e.items[2], LODE_COORD_EVENT_DELETE, d, 0, "p/a", NULL);
    assert_int_equal(e.items[1].kv.created, a);
    assert_true(e.revision >= d);
    lode_coord_events_release(&e);
    e = next(w, 30);
    assert_int_equal(e.n, 0);
    assert_true(e.revision >= d);
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
    w = watch(c, "", o);
    e = next(w, 5000);
    assert_int_equal(e.n, 3);
    assert_string_equal(e.items[0].kv.key, "other");
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
}

static void tells_whole_transactions(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    kit_put(c, "p/gone", "x");
    struct lode_coord_op ops[] = {{LODE_COORD_PUT, "p/b", "1", 1, 0},
                                  {LODE_COORD_PUT, "q", "2", 1, 0},
                                  {.kind = LODE_COORD_DELETE, .key = "absent"},
                                  {.kind = LODE_COORD_DELETE, .key = "p/gone"},
                                  {LODE_COORD_PUT, "p/a", "3", 1, 0}};
    struct lode_coord_txn t = {.ops = ops, .n_ops = 5};
    struct lode_coord_txn_result result;
    assert_int_equal(lode_coord_txn(c, &t, &result, NULL), 0);
    struct lode_coord_watch *w = watch(c, "p/", result.revision);
    struct lode_coord_events e = next(w, 5000);
    assert_int_equal(e.n, 3);
    expect_event(&e.items[0], LODE_COORD_EVENT_PUT, result.revision, 0, "p/b", "1");
    expect_event(&e.items[1], LODE_COORD_EVENT_DELETE, result.revision, 2, "p/gone", NULL);
    expect_event(&e.items[2], LODE_COORD_EVENT_PUT, result.revision, 3, "p/a", "3");
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
}

static void waits_for_the_future(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    uint64_t a = kit_put(c, "p/a", "1");
    struct lode_coord_watch *w = watch(c, "p/", a + 2);
    int64_t before = lode_mono_ms();
    struct lode_coord_events e = next(w, 60);
    assert_int_equal(e.n, 0);
    assert_true(lode_mono_ms() - before >= 55);
    kit_put(c, "p/a", "not told");
    uint64_t told = kit_put(c, "p/a", "told");
    e = next(w, 5000);
    assert_int_equal(e.n, 1);
    expect_event(&e.items[0], LODE_COORD_EVENT_PUT, told, 0, "p/a", "told");
    lode_coord_events_release(&e);
    uint64_t other = kit_put(c, "q", "other prefix");
    e = next(w, 50);
    assert_int_equal(e.n, 0);
    assert_true(e.revision >= told && e.revision <= other);
    lode_coord_watch_close(w);
}

/* ---- waking ---- */

static void *wake_later(void *w)
{
    usleep(50000);
    lode_coord_watch_wake(w);
    return NULL;
}

static void wakes(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    struct lode_coord_watch *w = watch(c, "", 1);
    struct lode_coord_events e;
    struct lode_err err = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_later, w), 0);
    int64_t before = lode_mono_ms();
    assert_int_equal(lode_coord_watch_next(w, -1, &e, &err), LODE_CANCELLED);
    assert_true(lode_mono_ms() - before < 3000);
    pthread_join(thread, NULL);
    assert_int_equal(lode_coord_watch_next(w, 0, &e, NULL), LODE_CANCELLED);
    kit_put(c, "a", "1");
    assert_int_equal(lode_coord_watch_next(w, -1, &e, NULL), LODE_CANCELLED);
    lode_coord_watch_close(w);
}

/* ---- order and exactly once, under concurrent writers ---- */

#define WRITERS 4
#define ROUNDS 60

struct writer {
    struct lode_coord *c;
    int id;
    uint64_t revisions[ROUNDS];
};

/* Each transaction writes two keys with its own mark. */
static void *write_some(void *arg)
{
    struct writer *w = arg;
    char keys[2][32], value[32];
    snprintf(keys[0], sizeof keys[0], "w/%d", w->id);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(keys[1], sizeof keys[1], "w/%d/%d", w->id, i % 5);
        snprintf(value, sizeof value, "%d %d", w->id, i);
        struct lode_coord_op ops[] = {{LODE_COORD_PUT, keys[0], value, strlen(value), 0},
                                      {LODE_COORD_PUT, keys[1], value, strlen(value), 0}};
        struct lode_coord_txn t = {.ops = ops, .n_ops = 2};
        struct lode_coord_txn_result result = {0};
        if (lode_coord_txn(w->c, &t, &result, NULL) < 0)
            return w;
        w->revisions[i] = result.revision;
    }
    return NULL;
}

/* Reads all events and checks each against what its writer was answered. */
static void follow(struct lode_coord_watch *w, const struct writer *writers, uint64_t until)
{
    uint64_t last = 0;
    int next_round[WRITERS] = {0};
    uint32_t index = 0;
    for (;;) {
        struct lode_coord_events e = next(w, 5000);
        for (size_t i = 0; i < e.n; i++) {
            char *rest;
            int id = (int)strtol(e.items[i].kv.value, &rest, 10),
                round = (int)strtol(rest, NULL, 10);
            assert_true(e.items[i].revision >= last);
            index = e.items[i].revision == last ? index + 1 : 0;
            assert_int_equal(e.items[i].index, index);
            last = e.items[i].revision;
            assert_int_equal(round, next_round[id]);
            assert_int_equal(last, writers[id].revisions[round]);
            next_round[id] += (int)index;
        }
        assert_true(e.n == 0 || e.items[e.n - 1].index == 1);
        assert_true(e.revision >= last);
        bool over = e.revision >= until;
        lode_coord_events_release(&e);
        if (over)
            break;
    }
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(next_round[i], ROUNDS);
}

static void tells_each_change_once_in_order(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    struct writer writers[WRITERS] = {0};
    pthread_t threads[WRITERS];
    struct lode_coord_watch *early = watch(c, "w/", 1);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].c = c;
        writers[i].id = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    uint64_t until = kit_revision(c);
    follow(early, writers, until);
    lode_coord_watch_close(early);
    struct lode_coord_watch *late = watch(c, "w/", 1);
    follow(late, writers, until);
    lode_coord_watch_close(late);
}

/* A watch that is read while others write: no gap between a page and the next. */
struct live {
    struct lode_coord_watch *w;
    int events;
    uint64_t last;
    bool broken;
};

static void *follow_live(void *arg)
{
    struct live *live = arg;
    while (live->events < WRITERS * ROUNDS * 2 && !live->broken) {
        struct lode_coord_events e;
        if (lode_coord_watch_next(live->w, 5000, &e, NULL) < 0 || e.n == 0)
            return NULL;
        for (size_t i = 0; i < e.n; i++, live->events++) {
            live->broken |= e.items[i].revision < live->last ||
                            (e.items[i].index == 0 && e.items[i].revision == live->last);
            live->last = e.items[i].revision;
        }
        live->broken |= e.revision < live->last;
        lode_coord_events_release(&e);
    }
    return NULL;
}

static void follows_while_others_write(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    _cleanup_coord_ struct lode_coord *other = coord_suite_open();
    struct writer writers[WRITERS] = {0};
    pthread_t threads[WRITERS], followers[2];
    struct live live[2] = {{watch(c, "w/", 1)}, {watch(other, "w/", 1)}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&followers[i], NULL, follow_live, &live[i]), 0);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].c = i % 2 ? c : other;
        writers[i].id = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        pthread_join(followers[i], NULL);
        assert_false(live[i].broken);
        assert_int_equal(live[i].events, WRITERS * ROUNDS * 2);
        lode_coord_watch_close(live[i].w);
    }
}

/* ---- compaction ---- */

static void compacts(void **state)
{
    static const char *const options[] = {"log_keep", "40", NULL};
    if (!coord_suite_current->log_keep)
        skip();
    _cleanup_coord_ struct lode_coord *c = coord_suite_open_with(options);
    struct lode_coord_watch *w, *slow = watch(c, "", 1);
    struct lode_coord_events e;
    struct lode_err err = {0};
    for (int i = 0; i < 120; i++)
        kit_put(c, "a", "x");
    uint64_t now = kit_revision(c);
    assert_int_equal(lode_coord_compact(c, NULL), 0);
    assert_int_equal(lode_coord_watch_next(slow, 1000, &e, &err), LODE_COMPACTED);
    assert_true(*err.text);
    lode_coord_watch_close(slow);
    int r = lode_coord_watch(c, "", 1, &w, NULL);
    if (r == 0) {
        r = lode_coord_watch_next(w, 1000, &e, NULL);
        lode_coord_watch_close(w);
    }
    assert_int_equal(r, LODE_COMPACTED);
    w = watch(c, "", now - 39);
    e = next(w, 1000);
    assert_int_equal(e.n, 40);
    assert_int_equal(e.items[0].revision, now - 39);
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
    assert_true(kit_has(c, "a"));
}

/* Without asking, history is kept at least as long as promised and dropped some time after. */
static void trims_by_itself(void **state)
{
    static const char *const options[] = {"log_keep", "40", NULL};
    if (!coord_suite_current->log_keep)
        skip();
    _cleanup_coord_ struct lode_coord *c = coord_suite_open_with(options);
    for (int i = 0; i < 41; i++)
        kit_put(c, "a", "x");
    struct lode_coord_watch *w = watch(c, "", kit_revision(c) - 39);
    struct lode_coord_events e = next(w, 1000);
    assert_int_equal(e.n, 40);
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
    for (int i = 0; i < 80; i++)
        kit_put(c, "a", "x");
    int r = lode_coord_watch(c, "", 1, &w, NULL);
    if (r == 0) {
        r = lode_coord_watch_next(w, 1000, &e, NULL);
        lode_coord_watch_close(w);
    }
    assert_int_equal(r, LODE_COMPACTED);
}

/* ---- list, then follow ---- */

struct churn {
    struct lode_coord *c;
    uint64_t seed;
    _Atomic bool stop;
};

static void *churn(void *arg)
{
    struct churn *ch = arg;
    char key[32], value[32];
    for (int i = 0; i < 300 && !ch->stop; i++) {
        uint64_t n = kit_random(&ch->seed);
        snprintf(key, sizeof key, "m/%03u", (unsigned)(n % 60));
        snprintf(value, sizeof value, "%d", i);
        struct lode_coord_op op = {n & 1024 ? LODE_COORD_PUT : LODE_COORD_DELETE, key, value,
                                   strlen(value), 0};
        struct lode_coord_txn t = {.ops = &op, .n_ops = 1};
        struct lode_coord_txn_result result;
        if (lode_coord_txn(ch->c, &t, &result, NULL) < 0)
            break;
    }
    return NULL;
}

struct mirror {
    char value[60][32];
    uint64_t modified[60];
    bool there[60];
};

static void mirror_set(struct mirror *m, const struct lode_coord_kv *kv, bool there,
                       uint64_t revision)
{
    long i = strtol(kv->key + 2, NULL, 10);
    if (revision <= m->modified[i])
        return;
    m->there[i] = there;
    m->modified[i] = revision;
    snprintf(m->value[i], sizeof m->value[i], "%s", there ? (char *)kv->value : "");
}

/* Pages slowly while others write; the first page's revision starts the watch. */
static struct lode_coord_watch *list(struct lode_coord *c, struct mirror *m)
{
    char last[32] = "";
    uint64_t from = 0;
    for (bool more = true; more;) {
        struct lode_coord_kvs kvs;
        assert_int_equal(lode_coord_range(c, "m/", *last ? last : NULL, 7, &kvs, NULL), 0);
        from = from ? from : kvs.revision + 1;
        for (size_t i = 0; i < kvs.n; i++)
            mirror_set(m, &kvs.items[i], true, kvs.items[i].modified);
        if (kvs.n)
            snprintf(last, sizeof last, "%s", kvs.items[kvs.n - 1].key);
        more = kvs.more;
        lode_coord_kvs_release(&kvs);
        usleep(2000);
    }
    return watch(c, "m/", from);
}

static void lists_and_follows_exactly(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    static struct mirror m;
    memset(&m, 0, sizeof m);
    for (int i = 0; i < 60; i += 2) {
        char key[32];
        snprintf(key, sizeof key, "m/%03d", i);
        kit_put(c, key, "first");
    }
    struct churn ch = {.c = c, .seed = kit_seed()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, churn, &ch), 0);
    struct lode_coord_watch *w = list(c, &m);
    pthread_join(thread, NULL);
    uint64_t until = kit_revision(c), told = 0;
    while (told < until) {
        struct lode_coord_events e = next(w, 1000);
        for (size_t i = 0; i < e.n; i++)
            mirror_set(&m, &e.items[i].kv, e.items[i].kind == LODE_COORD_EVENT_PUT,
                       e.items[i].revision);
        told = e.revision;
        lode_coord_events_release(&e);
    }
    lode_coord_watch_close(w);
    for (int i = 0; i < 60; i++) {
        char key[32];
        snprintf(key, sizeof key, "m/%03d", i);
        _cleanup_free_ char *value = kit_get(c, key);
        assert_int_equal(m.there[i], value != NULL);
        if (value)
            assert_string_equal(value, m.value[i]);
    }
}

/* More than a page: whole transactions, nothing lost between the pages. */
static void pages_long_histories(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    static char keys[LODE_COORD_OPS_MAX][16];
    struct lode_coord_op ops[LODE_COORD_OPS_MAX];
    for (size_t i = 0; i < LODE_COORD_OPS_MAX; i++) {
        snprintf(keys[i], sizeof keys[i], "k%02zu", i);
        ops[i] = (struct lode_coord_op){LODE_COORD_PUT, keys[i], "v", 1, 0};
    }
    struct lode_coord_txn_result result;
    for (int i = 0; i < 40; i++)
        assert_int_equal(
            lode_coord_txn(c, &(struct lode_coord_txn){.ops = ops, .n_ops = LODE_COORD_OPS_MAX},
                           &result, NULL),
            0);
    struct lode_coord_watch *w = watch(c, "", 1);
    size_t n = 0;
    for (uint64_t told = 0; told < result.revision;) {
        struct lode_coord_events e = next(w, 1000);
        assert_int_equal(e.n % LODE_COORD_OPS_MAX, 0);
        n += e.n;
        told = e.revision;
        lode_coord_events_release(&e);
    }
    assert_int_equal(n, 40 * LODE_COORD_OPS_MAX);
    lode_coord_watch_close(w);
}

const struct CMUnitTest *coord_suite_watching(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(tells_the_past, coord_suite_setup),
        cmocka_unit_test_setup(tells_whole_transactions, coord_suite_setup),
        cmocka_unit_test_setup(waits_for_the_future, coord_suite_setup),
        cmocka_unit_test_setup(wakes, coord_suite_setup),
        cmocka_unit_test_setup(tells_each_change_once_in_order, coord_suite_setup),
        cmocka_unit_test_setup(follows_while_others_write, coord_suite_setup),
        cmocka_unit_test_setup(compacts, coord_suite_setup),
        cmocka_unit_test_setup(trims_by_itself, coord_suite_setup),
        cmocka_unit_test_setup(lists_and_follows_exactly, coord_suite_setup),
        cmocka_unit_test_setup(pages_long_histories, coord_suite_setup),
    };
    *n = LODE_ARRAY_LEN(tests);
    return tests;
}
