/* The catalog's suite: its runner and its short words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/limits.h"
#include "conformance/catalog_suite.h"

const struct catalog_suite *catalog_suite_current;
struct lode_err cat_err;
static struct lode_catalog *current;

struct lode_catalog *cat(void)
{
    return current;
}

struct lode_catalog *cat_open(void)
{
    return catalog_suite_current->open(catalog_suite_current->arg);
}

void cat_close(struct lode_catalog *c)
{
    catalog_suite_current->close(catalog_suite_current->arg, c);
}

void cat_assert_code(int got, int want, const char *file, int line)
{
    if (got == want)
        return;
    fprintf(stderr, "%s instead of %s: %s\n", lode_code_name(got), lode_code_name(want),
            cat_err.text);
    _fail(file, line);
}

static struct lode_ref model_of(const char *model)
{
    struct lode_ref ref;
    assert_code(lode_ref_parse_model(model, &ref, &cat_err), 0);
    return ref;
}

int cat_try_stage(struct lode_catalog *c, const char *model, const char *version,
                  struct lode_attempt **out)
{
    struct lode_ref ref = model_of(model);
    const struct lode_stage st = {.ns = ref.ns, .name = ref.name, .version = version, .size = 16};
    return OPS(c)->stage(c, &st, NULL, out, &cat_err);
}

struct lode_attempt *cat_stage(struct lode_catalog *c, const char *model, const char *version)
{
    struct lode_attempt *a = NULL;
    assert_code(cat_try_stage(c, model, version, &a), 0);
    return a;
}

static struct lode_ref ref_of(const char *text)
{
    struct lode_ref ref;
    assert_code(lode_ref_parse(text, &ref, &cat_err), 0);
    return ref;
}

static int try_write(struct lode_attempt *a, const char *path, const char *text)
{
    const struct lode_place *p = lode_attempt_info(a)->place;
    _cleanup_free_ char *key = lode_asprintf("%s%s%s", p->prefix, *p->prefix ? "/" : "", path);
    return lode_store_put(p->store, key, text, strlen(text), false, &cat_err);
}

void cat_write(struct lode_attempt *a, const char *path, const char *text)
{
    assert_code(try_write(a, path, text), 0);
}

struct lode_manifest *cat_manifest(const char *path, const char *text)
{
    struct lode_manifest *m = lode_zalloc(sizeof *m);
    size_t len = strlen(text);
    m->files = lode_calloc(1, sizeof *m->files);
    m->n_files = 1;
    m->block_size = LODE_BLOCK_SIZE;
    struct lode_manifest_file *f = &m->files[0];
    *f = (struct lode_manifest_file){
        .path = lode_strdup(path), .size = len, .mode = 0644, .format = lode_strdup("opaque")};
    f->crc32c = lode_crc32c(0, text, len);
    f->n_blocks = len > 0;
    f->blocks = lode_calloc(1, sizeof *f->blocks);
    f->blocks[0] = lode_xxh128_of(text, len);
    if (lode_sha256_of(text, len, &f->sha256, NULL) < 0)
        fail();
    return m;
}

int cat_try_finish(struct lode_attempt *a, struct lode_version *out)
{
    const char *text = lode_attempt_info(a)->version;
    _cleanup_manifest_ struct lode_manifest *m = cat_manifest("weights.bin", text);
    return lode_catalog_ops_of(a)->finish(a, m, out, &cat_err);
}

int cat_try_push(struct lode_catalog *c, const struct lode_stage *stage, struct lode_version *out)
{
    _cleanup_attempt_ struct lode_attempt *a = NULL;
    _cleanup_version_ struct lode_version v = {0};
    int r = OPS(c)->stage(c, stage, NULL, &a, &cat_err);
    r = r < 0 ? r : try_write(a, "weights.bin", lode_attempt_info(a)->version);
    r = r < 0 ? r : cat_try_finish(a, out ? out : &v);
    return r;
}

void cat_push(struct lode_catalog *c, const char *model, const char *version,
              struct lode_version *out)
{
    struct lode_ref ref = model_of(model);
    const struct lode_stage st = {.ns = ref.ns, .name = ref.name, .version = version};
    assert_code(cat_try_push(c, &st, out), 0);
}

void cat_push_facts(struct lode_catalog *c, const char *model, const char *version, const char *tag,
                    const char *value, const char *metric, double number)
{
    struct lode_ref ref = model_of(model);
    const struct lode_tag t = {(char *)(uintptr_t)tag, (char *)(uintptr_t)value};
    const struct lode_metric m = {(char *)(uintptr_t)metric, number};
    const struct lode_stage st = {.ns = ref.ns,
                                  .name = ref.name,
                                  .version = version,
                                  .tags = &t,
                                  .n_tags = tag != NULL,
                                  .metrics = &m,
                                  .n_metrics = metric != NULL};
    assert_code(cat_try_push(c, &st, NULL), 0);
}

int cat_try_resolve(struct lode_catalog *c, const char *text, bool any, struct lode_version *out)
{
    struct lode_ref ref = ref_of(text);
    return OPS(c)->resolve(c, &ref, any, out, &cat_err);
}

struct lode_version cat_resolve(struct lode_catalog *c, const char *ref)
{
    struct lode_version v = {0};
    assert_code(cat_try_resolve(c, ref, false, &v), 0);
    return v;
}

bool cat_is(struct lode_catalog *c, const char *ref, const char *version)
{
    _cleanup_version_ struct lode_version v = {0};
    return cat_try_resolve(c, ref, false, &v) == 0 && strcmp(v.version, version) == 0;
}

static int setup(void **state)
{
    catalog_suite_current->fresh(catalog_suite_current->arg);
    current = cat_open();
    return 0;
}

static int teardown(void **state)
{
    if (current)
        cat_close(current);
    current = NULL;
    return 0;
}

static int run_part(const struct CMUnitTest *(*part)(size_t *n))
{
    size_t n;
    const struct CMUnitTest *tests = part(&n);
    struct CMUnitTest own[64];
    assert(n <= sizeof own / sizeof *own);
    for (size_t i = 0; i < n; i++) {
        own[i] = tests[i];
        own[i].setup_func = setup;
        own[i].teardown_func = teardown;
    }
    return _cmocka_run_group_tests(catalog_suite_current->name, own, n, NULL, NULL);
}

int catalog_suite_run(const struct catalog_suite *suite)
{
    catalog_suite_current = suite;
    int failed = run_part(catalog_suite_life);
    failed += run_part(catalog_suite_facts);
    failed += run_part(catalog_suite_lists);
    failed += run_part(catalog_suite_watches);
    failed += run_part(catalog_suite_races);
    if (suite->direct)
        failed += run_part(catalog_suite_direct);
    if (suite->done)
        suite->done(suite->arg);
    return failed;
}
