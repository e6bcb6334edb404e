/* Lists: random filters beside the definition of their meaning, orders, pages while the list
 * changes, deadlines.
 *
 * The suite sees the catalog through its interface only, so that what is compared is the whole way:
 * grammar, SQL, plan, order and pages. LODE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "catalog/filter.h"
#include "conformance/catalog_suite.h"
#include "support/coord_kit.h"

#define FILTERS 2500 /* times the ways the suite runs */

static uint64_t seed;

static unsigned pick(unsigned n)
{
    return (unsigned)(kit_random(&seed) % n);
}

/* ---- random versions ---- */

static const char *const words[] = {"a",   "ab",         "abc",    "Abc",     "abcd", "b%c",
                                    "b_c", "x\xc3\xa9y", "rank-1", "rank-22", "it's"};
static const char *const keys[] = {"t", "odd key", "u"};

static const char *word(void)
{
    return words[pick(sizeof words / sizeof *words)];
}

static void push_random(struct lode_catalog *c, unsigned number)
{
    static const char *const models[] = {"alpha", "rank-1", "rank-22", "abcd", "Abc", "zeta.x"};
    char version[16];
    struct lode_tag tags[3];
    struct lode_metric metrics[3];
    struct lode_stage st = {.ns = pick(3) ? "_" : "search",
                            .name = models[pick(6)],
                            .version = version,
                            .tags = tags,
                            .metrics = metrics};
    snprintf(version, sizeof version, "%c%u", "vVx"[pick(3)], number);
    for (unsigned k = 0; k < 3; k++) {
        if (pick(2))
            tags[st.n_tags++] = (struct lode_tag)TAG(keys[k], word());
        if (pick(2))
            metrics[st.n_metrics++] =
                (struct lode_metric)METRIC(keys[k], (int)pick(7) - 3 + (pick(2) ? 0.5 : 0));
    }
    assert_code(cat_try_push(c, &st, NULL), 0);
}

/* ---- random filters ---- */

static void add_quoted(struct lode_buf *b, const char *text)
{
    lode_buf_addc(b, '\'');
    for (; *text; text++) {
        lode_buf_addc(b, *text);
        if (*text == '\'')
            lode_buf_addc(b, '\'');
    }
    lode_buf_addc(b, '\'');
}

static void add_pattern(struct lode_buf *b)
{
    static const char *const patterns[] = {
        "%",     "a%", "%c",  "%bc%",       "_b%", "rank-%",  "%ank%", "%BC%",  "b\\%c",
        "b\\_c", "",   "abc", "%\xc3\xa9%", "x_y", "%anK-2%", "v%",    "%a_c%", "it''s"};
    lode_buf_addf(b, "'%s'", patterns[pick(sizeof patterns / sizeof *patterns)]);
}

static void add_text_comparison(struct lode_buf *b)
{
    static const char *const signs[] = {"=", "!=", "<", "<=", ">", ">="};
    unsigned kind = pick(9);
    if (kind < 6) {
        lode_buf_addf(b, " %s ", signs[kind]);
        add_quoted(b, word());
    } else if (kind == 6) {
        lode_buf_adds(b, " IN (");
        add_quoted(b, word());
        lode_buf_adds(b, ", ");
        add_quoted(b, word());
        lode_buf_adds(b, ")");
    } else {
        lode_buf_adds(b, kind == 7 ? " LIKE " : " ilike ");
        add_pattern(b);
    }
}

static void add_number_comparison(struct lode_buf *b)
{
    static const char *const signs[] = {"=", "!=", "<", "<=", ">", ">="};
    unsigned kind = pick(7);
    if (kind < 6)
        lode_buf_addf(b, "%s%d%s", signs[kind], (int)pick(9) - 3, pick(3) ? "" : ".5");
    else
        lode_buf_addf(b, " IN (%d, %d, 0.5)", (int)pick(5) - 2, (int)pick(40));
}

static void add_comparison(struct lode_buf *b)
{
    static const char *const texts[] = {"name", "version", "format"};
    static const char *const numbers[] = {"seq", "size", "parameters"};
    switch (pick(6)) {
    case 0:
        lode_buf_adds(b, texts[pick(3)]);
        add_text_comparison(b);
        return;
    case 1:
        lode_buf_adds(b, numbers[pick(3)]);
        add_number_comparison(b);
        return;
    case 2:
        lode_buf_addf(b, "created %s '20%02u-06-01T00:00:00Z'",
                      pick(2) ? "<" : ">=", 20 + pick(10));
        return;
    case 3:
        lode_buf_addf(b, "state %s '%s'",
                      pick(2) ? "=" : "!=", lode_state_name((enum lode_state)pick(4)));
        return;
    case 4:
        lode_buf_addf(b, "tags.`%s`", keys[pick(3)]);
        add_text_comparison(b);
        return;
    default:
        lode_buf_addf(b, "metrics.`%s`", keys[pick(3)]);
        add_number_comparison(b);
    }
}

static void add_filter(struct lode_buf *b, unsigned depth)
{
    switch (depth ? pick(5) : 4) {
    case 0:
    case 1:
        add_filter(b, depth - 1);
        lode_buf_adds(b, pick(2) ? " AND " : " OR ");
        add_filter(b, depth - 1);
        return;
    case 2:
        lode_buf_adds(b, "NOT ");
        add_filter(b, depth - 1);
        return;
    case 3:
        lode_buf_adds(b, "(");
        add_filter(b, depth - 1);
        lode_buf_adds(b, ")");
        return;
    default:
        add_comparison(b);
    }
}

/* ---- comparing ---- */

/* All pages of a query, in order. */
static struct lode_versions list_all(struct lode_catalog *c, struct lode_query q, uint32_t limit)
{
    struct lode_versions all = {0};
    _cleanup_free_ char *page = NULL;
    q.limit = limit;
    q.deadline_ms = 60000;
    do {
        struct lode_versions p = {0};
        q.page = page;
        int r = OPS(c)->versions(c, &q, &p, &cat_err);
        if (r < 0)
            fail_msg("%s: %s", q.filter ? q.filter : "", cat_err.text);
        assert_true(p.n <= limit && (p.n == limit || !p.next));
        all.items = lode_realloc_array(all.items, all.n + p.n + 1, sizeof *all.items);
        if (p.n)
            memcpy(all.items + all.n, p.items, p.n * sizeof *p.items);
        all.n += p.n;
        lode_free(p.items);
        lode_free(page);
        page = p.next;
    } while (page);
    return all;
}

static bool listed(const struct lode_versions *p, const struct lode_version *v)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct lode_version *w = &p->items[i];
        if (strcmp(w->version, v->version) == 0 && strcmp(w->name, v->name) == 0 &&
            strcmp(w->ns, v->ns) == 0)
            return true;
    }
    return false;
}

static void check_filter(struct lode_catalog *c, const struct lode_versions *all, const char *text,
                         const char *sort)
{
    const struct lode_query q = {.filter = text, .sort = sort, .deleted = true};
    _cleanup_filter_ struct lode_filter_node *f = NULL;
    _cleanup_versions_ struct lode_versions got = list_all(c, q, 4 + pick(20));
    size_t want = 0;
    if (lode_filter_parse(text, &f, &cat_err) < 0)
        fail_msg("%s: %s", text, cat_err.text);
    for (size_t i = 0; i < all->n; i++) {
        bool in = lode_filter_match(f, &all->items[i]);
        want += in;
        if (in != listed(&got, &all->items[i]))
            fail_msg("%s: %s/%s@%s is %s the list (seed %llu)", text, all->items[i].ns,
                     all->items[i].name, all->items[i].version, in ? "missing from" : "wrongly in",
                     (unsigned long long)seed);
    }
    if (got.n != want)
        fail_msg("%s sorted by %s: %zu listed, %zu match", text, sort ? sort : "nothing", got.n,
                 want);
}

static void random_filters(void **state)
{
    static const char *const sorts[] = {NULL,     "seq:desc", "created",   "metrics.t:desc",
                                        "tags.t", "size",     "metrics.u", "version:desc"};
    seed = kit_seed();
    for (unsigned i = 0; i < 40; i++)
        push_random(cat(), i);
    struct lode_attempt *staged[] = {cat_stage(cat(), "alpha", "s1"),
                                     cat_stage(cat(), "rank-1", "s2")};
    const struct lode_query everything = {.deleted = true};
    _cleanup_versions_ struct lode_versions all = list_all(cat(), everything, 100);
    assert_int_equal(all.n, 42);
    for (unsigned i = 0; i < FILTERS; i++) {
        _cleanup_buf_ struct lode_buf text = LODE_BUF_INIT(LODE_FILTER_MAX);
        add_filter(&text, pick(5));
        check_filter(cat(), &all, lode_buf_str(&text), sorts[pick(8)]);
    }
    for (unsigned i = 0; i < 2; i++)
        OPS(cat())->attempt_close(staged[i]);
}

/* ---- orders ---- */

static double sort_number(const struct lode_version *v, const char *metric, bool *there)
{
    for (size_t i = 0; i < v->n_metrics; i++) {
        if (strcmp(v->metrics[i].key, metric) == 0) {
            *there = true;
            return v->metrics[i].value;
        }
    }
    *there = false;
    return 0;
}

static void orders(void **state)
{
    for (unsigned i = 0; i < 12; i++) {
        char version[8];
        snprintf(version, sizeof version, "v%u", i);
        cat_push_facts(cat(), i % 2 ? "rank" : "search/alpha", version, "team", i % 3 ? "x" : "y",
                       i % 4 ? "auc" : NULL, (double)(i * 5 % 7));
    }
    struct lode_query q = {.sort = "metrics.auc:desc"};
    _cleanup_versions_ struct lode_versions by_auc = list_all(cat(), q, 2);
    bool there, before = true;
    double last = 1e9;
    assert_int_equal(by_auc.n, 12);
    for (size_t i = 0; i < by_auc.n; i++) {
        double auc = sort_number(&by_auc.items[i], "auc", &there);
        assert_true(!there || before);
        assert_true(!there || auc <= last);
        before = there;
        last = auc;
    }
    q = (struct lode_query){.ns = "_", .name = "rank"};
    _cleanup_versions_ struct lode_versions within = list_all(cat(), q, 4);
    assert_true(within.n == 6 && within.items[0].seq == 6 && within.items[5].seq == 1 &&
                within.items[0].latest);
    q = (struct lode_query){.ns = "search"};
    _cleanup_versions_ struct lode_versions ns = list_all(cat(), q, 4);
    assert_true(ns.n == 6 && strcmp(ns.items[0].ns, "search") == 0);
    q = (struct lode_query){.sort = "name:desc"};
    _cleanup_versions_ struct lode_versions by_name = list_all(cat(), q, 5);
    assert_true(strcmp(by_name.items[0].name, "rank") == 0 &&
                strcmp(by_name.items[11].name, "alpha") == 0);
}

static void models(void **state)
{
    struct lode_models p = {0};
    struct lode_query q = {.limit = 2};
    cat_push_facts(cat(), "b", "v1", "team", "x", NULL, 0);
    cat_push_facts(cat(), "b", "v2", "team", "y", NULL, 0);
    cat_push(cat(), "a", "v1", NULL);
    cat_push(cat(), "ns/c", "v1", NULL);
    struct lode_attempt *staged = cat_stage(cat(), "d", "v1");
    assert_code(OPS(cat())->models(cat(), &q, &p, &cat_err), 0);
    assert_true(p.n == 2 && p.next && strcmp(p.items[0].name, "a") == 0 &&
                strcmp(p.items[1].latest, "v2") == 0);
    assert_true(p.items[1].versions == 2);
    q.page = p.next;
    struct lode_models rest = {0};
    assert_code(OPS(cat())->models(cat(), &q, &rest, &cat_err), 0);
    assert_true(rest.n == 1 && !rest.next && strcmp(rest.items[0].ns, "ns") == 0);
    lode_models_release(&rest);
    q = (struct lode_query){.filter = "tags.team = 'x'"};
    assert_code(OPS(cat())->models(cat(), &q, &rest, &cat_err), 0);
    assert_int_equal(rest.n, 0);
    lode_models_release(&rest);
    lode_models_release(&p);
    OPS(cat())->attempt_close(staged);
}

static void states(void **state)
{
    _cleanup_version_ struct lode_version v = {0}, gone = {0};
    cat_push(cat(), "rank", "v1", &v);
    cat_push(cat(), "rank", "v2", NULL);
    struct lode_attempt *staged = cat_stage(cat(), "rank", "v3");
    assert_code(OPS(cat())->remove(cat(), &v, NULL, &gone, &cat_err), 0);
    struct lode_query q = {.ns = "_", .name = "rank"};
    _cleanup_versions_ struct lode_versions seen = list_all(cat(), q, 10);
    assert_int_equal(seen.n, 1);
    q.deleted = true;
    _cleanup_versions_ struct lode_versions all = list_all(cat(), q, 1);
    assert_int_equal(all.n, 3);
    q.filter = "state IN ('deleted', 'staging')";
    _cleanup_versions_ struct lode_versions two = list_all(cat(), q, 10);
    assert_int_equal(two.n, 2);
    OPS(cat())->attempt_close(staged);
}

/* Entries that come and go between pages move no others: none is told twice, none that stays is
 * left out. */
static void changing_pages(void **state)
{
    struct lode_versions p = {0}, rest = {0};
    _cleanup_version_ struct lode_version gone = {0};
    for (unsigned i = 0; i < 6; i++) {
        char version[8];
        snprintf(version, sizeof version, "v%u", i);
        cat_push(cat(), "rank", version, NULL);
    }
    struct lode_query q = {.ns = "_", .name = "rank", .limit = 3};
    assert_code(OPS(cat())->versions(cat(), &q, &p, &cat_err), 0);
    assert_true(p.n == 3 && strcmp(p.items[2].version, "v3") == 0);
    assert_code(OPS(cat())->remove(cat(), &p.items[2], NULL, &gone, &cat_err), 0);
    cat_push(cat(), "rank", "v6", NULL);
    q.page = p.next;
    assert_code(OPS(cat())->versions(cat(), &q, &rest, &cat_err), 0);
    assert_true(rest.n == 3 && !rest.next && strcmp(rest.items[0].version, "v2") == 0);
    lode_versions_release(&rest);
    q.sort = "created";
    assert_code(OPS(cat())->versions(cat(), &q, &rest, &cat_err), LODE_INVALID);
    q.page = "00";
    assert_code(OPS(cat())->versions(cat(), &q, &rest, &cat_err), LODE_INVALID);
    q = (struct lode_query){.filter = "nonsense"};
    assert_code(OPS(cat())->versions(cat(), &q, &rest, &cat_err), LODE_INVALID);
    lode_versions_release(&p);
}

/* A list shows every change that was acknowledged before it was asked for, also another client's.
 */
static void current(void **state)
{
    struct lode_catalog *other = cat_open();
    const struct lode_query q = {.ns = "_", .name = "rank"};
    for (unsigned i = 1; i <= 5; i++) {
        cat_push(i % 2 ? cat() : other, "rank", NULL, NULL);
        _cleanup_versions_ struct lode_versions here = list_all(cat(), q, 10);
        _cleanup_versions_ struct lode_versions there = list_all(other, q, 10);
        assert_true(here.n == i && there.n == i);
    }
    cat_close(other);
}

const struct CMUnitTest *catalog_suite_lists(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_filters), cmocka_unit_test(orders),
        cmocka_unit_test(models),         cmocka_unit_test(states),
        cmocka_unit_test(changing_pages), cmocka_unit_test(current)};
    *n = sizeof tests / sizeof *tests;
    return tests;
}
