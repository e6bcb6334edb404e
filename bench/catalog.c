/* The catalog on many models: get by alias, and pages of 100, inside one process (as a server
 * asks).
 *
 *     bench_catalog DIR [MODELS [VERSIONS]]
 *
 * Seeds a root in DIR (which must not exist) with MODELS models of VERSIONS versions each, straight
 * through the coord in transactions of the size that any coord takes, then lets the projection be
 * built, as after a move of a root; both rates are told. No file is written for the versions: only
 * records are measured. Then asks, one question after the other, and tells median and 99th
 * percentile. Exits 1 if a figure misses its bound.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "catalog/catalog.h"
#include "catalog/records.h"

#define ROUNDS 300
#define ALIAS_ROUNDS 20000
#define MODELS_A_TXN 2

static unsigned models = 100000, versions = 10;
static uint64_t state = 88172645463325252ull;
static struct lode_err err;
static bool missed;

static unsigned pick(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % n);
}

static void must(int r)
{
    if (r < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
}

/* ---- seeding ---- */

struct batch {
    struct lode_coord_op ops[LODE_COORD_OPS_MAX];
    size_t n;
};

static void put(struct batch *b, char *key, char *text)
{
    if (!key || !text)
        exit(1);
    b->ops[b->n++] = (struct lode_coord_op){LODE_COORD_PUT, key, text, strlen(text), 0};
}

static void run(struct lode_coord *coord, struct batch *b)
{
    struct lode_coord_txn_result res = {0};
    const struct lode_coord_txn txn = {.ops = b->ops, .n_ops = b->n};
    must(lode_coord_txn(coord, &txn, &res, &err));
    lode_coord_txn_result_release(&res);
    for (size_t i = 0; i < b->n; i++) {
        lode_free((void *)(uintptr_t)b->ops[i].key);
        lode_free((void *)(uintptr_t)b->ops[i].value);
    }
    b->n = 0;
}

static void add_version(struct batch *b, const char *name, unsigned model, unsigned seq,
                        int64_t when)
{
    char version[32], directory[128], team[16], owner[16];
    snprintf(version, sizeof version, "20260101T%02u%02u%02uZ-%u", model / 3600 % 24,
             model / 60 % 60, model % 60, seq);
    snprintf(directory, sizeof directory, "%s/%s", name, version);
    snprintf(team, sizeof team, "team-%u", pick(20));
    snprintf(owner, sizeof owner, "o-%u", pick(models));
    struct lode_tag tags[] = {{(char *)(uintptr_t) "owner", owner},
                              {(char *)(uintptr_t) "team", team}};
    struct lode_metric metrics[] = {{(char *)(uintptr_t) "auc", pick(1000000) / 1e6},
                                    {(char *)(uintptr_t) "loss", pick(1000) / 10.0}};
    struct lode_version_record r = {
        .v = {.ns = (char *)(uintptr_t) "_",
              .name = (char *)(uintptr_t)name,
              .version = version,
              .seq = seq,
              .state = LODE_COMMITTED,
              .created_ms = when,
              .author = (char *)(uintptr_t) "ann@host",
              .size = pick(1u << 30),
              .files = 3,
              .format = (char *)(uintptr_t) "safetensors",
              .tensors = 200,
              .parameters = pick(1u << 30),
              .digest = (char *)(uintptr_t) "ababababababababababababababababababababababababababab"
                                            "abababababab",
              .manifest_size = 20000,
              .tags = tags,
              .n_tags = 2,
              .metrics = metrics,
              .n_metrics = 2,
              .attempt = 1,
              .directory = directory}};
    struct lode_journal_entry e = {.number = seq,
                                   .when_ms = when,
                                   .change = LODE_CHANGE_COMMIT,
                                   .to = version,
                                   .who = (char *)(uintptr_t) "ann@host",
                                   .ns = (char *)(uintptr_t) "_",
                                   .name = (char *)(uintptr_t)name};
    put(b, lode_key_version("_", name, version), lode_version_record_text(&r));
    put(b, lode_key_seq("_", name, seq), lode_strdup(version));
    put(b, lode_key_journal("_", name, seq), lode_journal_record_text(&e));
}

static void add_model(struct batch *b, unsigned number)
{
    char name[32], latest[32], prod[32];
    int64_t when = 1767225600000 + number * 1000ll;
    snprintf(name, sizeof name, "model-%06u", number);
    for (unsigned s = 1; s <= versions; s++)
        add_version(b, name, number, s, when + s);
    snprintf(latest, sizeof latest, "20260101T%02u%02u%02uZ-%u", number / 3600 % 24,
             number / 60 % 60, number % 60, versions);
    snprintf(prod, sizeof prod, "20260101T%02u%02u%02uZ-%u", number / 3600 % 24, number / 60 % 60,
             number % 60, 1 + number % versions);
    struct lode_alias alias = {(char *)(uintptr_t) "prod", prod};
    struct lode_model_record m = {.info = {.ns = (char *)(uintptr_t) "_",
                                           .name = name,
                                           .versions = versions,
                                           .latest = latest,
                                           .latest_seq = versions,
                                           .next_seq = versions + 1,
                                           .created_ms = when,
                                           .updated_ms = when,
                                           .aliases = &alias,
                                           .n_aliases = 1},
                                  .next_entry = versions + 1,
                                  .last_when_ms = when};
    put(b, lode_key_model("_", name), lode_model_record_text(&m));
}

static void seed(struct lode_coord *coord)
{
    struct batch b = {.n = 0};
    int64_t start = lode_mono_ms();
    for (unsigned i = 0; i < models; i++) {
        add_model(&b, i);
        if ((i + 1) % MODELS_A_TXN == 0)
            run(coord, &b);
    }
    if (b.n)
        run(coord, &b);
    double s = (double)(lode_mono_ms() - start) / 1000;
    printf("seeded %u models x %u versions in %.1f s: %.0f versions/s, durable, %u a transaction\n",
           models, versions, s, models * versions / s, MODELS_A_TXN * versions);
}

/* ---- measuring ---- */

struct times {
    double passed[ALIAS_ROUNDS], used[ALIAS_ROUNDS]; /* ms */
    unsigned n;
    uint64_t begin;
    double cpu;
};
static struct times times;

static double cpu_ms(void)
{
    struct timespec ts;
    lode_sys->clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void begin(void)
{
    times.cpu = cpu_ms();
    times.begin = lode_mono_ns();
}

static void end(void)
{
    times.passed[times.n] = (double)(lode_mono_ns() - times.begin) / 1e6;
    times.used[times.n++] = cpu_ms() - times.cpu;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double bound)
{
    unsigned n = times.n, at99 = n - 1 - n / 100;
    qsort(times.passed, n, sizeof *times.passed, by_value);
    qsort(times.used, n, sizeof *times.used, by_value);
    bool bad = times.passed[at99] > bound;
    missed |= bad;
    printf("%-52s p50 %7.3f p99 %7.3f ms   cpu p50 %7.3f p99 %7.3f ms%s\n", what,
           times.passed[n / 2], times.passed[at99], times.used[n / 2], times.used[at99],
           bad ? "  MISSED" : "");
    fflush(stdout);
    times.n = 0;
}

static void get_by_alias(struct lode_catalog *c)
{
    struct lode_ref ref = {.ns = "_", .kind = LODE_REV_NAME, .rev = "prod"};
    for (unsigned i = 0; i < ALIAS_ROUNDS; i++) {
        _cleanup_version_ struct lode_version v = {0};
        snprintf(ref.name, sizeof ref.name, "model-%06u", pick(models));
        begin();
        must(lode_catalog_ops_of(c)->resolve(c, &ref, false, &v, &err));
        end();
    }
    report("get name@alias, random of all", 1);
}

typedef void make_filter(char *out, size_t room);

/* Pages of 100; with `deep` each continues the one before. */
static void pages(struct lode_catalog *c, const char *what, make_filter *make, const char *sort,
                  bool deep, bool of_models)
{
    char filter[256] = "";
    _cleanup_free_ char *page = NULL;
    size_t told = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (make)
            make(filter, sizeof filter);
        struct lode_query q = {.filter = make ? filter : NULL,
                               .sort = sort,
                               .page = deep ? page : NULL,
                               .deadline_ms = 60000};
        _cleanup_versions_ struct lode_versions p = {0};
        _cleanup_models_ struct lode_models m = {0};
        begin();
        must(of_models ? lode_catalog_ops_of(c)->models(c, &q, &m, &err)
                       : lode_catalog_ops_of(c)->versions(c, &q, &p, &err));
        end();
        told += p.n + m.n;
        lode_free(page);
        page = lode_strdup(of_models ? m.next : p.next);
    }
    char line[128];
    snprintf(line, sizeof line, "%s (%zu a page)", what, told / ROUNDS);
    report(line, 10);
}

static void equal(char *out, size_t room)
{
    snprintf(out, room, "name = 'model-%06u'", pick(models));
}
static void prefix(char *out, size_t room)
{
    snprintf(out, room, "name LIKE 'model-%03u%%'", pick(models / 1000 + 1));
}
static void substring(char *out, size_t room)
{
    snprintf(out, room, "name LIKE '%%%03u%%'", pick(1000));
}
static void substring_fold(char *out, size_t room)
{
    snprintf(out, room, "name ILIKE '%%L-0%03u%%'", pick(1000));
}
static void team(char *out, size_t room)
{
    snprintf(out, room, "tags.team = 'team-%u'", pick(20));
}
static void owner(char *out, size_t room)
{
    snprintf(out, room, "tags.owner = 'o-%u'", pick(models));
}
static void auc(char *out, size_t room)
{
    double low = pick(900) / 1000.0;
    snprintf(out, room, "metrics.auc >= %.3f AND metrics.auc < %.3f", low, low + 0.1);
}

static void measure(struct lode_catalog *c)
{
    get_by_alias(c);
    pages(c, "name = 'x'", equal, NULL, false, false);
    pages(c, "name LIKE 'start%'", prefix, NULL, false, false);
    pages(c, "seq order, page after page", NULL, "seq:desc", true, false);
    pages(c, "created order, page after page", NULL, "created:desc", true, false);
    pages(c, "tags.team = 'x' in its own order", team, "tags.team", false, false);
    pages(c, "tags.team = 'x' in name order", team, NULL, false, false);
    pages(c, "tags.owner = 'x' (few)", owner, NULL, false, false);
    pages(c, "metrics.auc range in its own order", auc, "metrics.auc:desc", false, false);
    pages(c, "name LIKE '%abc%'", substring, NULL, false, false);
    pages(c, "name ILIKE '%abcdef%'", substring_fold, NULL, false, false);
    pages(c, "models by name, page after page", NULL, NULL, true, true);
}

static void cold(struct lode_catalog *c)
{
    const struct lode_query q = {.limit = 1};
    _cleanup_versions_ struct lode_versions p = {0};
    int64_t start = lode_mono_ms();
    must(lode_catalog_ops_of(c)->versions(c, &q, &p, &err));
    double s = (double)(lode_mono_ms() - start) / 1000;
    printf("projection built in %.1f s: %.0f versions/s\n", s,
           models * versions / lode_max(s, 0.001));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: catalog DIR [MODELS [VERSIONS]]\n");
        return 2;
    }
    models = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : models;
    versions = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : versions;
    _cleanup_free_ char *coord_url = lode_asprintf("sqlite://%s/coord.db", argv[1]);
    const struct lode_store_config sc = {.url = argv[1], .create = true};
    const struct lode_coord_config cc = {.url = coord_url, .create = true};
    _cleanup_store_ struct lode_store *store = NULL;
    _cleanup_coord_ struct lode_coord *coord = NULL;
    _cleanup_catalog_ struct lode_catalog *c = NULL;
    must(lode_store_open(&sc, &store, &err));
    must(lode_coord_open(&cc, &coord, &err));
    must(lode_catalog_init(coord, store, &err));
    seed(coord);
    must(lode_catalog_direct(coord, store, &c, &err));
    cold(c);
    measure(c);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("peak memory %ld MiB\n", usage.ru_maxrss / 1024);
    return missed;
}
