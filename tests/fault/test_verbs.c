/* push, rm, gc and promote on an embedded root, with every fallible call failing in turn,
 * allocations included, and with the power cut after them.
 *
 * Oracle, for each: what was acknowledged is so; a reader sees a version whole or not at all; what
 * was committed before is untouched; `verify` is clean; what could not be done can be done again;
 * and once every lease and grace is over, gc brings the disk back to what is live. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <ftw.h>
#include <lode/lode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "support/fault_walk.h"

#define BIG 300000

static char top[64], root[80], source[80];

/* ---- the root ---- */

lode_printf(1, 2) static void shell(const char *fmt, ...)
{
    char cmd[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, args);
    va_end(args);
    if (system(cmd) != 0)
        fail_msg("%s", cmd);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *name, size_t len, unsigned seed)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", source, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < len; i++)
        fputc((int)(i * seed + (i >> 8)), f);
    assert_int_equal(fclose(f), 0);
}

static struct lode *open_root(void)
{
    struct lode_open_options o = {.url = root};
    struct lode *lode;
    struct lode_err err = {0};
    if (lode_open(&o, &lode, &err) < 0)
        fail_msg("the root does not open any more: %s", err.text);
    return lode;
}

static int push(struct lode *lode, const char *version, struct lode_err *err)
{
    const char *paths[] = {source};
    struct lode_push_options o = {.paths = paths, .n_paths = 1, .version = version};
    struct lode_version v;
    int r = lode_push(lode, "m", &o, &v, err);
    if (r == 0)
        lode_version_release(&v);
    return r;
}

static void must_push(const char *version)
{
    struct lode *lode = open_root();
    struct lode_err err = {0};
    if (push(lode, version, &err) < 0)
        fail_msg("push of %s: %s", version, err.text);
    lode_close(lode);
}

static int set_prod(struct lode *lode, const char *ref, struct lode_err *err)
{
    struct lode_journal_entry e;
    int r = lode_alias_set(lode, ref, "prod", NULL, &e, err);
    if (r == 0)
        lode_journal_entry_release(&e);
    return r;
}

static int remove_version(struct lode *lode, const char *ref, struct lode_err *err)
{
    struct lode_version v;
    int r = lode_remove(lode, ref, false, NULL, &v, err);
    if (r == 0)
        lode_version_release(&v);
    return r;
}

static int collect(struct lode *lode, struct lode_err *err)
{
    struct lode_gc_options o = {.grace_ms = 0};
    char *json;
    int r = lode_gc(lode, &o, &json, err);
    if (r == 0)
        lode_string_free(json);
    return r;
}

/* A root with v1 under prod, and v0. */
static void prepare(void *arg)
{
    struct lode_open_options o = {.url = root};
    struct lode_err err = {0};
    remove_tree(root);
    mkdir(source, 0755);
    write_file("weights.bin", BIG, 31);
    write_file("note.txt", 100, 7);
    write_file("empty", 0, 1);
    if (lode_init(&o, &err) < 0)
        fail_msg("init: %s", err.text);
    must_push("v0");
    must_push("v1");
    struct lode *lode = open_root();
    assert_int_equal(set_prod(lode, "m@v1", &err), 0);
    lode_close(lode);
}

/* ---- looking ---- */

static bool is_committed(struct lode *lode, const char *ref)
{
    struct lode_version v;
    struct lode_err err = {0};
    int r = lode_show(lode, ref, &v, &err);
    if (r == LODE_NOT_FOUND)
        return false;
    if (r < 0)
        fail_msg("show %s: %s", ref, err.text);
    bool committed = v.state == LODE_COMMITTED;
    lode_version_release(&v);
    return committed;
}

static const char *const files[] = {"weights.bin", "note.txt", "empty"};

static size_t read_whole(const char *dir, const char *name, char *room)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is missing", path);
    size_t n = fread(room, 1, BIG + 1, f);
    fclose(f);
    return n;
}

static void check_same(const char *dir, const char *name)
{
    static char a[BIG + 1], b[BIG + 1];
    size_t n = read_whole(dir, name, a);
    assert_int_equal(read_whole(source, name, b), n);
    assert_memory_equal(a, b, n);
}

/* Pulls a version and compares its bytes. */
static void check_whole(struct lode *lode, const char *ref)
{
    char dest[96], *path;
    struct lode_err err = {0};
    snprintf(dest, sizeof dest, "%s/pulled", top);
    remove_tree(dest);
    if (lode_pull(lode, ref, dest, NULL, &path, NULL, &err) < 0)
        fail_msg("pull %s: %s", ref, err.text);
    lode_string_free(path);
    for (size_t i = 0; i < LODE_ARRAY_LEN(files); i++)
        check_same(dest, files[i]);
}

static void check_clean(struct lode *lode)
{
    char *json;
    struct lode_err err = {0};
    if (lode_verify(lode, NULL, NULL, &json, &err) < 0)
        fail_msg("verify: %s", err.text);
    json_t *doc = json_loads(json, 0, NULL);
    if (!json_is_true(json_object_get(doc, "clean")))
        fail_msg("verify is not clean: %s", json);
    json_decref(doc);
    lode_string_free(json);
}

/* No file lies in the store but the live versions' and the root's own record. */
static void check_disk(const char *versions)
{
    shell("cd %s/models && left=$(find . -type f | grep -vE "
          "'^\\./(m/(%s)|_lode)/'); "
          "test -z \"$left\" || { echo left over: $left >&2; false; }",
          root, versions);
}

/* Every lease and grace over: gc frees what is dead, twice over changes nothing. */
static void check_gc(struct lode *lode, const char *versions)
{
    struct lode_err err = {0};
    fault_advance_clocks(2 * 24 * 3600);
    for (int i = 0; i < 2; i++) {
        if (collect(lode, &err) < 0)
            fail_msg("gc: %s", err.text);
    }
    check_disk(versions);
    check_clean(lode);
}

/* ---- push ---- */

static int run_push(void *arg, struct lode_err *err)
{
    struct lode_open_options o = {.url = root};
    struct lode *lode;
    int r = lode_open(&o, &lode, err);
    if (r < 0)
        return r;
    r = push(lode, "v2", err);
    lode_close(lode);
    return r;
}

static void check_push(void *arg, const struct fault_shot *shot, int result,
                       const struct lode_err *run_err)
{
    struct lode *lode = open_root();
    struct lode_err err = {0};
    bool committed = is_committed(lode, "m@v2");
    if (result == 0)
        assert_true(committed);
    if (committed)
        check_whole(lode, "m@v2");
    check_whole(lode, "m@v1");
    check_clean(lode);
    fault_advance_clocks(60); /* the lost claim's lease */
    if (!committed && push(lode, "v2", &err) < 0)
        fail_msg("it cannot be pushed again: %s", err.text);
    check_whole(lode, "m@v2");
    check_gc(lode, "v0|v1|v2");
    lode_close(lode);
}

/* ---- rm ---- */

static int run_rm(void *arg, struct lode_err *err)
{
    struct lode_open_options o = {.url = root};
    struct lode *lode;
    int r = lode_open(&o, &lode, err);
    if (r < 0)
        return r;
    r = remove_version(lode, "m@v0", err);
    lode_close(lode);
    return r;
}

static void check_rm(void *arg, const struct fault_shot *shot, int result,
                     const struct lode_err *run_err)
{
    struct lode *lode = open_root();
    bool there = is_committed(lode, "m@v0");
    if (result == 0)
        assert_false(there);
    if (there)
        check_whole(lode, "m@v0");
    check_whole(lode, "m@v1");
    check_clean(lode);
    check_gc(lode, there ? "v0|v1" : "v1");
    check_whole(lode, "m@v1");
    lode_close(lode);
}

/* ---- gc ---- */

static void prepare_gc(void *arg)
{
    struct lode_err err = {0};
    prepare(arg);
    struct lode *lode = open_root();
    assert_int_equal(remove_version(lode, "m@v0", &err), 0);
    lode_close(lode);
    fault_advance_clocks(2 * 24 * 3600);
}

static int run_gc(void *arg, struct lode_err *err)
{
    struct lode_open_options o = {.url = root};
    struct lode *lode;
    int r = lode_open(&o, &lode, err);
    if (r < 0)
        return r;
    r = collect(lode, err);
    lode_close(lode);
    return r;
}

static void check_gc_done(void *arg, const struct fault_shot *shot, int result,
                          const struct lode_err *run_err)
{
    struct lode *lode = open_root();
    if (result == 0 && !shot->nth)
        check_disk("v1");
    assert_false(is_committed(lode, "m@v0"));
    check_whole(lode, "m@v1");
    check_gc(lode, "v1");
    check_whole(lode, "m@v1");
    lode_close(lode);
}

/* ---- promote ---- */

static int run_promote(void *arg, struct lode_err *err)
{
    struct lode_open_options o = {.url = root};
    struct lode *lode;
    int r = lode_open(&o, &lode, err);
    if (r < 0)
        return r;
    r = set_prod(lode, "m@v0", err);
    lode_close(lode);
    return r;
}

static void check_promote(void *arg, const struct fault_shot *shot, int result,
                          const struct lode_err *run_err)
{
    struct lode *lode = open_root();
    struct lode_version v;
    struct lode_journal log;
    struct lode_err err = {0};
    assert_int_equal(lode_show(lode, "m@prod", &v, &err), 0);
    bool moved = strcmp(v.version, "v0") == 0;
    assert_true(moved || strcmp(v.version, "v1") == 0);
    if (result == 0)
        assert_true(moved);
    lode_version_release(&v);
    assert_int_equal(lode_log_entries(lode, "m", "prod", 10, NULL, &log, &err), 0);
    assert_int_equal(log.n, moved ? 2 : 1); /* a move and its entry are one */
    lode_journal_release(&log);
    if (set_prod(lode, "m@v0", &err) < 0)
        fail_msg("it cannot be promoted again: %s", err.text);
    check_clean(lode);
    lode_close(lode);
}

/* ---- the walks ---- */

static const uint32_t durable_kinds = 1u << FAULT_SYNC | 1u << FAULT_RENAME | 1u << FAULT_LINK;

static void walk(const char *name, void (*prepare_fn)(void *),
                 int (*run)(void *, struct lode_err *),
                 void (*check)(void *, const struct fault_shot *, int, const struct lode_err *))
{
    struct fault_scenario s = {.name = name, .prepare = prepare_fn, .run = run, .check = check};
    fault_walk(&s);
    s.kinds = durable_kinds;
    s.power_cut = true;
    s.track = root;
    fault_walk(&s);
    fault_kill_walk(&s, 10, 1000);
}

static void push_under_faults(void **state)
{
    walk("push", prepare, run_push, check_push);
}

static void rm_under_faults(void **state)
{
    walk("rm", prepare, run_rm, check_rm);
}

static void gc_under_faults(void **state)
{
    walk("gc", prepare_gc, run_gc, check_gc_done);
}

static void promote_under_faults(void **state)
{
    walk("promote", prepare, run_promote, check_promote);
}

static int remove_top(void **state)
{
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf %s", top);
    return system(cmd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push_under_faults), cmocka_unit_test(rm_under_faults),
        cmocka_unit_test(gc_under_faults), cmocka_unit_test(promote_under_faults)};
    snprintf(top, sizeof top, "/tmp/lode-fault-verbs-XXXXXX");
    if (!mkdtemp(top))
        return 1;
    snprintf(root, sizeof root, "%s/root", top);
    snprintf(source, sizeof source, "%s/src", top);
    char cache[80];
    snprintf(cache, sizeof cache, "%s/cache", top);
    setenv("LODE_CACHE", cache, 1);
    setenv("HOME", top, 1);
    unsetenv("LODE_URL");
    return cmocka_run_group_tests(tests, NULL, remove_top);
}
