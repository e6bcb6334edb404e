/* Reading what was damaged, going on with what was interrupted, and leaving alone what is not ours:
 * pull, cat, load and verify over stores whose bytes were changed behind Lode's back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "support/root.h"

#define SIZE 9000001u /* bytes: nine blocks, the last one short */

static struct lode *lode;
static char root[256];

/* A root with m@v1 = {big, model.safetensors, sub/small}. */
static int setup(void **state)
{
    static unsigned number;
    struct lode_err err = {0};
    snprintf(root, sizeof root, "%s/pullroot%u", root_scratch(), number++);
    root_remove_tree(root_path("src"));
    root_remove_tree(root_path("dest"));
    root_fill(root_path("src/big"), SIZE, 7);
    root_safetensors(root_path("src/model.safetensors"), 3, 700000, 8);
    root_write(root_path("src/sub/small"), "hello", 5);
    lode = root_reopen(root);
    root_ok(root_push(lode, "m", root_path("src"), "v1", NULL, &err), &err);
    return 0;
}

static int teardown(void **state)
{
    lode_close(lode);
    return 0;
}

static const char *stored(const char *file)
{
    return root_path("%s/models/m/v1/%s", root + strlen(root_scratch()) + 1, file);
}

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    char c;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 4;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static int drop(void *arg, const void *data, size_t len)
{
    *(uint64_t *)arg += len;
    return 0;
}

static json_t *verify(const char *ref)
{
    struct lode_err err = {0};
    char *text = NULL;
    root_ok(lode_verify(lode, ref, NULL, &text, &err), &err);
    json_t *doc = json_loads(text, 0, NULL);
    assert_non_null(doc);
    lode_string_free(text);
    return doc;
}

static bool has_part_files(const char *dir)
{
    DIR *d = opendir(dir);
    bool found = false;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        found |= strncmp(e->d_name, ".lode-part", 10) == 0;
    closedir(d);
    return found;
}

static void flipped_bits(void **state)
{
    struct lode_err err = {0};
    uint64_t got = 0;
    flip(stored("big"), 5 * 1048576 + 17);
    root_refused(lode_pull(lode, "m", root_path("dest"), NULL, NULL, NULL, &err), LODE_CORRUPT,
                 &err, "block 5 of 'big'");
    assert_int_equal(access(root_path("dest/big"), F_OK), -1);
    root_refused(lode_cat(lode, "m@v1/big", 0, 0, drop, &got, NULL, &err), LODE_CORRUPT, &err,
                 "block 5");
    assert_true(got <= 5 * 1048576);
    got = 0;
    root_ok(lode_cat(lode, "m@v1/big", 6 * 1048576, 0, drop, &got, NULL, &err), &err);
    json_t *doc = verify(NULL);
    assert_false(json_is_true(json_object_get(doc, "clean")));
    json_t *fault = json_array_get(json_object_get(doc, "faults"), 0);
    assert_string_equal(json_string_value(json_object_get(fault, "path")), "big");
    assert_int_equal(json_integer_value(json_object_get(fault, "block")), 5);
    json_decref(doc);
    /* mended: the pull goes on with what it has */
    flip(stored("big"), 5 * 1048576 + 17);
    root_ok(lode_pull(lode, "m", root_path("dest"), NULL, NULL, NULL, &err), &err);
    assert_true(root_same_tree(root_path("src"), root_path("dest")));
    assert_false(has_part_files(root_path("dest")));
    doc = verify("m@v1");
    assert_true(json_is_true(json_object_get(doc, "clean")));
    json_decref(doc);
}

static void flipped_tensor(void **state)
{
    struct lode_err err = {0};
    struct lode_model *m = NULL;
    const char *first[] = {"t0"};
    struct lode_load_options copy = {.copy = true}, raw = {.no_verify = true},
                             one = {.tensors = first, .n_tensors = 1};
    struct lode_load_stats stats;
    flip(stored("model.safetensors"), 6 * 1048576);
    root_refused(lode_load(lode, "m", NULL, &m, &err), LODE_CORRUPT, &err, "block 6");
    root_refused(lode_load(lode, "m", &copy, &m, &err), LODE_CORRUPT, &err, "block 6");
    root_ok(lode_load(lode, "m", &one, &m, &err), &err);
    lode_model_stats(m, &stats);
    assert_true(stats.verified);
    assert_true(stats.read <= 4 * 1048576);
    lode_model_free(m);
    root_ok(lode_load(lode, "m", &raw, &m, &err), &err);
    lode_model_stats(m, &stats);
    assert_false(stats.verified);
    lode_model_free(m);
}

/* A check is remembered once the file is old enough; a later change of the file is seen all the
 * same. */
static void remembered_and_changed(void **state)
{
    struct lode_err err = {0};
    struct lode_model *m = NULL;
    struct lode_load_stats stats;
    sleep(3);
    for (int i = 0; i < 2; i++) {
        root_ok(lode_load(lode, "m", NULL, &m, &err), &err);
        lode_model_stats(m, &stats);
        assert_true(stats.verified && stats.mapped);
        assert_int_equal(stats.read > 0, i == 0);
        lode_model_free(m);
    }
    /* The times set back to what they were: the ctime tells all the same. */
    struct stat st;
    assert_int_equal(stat(stored("model.safetensors"), &st), 0);
    flip(stored("model.safetensors"), 6 * 1048576);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, stored("model.safetensors"), times, 0), 0);
    root_refused(lode_load(lode, "m", NULL, &m, &err), LODE_CORRUPT, &err, "block 6");
}

static void cut_and_strange(void **state)
{
    struct lode_err err = {0};
    struct lode_model *m = NULL;
    assert_int_equal(truncate(stored("model.safetensors"), 100000), 0);
    assert_true(lode_load(lode, "m", NULL, &m, &err) < 0);
    assert_non_null(strstr(err.text, "model.safetensors"));
    assert_true(lode_pull(lode, "m", root_path("dest"), NULL, NULL, NULL, &err) < 0);
    root_write(stored("stranger"), "x", 1);
    unlink(stored("sub/small"));
    json_t *doc = verify("m");
    assert_int_equal(json_array_size(json_object_get(doc, "faults")), 3);
    json_decref(doc);
    flip(stored("_lode/manifest"), 20);
    doc = verify("m");
    assert_false(json_is_true(json_object_get(doc, "clean")));
    json_decref(doc);
    lode_close(lode); /* manifests are cached by digest: a new handle sees the damage */
    root_remove_tree(root_path("cache"));
    lode = root_reopen(root);
    root_refused(lode_load(lode, "m", NULL, &m, &err), LODE_CORRUPT, &err, NULL);
}

static void part_files_are_checked(void **state)
{
    struct lode_err err = {0};
    /* An interrupted pull, made by hand: the store is damaged at the end, so all before it is
     * brought. */
    flip(stored("big"), SIZE - 1);
    root_refused(lode_pull(lode, "m", root_path("dest"), NULL, NULL, NULL, &err), LODE_CORRUPT,
                 &err, "block 8");
    flip(stored("big"), SIZE - 1);
    assert_true(has_part_files(root_path("dest")));
    DIR *d = opendir(root_path("dest"));
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        const char *part = root_path("dest/%s", e->d_name);
        if (strncmp(e->d_name, ".lode-part", 10) == 0 && stat(part, &st) == 0 && st.st_size > 0)
            flip(part, st.st_size / 2);
    }
    closedir(d);
    root_ok(lode_pull(lode, "m", root_path("dest"), NULL, NULL, NULL, &err), &err);
    assert_true(root_same_tree(root_path("src"), root_path("dest")));
}

static void others_files(void **state)
{
    struct lode_err err = {0};
    struct lode_pull_options force = {.force = true};
    root_write(root_path("dest/big"), "mine", 4);
    root_refused(lode_pull(lode, "m", root_path("dest"), NULL, NULL, NULL, &err), LODE_EXISTS, &err,
                 "'big'");
    assert_int_equal(access(root_path("dest/sub/small"), F_OK), -1);
    root_ok(lode_pull(lode, "m", root_path("dest"), &force, NULL, NULL, &err), &err);
    assert_true(root_same_tree(root_path("src"), root_path("dest")));
    flip(root_path("dest/big"), 100); /* the same size, another content */
    root_refused(lode_pull(lode, "m", root_path("dest"), NULL, NULL, NULL, &err), LODE_EXISTS, &err,
                 "'big'");
    root_ok(lode_pull(lode, "m", root_path("dest"), &force, NULL, NULL, &err), &err);
    assert_true(root_same_tree(root_path("src"), root_path("dest")));
}

static void links_are_not_followed(void **state)
{
    struct lode_err err = {0};
    struct lode_pull_options force = {.force = true};
    mkdir(root_path("elsewhere"), 0777);
    mkdir(root_path("dest"), 0777);
    assert_int_equal(symlink(root_path("elsewhere"), root_path("dest/sub")), 0);
    assert_true(lode_pull(lode, "m", root_path("dest"), &force, NULL, NULL, &err) < 0);
    assert_non_null(strstr(err.text, "sub"));
    assert_int_equal(access(root_path("elsewhere/small"), F_OK), -1);
}

static int stop_at_once(void *arg)
{
    return ++*(int *)arg > 1;
}

static void stopped(void **state)
{
    struct lode_err err = {0};
    int calls = 1;
    struct lode_call call = {.cancelled = stop_at_once, .arg = &calls};
    struct lode_pull_options o = {.call = &call};
    struct lode_load_options load = {.call = &call, .copy = true};
    struct lode_model *m = NULL;
    uint64_t got = 0;
    root_refused(lode_pull(lode, "m", root_path("dest"), &o, NULL, NULL, &err), LODE_CANCELLED,
                 &err, "stopped");
    root_refused(lode_load(lode, "m", &load, &m, &err), LODE_CANCELLED, &err, "stopped");
    root_refused(lode_cat(lode, "m@v1/big", 0, 0, drop, &got, &call, &err), LODE_CANCELLED, &err,
                 "stopped");
    char *json = NULL;
    root_refused(lode_verify(lode, NULL, &call, &json, &err), LODE_CANCELLED, &err, "stopped");
    root_ok(lode_pull(lode, "m", root_path("dest"), NULL, NULL, NULL, &err), &err);
    assert_true(root_same_tree(root_path("src"), root_path("dest")));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(flipped_bits),           CASE(flipped_tensor),
                                       CASE(remembered_and_changed), CASE(cut_and_strange),
                                       CASE(part_files_are_checked), CASE(others_files),
                                       CASE(links_are_not_followed), CASE(stopped)};
    root_scratch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
