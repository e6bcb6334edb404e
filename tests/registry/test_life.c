/* The life of a model, through the public API alone: published, found, read in every way, changed,
 * rolled back, removed. On an embedded root and on one in memory; bytes are compared at every step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "support/root.h"

static bool in_memory;

static json_t *parsed(char *text)
{
    json_t *doc = json_loads(text, 0, NULL);
    assert_non_null(doc);
    lode_string_free(text);
    return doc;
}

static size_t count(const json_t *doc, const char *a, const char *b)
{
    const json_t *at = json_object_get(doc, a);
    return json_array_size(b ? json_object_get(at, b) : at);
}

/* A model as people have it: shards, an npy, a config, an empty file, something in a directory. */
static const char *make_model(const char *name, uint64_t seed)
{
    const char *dir = root_path("%s", name);
    root_safetensors(root_path("%s/model.safetensors", name), 5, 300000, seed);
    root_write(root_path("%s/config.json", name), "{\"a\":1}", 7);
    root_write(root_path("%s/empty", name), "", 0);
    root_fill(root_path("%s/sub/dir/vocab.bin", name), 5000001, seed + 1);
    root_write(root_path("%s/tool.sh", name), "#!/bin/sh\n", 10);
    chmod(root_path("%s/tool.sh", name), 0755);
    return dir;
}

struct sunk {
    char *bytes;
    size_t len;
};

static int sink(void *arg, const void *data, size_t len)
{
    struct sunk *s = arg;
    s->bytes = realloc(s->bytes, s->len + len + 1);
    assert_non_null(s->bytes);
    memcpy(s->bytes + s->len, data, len);
    s->len += len;
    return 0;
}

static void check_cat(struct lode *lode, const char *ref, const char *source, uint64_t offset,
                      uint64_t len)
{
    struct lode_err err = {0};
    struct sunk s = {0};
    size_t n;
    char *bytes = root_read(source, &n);
    root_ok(lode_cat(lode, ref, offset, len, sink, &s, NULL, &err), &err);
    assert_int_equal(s.len, len ? len : n - offset);
    assert_memory_equal(s.bytes ? s.bytes : "", bytes + offset, s.len);
    free(bytes);
    free(s.bytes);
}

static void check_load(struct lode *lode, const char *ref, const struct lode_load_options *o,
                       const char *source, bool verified)
{
    struct lode_err err = {0};
    struct lode_model *m = NULL;
    struct lode_tensor_view t;
    struct lode_load_stats stats;
    size_t n;
    char *bytes = root_read(source, &n);
    uint64_t header;
    memcpy(&header, bytes, 8);
    root_ok(lode_load(lode, ref, o, &m, &err), &err);
    lode_model_stats(m, &stats);
    assert_int_equal(stats.verified, verified);
    for (size_t i = 0; i < lode_model_count(m); i++) {
        root_ok(lode_model_at(m, i, &t, &err), &err);
        size_t number = strtoul(t.name + 1, NULL, 10);
        assert_int_equal(t.len, 1200000);
        assert_int_equal(t.dtype, LODE_DTYPE_F32);
        assert_memory_equal(t.data, bytes + 8 + header + number * 1200000, t.len);
    }
    root_ok(lode_model_tensor(m, "t3", &t, &err), &err);
    root_refused(lode_model_tensor(m, "nothing", &t, &err), LODE_NOT_FOUND, &err, "nothing");
    lode_model_free(m);
    free(bytes);
}

static void push_and_find(void **state)
{
    struct lode *lode = root_open(in_memory);
    struct lode_err err = {0};
    struct lode_version v = {0};
    const char *dir = make_model("life", 1);
    root_ok(root_push(lode, "rank", dir, "v1", &v, &err), &err);
    assert_string_equal(v.version, "v1");
    assert_int_equal(v.seq, 1);
    assert_int_equal(v.state, LODE_COMMITTED);
    assert_int_equal(v.files, 5);
    assert_int_equal(v.tensors, 5);
    assert_int_equal(v.parameters, 1500000);
    assert_string_equal(v.format, "safetensors");
    assert_true(v.latest);
    lode_version_release(&v);

    struct lode_models models = {0};
    struct lode_versions versions = {0};
    root_ok(lode_ls_models(lode, NULL, NULL, &models, &err), &err);
    assert_int_equal(models.n, 1);
    assert_string_equal(models.items[0].name, "rank");
    root_ok(lode_ls_versions(lode, "rank", NULL, &versions, &err), &err);
    assert_int_equal(versions.n, 1);
    lode_models_release(&models);
    lode_versions_release(&versions);

    char *json = NULL;
    root_ok(lode_describe(lode, "rank@v1", true, &json, &err), &err);
    json_t *doc = parsed(json);
    assert_int_equal(count(doc, "files", NULL), 5);
    assert_int_equal(count(doc, "tensors", NULL), 5);
    json_decref(doc);

    root_refused(lode_show(lode, "rank@v2", &v, &err), LODE_NOT_FOUND, &err, "rank");
    root_refused(root_push(lode, "rank", dir, "v1", &v, &err), LODE_EXISTS, &err, "v1");
    lode_close(lode);
}

static void read_every_way(void **state)
{
    struct lode *lode = root_open(in_memory);
    struct lode_err err = {0};
    const char *dir = make_model("read", 2);
    root_ok(root_push(lode, "team/rank", dir, NULL, NULL, &err), &err);

    char *path = NULL;
    root_ok(lode_pull(lode, "team/rank", root_path("pulled"), NULL, &path, NULL, &err), &err);
    assert_true(root_same_tree(dir, path));
    struct stat st;
    assert_int_equal(stat(root_path("pulled/tool.sh"), &st), 0);
    assert_true(st.st_mode & S_IXUSR);
    lode_string_free(path);
    root_ok(lode_pull(lode, "team/rank", root_path("pulled"), NULL, NULL, NULL, &err), &err);

    check_cat(lode, "team/rank@latest/sub/dir/vocab.bin", root_path("read/sub/dir/vocab.bin"), 0,
              0);
    check_cat(lode, "team/rank@latest/sub/dir/vocab.bin", root_path("read/sub/dir/vocab.bin"),
              1048570, 3900000);
    check_cat(lode, "team/rank@1/empty", root_path("read/empty"), 0, 0);
    root_refused(lode_cat(lode, "team/rank@1/none", 0, 0, sink, NULL, NULL, &err), LODE_NOT_FOUND,
                 &err, "none");

    const char *source = root_path("read/model.safetensors");
    const char *globs[] = {"t[23]", "t0"};
    struct lode_load_options some = {.tensors = globs, .n_tensors = 2}, copy = {.copy = true},
                             raw = {.no_verify = true};
    check_load(lode, "team/rank", NULL, source, true);
    check_load(lode, "team/rank", &some, source, true);
    check_load(lode, "team/rank", &copy, source, true);
    check_load(lode, "team/rank", &raw, source, false);
    check_load(NULL, root_path("pulled"), NULL, source, false);
    check_load(NULL, source, NULL, source, false);
    root_remove_tree(root_path("pulled"));
    lode_close(lode);
}

static void include_and_exclude(void **state)
{
    struct lode *lode = root_open(in_memory);
    struct lode_err err = {0};
    const char *dir = make_model("globs", 3);
    const char *include[] = {"*.json", "sub/**"}, *exclude[] = {"**/*.none", "config*"},
               *nothing[] = {"*.zip"};
    struct lode_pull_options o = {.include = include, .n_include = 2};
    size_t files;
    root_ok(root_push(lode, "m", dir, "a", NULL, &err), &err);
    root_ok(lode_pull(lode, "m", root_path("globbed"), &o, NULL, NULL, &err), &err);
    root_tree_bytes(root_path("globbed"), &files);
    assert_int_equal(files, 2);
    o = (struct lode_pull_options){.exclude = exclude, .n_exclude = 2};
    root_remove_tree(root_path("globbed"));
    root_ok(lode_pull(lode, "m", root_path("globbed"), &o, NULL, NULL, &err), &err);
    root_tree_bytes(root_path("globbed"), &files);
    assert_int_equal(files, 4);
    o = (struct lode_pull_options){.include = nothing, .n_include = 1};
    root_refused(lode_pull(lode, "m", root_path("globbed"), &o, NULL, NULL, &err), LODE_NOT_FOUND,
                 &err, "none of the 5");
    root_remove_tree(root_path("globbed"));
    lode_close(lode);
}

static void aliases_and_journal(void **state)
{
    struct lode *lode = root_open(in_memory);
    struct lode_err err = {0};
    struct lode_journal_entry e = {0};
    struct lode_call why = {.why = "better"};
    struct lode_version v = {0};
    struct lode_watch *watch = NULL;
    root_fill(root_path("one"), 1000, 4);
    root_fill(root_path("two"), 1000, 5);
    root_ok(root_push(lode, "m", root_path("one"), "v1", NULL, &err), &err);
    root_ok(root_push(lode, "m", root_path("two"), "v2", NULL, &err), &err);
    root_ok(lode_watch_open(lode, "m", NULL, &watch, &err), &err);

    root_ok(lode_alias_set(lode, "m@v1", "prod", NULL, NULL, &err), &err);
    root_refused(lode_rollback(lode, "m", "prod", NULL, NULL, &err), LODE_NOT_FOUND, &err,
                 "nothing");
    root_ok(lode_alias_set(lode, "m@2", "prod", &why, &e, &err), &err);
    assert_string_equal(e.from, "v1");
    assert_string_equal(e.to, "v2");
    assert_string_equal(e.why, "better");
    int64_t moved = e.when_ms;
    lode_journal_entry_release(&e);

    root_ok(lode_watch_next(watch, 5000, &e, &err), &err);
    assert_string_equal(e.to, "v1");
    lode_journal_entry_release(&e);
    root_ok(lode_watch_next(watch, 5000, &e, &err), &err);
    assert_string_equal(e.to, "v2");
    lode_journal_entry_release(&e);
    root_refused(lode_watch_next(watch, 20, &e, &err), LODE_TIMEOUT, &err, NULL);
    lode_watch_wake(watch);
    root_refused(lode_watch_next(watch, -1, &e, &err), LODE_CANCELLED, &err, NULL);
    lode_watch_close(watch);

    root_ok(lode_rollback(lode, "m", "prod", NULL, &e, &err), &err);
    assert_string_equal(e.to, "v1");
    lode_journal_entry_release(&e);
    root_ok(lode_show(lode, "m@prod", &v, &err), &err);
    assert_string_equal(v.version, "v1");
    lode_version_release(&v);
    root_ok(lode_alias_at(lode, "m", "prod", moved, &e, &err), &err);
    assert_string_equal(e.to, "v2");
    lode_journal_entry_release(&e);

    struct lode_journal log = {0};
    root_ok(lode_log_entries(lode, "m", NULL, 0, NULL, &log, &err), &err);
    assert_int_equal(log.n, 5);
    assert_string_equal(log.items[0].to, "v1");
    lode_journal_release(&log);
    root_ok(lode_alias_remove(lode, "m", "prod", NULL, NULL, &err), &err);
    root_refused(lode_show(lode, "m@prod", &v, &err), LODE_NOT_FOUND, &err, "prod");
    lode_close(lode);
}

static void facts(void **state)
{
    struct lode *lode = root_open(in_memory);
    struct lode_err err = {0};
    struct lode_version v = {0};
    const char *paths[] = {root_path("one")};
    const char *aliases[] = {"canary"};
    struct lode_tag tag = {(char *)"team", (char *)"search"}, gone = {(char *)"team", NULL};
    struct lode_metric metric = {(char *)"auc", 0.5};
    struct lode_push_options o = {.paths = paths,
                                  .n_paths = 1,
                                  .aliases = aliases,
                                  .n_aliases = 1,
                                  .tags = &tag,
                                  .n_tags = 1,
                                  .metrics = &metric,
                                  .n_metrics = 1,
                                  .version = "v1",
                                  .dry_run = true};
    root_fill(root_path("one"), 1000, 4);
    root_ok(lode_push(lode, "m", &o, &v, &err), &err);
    assert_int_equal(v.state, LODE_STAGING);
    assert_int_equal(v.size, 1000);
    lode_version_release(&v);
    root_refused(lode_show(lode, "m", &v, &err), LODE_NOT_FOUND, &err, NULL);
    o.dry_run = false;
    root_ok(lode_push(lode, "m", &o, NULL, &err), &err);
    o.version = "v2";
    o.parent = "m@canary";
    root_ok(lode_push(lode, "m", &o, &v, &err), &err);
    assert_string_equal(v.parent, "m@v1");
    assert_int_equal(v.n_aliases, 1);
    lode_version_release(&v);
    root_ok(lode_tag(lode, "m@v2", &gone, 1, NULL, &v, &err), &err);
    assert_int_equal(v.n_tags, 0);
    lode_version_release(&v);
    metric.value = 0.75;
    root_ok(lode_set_metrics(lode, "m@v2", &metric, 1, NULL, &v, &err), &err);
    assert_true(v.metrics[0].value == 0.75);
    lode_version_release(&v);
    lode_close(lode);
}

static void differences(void **state)
{
    struct lode *lode = root_open(in_memory);
    struct lode_err err = {0};
    char *json = NULL;
    make_model("before", 10);
    const char *after = make_model("after", 10);
    root_safetensors(root_path("after/model.safetensors"), 6, 300000, 10);
    size_t n;
    char *bytes = root_read(root_path("after/model.safetensors"), &n);
    bytes[n - 4 * 1200000 - 5] ^= 1; /* the last byte but a few of t1 */
    root_write(root_path("after/model.safetensors"), bytes, n);
    free(bytes);
    remove(root_path("after/empty"));
    root_write(root_path("after/new"), "x", 1);
    root_ok(root_push(lode, "m", root_path("before"), "a", NULL, &err), &err);
    root_ok(root_push(lode, "m", after, "b", NULL, &err), &err);
    root_ok(lode_diff(lode, "m@a", "m@b", &json, &err), &err);
    json_t *doc = parsed(json);
    assert_false(json_is_true(json_object_get(doc, "same")));
    assert_int_equal(count(doc, "files", "added"), 1);
    assert_int_equal(count(doc, "files", "removed"), 1);
    assert_int_equal(count(doc, "files", "changed"), 1);
    assert_int_equal(count(doc, "tensors", "added"), 1);
    assert_int_equal(count(doc, "tensors", "changed"), 1);
    assert_string_equal(json_string_value(json_array_get(
                            json_object_get(json_object_get(doc, "tensors"), "changed"), 0)),
                        "t1");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(doc, "tensors"), "same")),
                     4);
    json_decref(doc);
    root_ok(lode_diff(lode, "m@a", "m@a", &json, &err), &err);
    doc = parsed(json);
    assert_true(json_is_true(json_object_get(doc, "same")));
    json_decref(doc);
    lode_close(lode);
}

static void removing(void **state)
{
    struct lode *lode = root_open(in_memory);
    struct lode_err err = {0};
    struct lode_version v = {0};
    struct lode_gc_options now = {.grace_ms = 0}, dry = {.grace_ms = 0, .dry_run = true},
                           usual = {.grace_ms = -1};
    char *json = NULL;
    root_fill(root_path("one"), 100000, 4);
    root_fill(root_path("two"), 100000, 5);
    root_ok(root_push(lode, "m", root_path("one"), "v1", NULL, &err), &err);
    root_ok(root_push(lode, "m", root_path("two"), "v2", NULL, &err), &err);
    root_ok(lode_alias_set(lode, "m@v2", "prod", NULL, NULL, &err), &err);
    root_refused(lode_remove(lode, "m@v2", false, NULL, NULL, &err), LODE_HELD, &err, "prod");
    root_refused(lode_remove(lode, "m@v2", true, NULL, NULL, &err), LODE_HELD, &err, "prod");
    root_ok(lode_remove(lode, "m@v1", true, NULL, &v, &err), &err);
    lode_version_release(&v);
    root_ok(lode_show(lode, "m@v1", &v, &err), &err);
    lode_version_release(&v);
    root_ok(lode_remove(lode, "m@v1", false, NULL, NULL, &err), &err);
    root_refused(lode_show(lode, "m@v1", &v, &err), LODE_NOT_FOUND, &err, "v1");

    root_ok(lode_gc(lode, &usual, &json, &err), &err);
    json_t *doc = parsed(json);
    assert_int_equal(count(doc, "freed", NULL), 0);
    json_decref(doc);
    root_ok(lode_restore(lode, "m@v1", NULL, NULL, &err), &err);
    check_cat(lode, "m@v1/one", root_path("one"), 0, 0);
    root_ok(lode_remove(lode, "m@v1", false, NULL, NULL, &err), &err);

    root_ok(lode_gc(lode, &dry, &json, &err), &err);
    doc = parsed(json);
    assert_int_equal(count(doc, "freed", NULL), 1);
    assert_true(json_integer_value(json_object_get(doc, "bytes")) > 100000);
    json_decref(doc);
    root_ok(lode_gc(lode, &now, &json, &err), &err);
    doc = parsed(json);
    assert_int_equal(count(doc, "freed", NULL), 1);
    assert_true(json_integer_value(json_object_get(doc, "bytes")) > 100000);
    assert_int_equal(count(doc, "foreign", NULL), 0);
    json_decref(doc);
    assert_true(lode_restore(lode, "m@v1", NULL, NULL, &err) < 0);
    root_refused(root_push(lode, "m", root_path("one"), "v1", NULL, &err), LODE_EXISTS, &err, "v1");
    root_ok(lode_verify(lode, NULL, NULL, &json, &err), &err);
    doc = parsed(json);
    assert_true(json_is_true(json_object_get(doc, "clean")));
    assert_int_equal(json_integer_value(json_object_get(doc, "versions")), 1);
    json_decref(doc);
    lode_close(lode);
}

static void health(void **state)
{
    struct lode *lode = root_open(in_memory);
    struct lode_err err = {0};
    char *json = NULL;
    root_ok(lode_doctor(lode, &json, &err), &err);
    json_t *doc = parsed(json);
    if (!json_is_true(json_object_get(doc, "ok")))
        print_error("%s\n", json_dumps(doc, 0));
    assert_true(json_is_true(json_object_get(doc, "ok")));
    json_decref(doc);
    root_ok(lode_root_json(lode, &json, &err), &err);
    doc = parsed(json);
    assert_string_equal(json_string_value(json_object_get(doc, "state")), "open");
    json_decref(doc);
    lode_close(lode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push_and_find),
        cmocka_unit_test(read_every_way),
        cmocka_unit_test(include_and_exclude),
        cmocka_unit_test(aliases_and_journal),
        cmocka_unit_test(facts),
        cmocka_unit_test(differences),
        cmocka_unit_test(removing),
        cmocka_unit_test(health),
    };
    root_scratch();
    int failed = cmocka_run_group_tests_name("embedded", tests, NULL, NULL);
    in_memory = true;
    return failed + cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
