/* SIGKILL at random moments of push, rm, gc and promote. Whatever the moment: every version that
 * was acknowledged is there and whole, no reader ever sees a part of one, `verify` is clean, and gc
 * brings the disk back to what is live.
 *
 * A child does the verb over and over and acknowledges each success through a pipe; the parent
 * kills it after a random time that the seed determines. 50 kills a verb, 1,000 with
 * LODE_TEST_LONG=1; LODE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "catalog/direct_config.h"
#include "registry/handle.h"
#include "support/root.h"

#define SIZE 6000000u /* bytes of a version: two parts, and a small file */
#define TTL_MS 300    /* of claims: dead ones end soon */
#define LIVE 3        /* versions that stay */

static char root[256];
static uint64_t seed;

static unsigned rounds(void)
{
    const char *text = getenv("LODE_TEST_LONG");
    return text && strcmp(text, "1") == 0 ? 1000 : 50;
}

static unsigned below(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static struct lode *open_root(void)
{
    struct lode *lode = root_reopen(root);
    lode_catalog_direct_set_ttl(lode->catalog, TTL_MS);
    return lode;
}

/* What a child does until it is killed; each success is told through `ack`. */
typedef void verb(struct lode *lode, unsigned round, int ack);

static void tell(int ack, const char *what)
{
    char line[64] = {0};
    snprintf(line, sizeof line, "%s", what);
    if (write(ack, line, sizeof line) != sizeof line)
        _exit(3);
}

static void fail_child(int r, const struct lode_err *err)
{
    fprintf(stderr, "child: %s: %s\n", lode_code_name(r), err->text);
    _exit(2);
}

static void push_forever(struct lode *lode, unsigned round, int ack)
{
    for (unsigned i = 0;; i++) {
        struct lode_err err = {0};
        char name[64];
        snprintf(name, sizeof name, "k%u-%u", round, i);
        int r = root_push(lode, "m", root_path("in"), name, NULL, &err);
        if (r < 0)
            fail_child(r, &err);
        tell(ack, name);
    }
}

static void promote_forever(struct lode *lode, unsigned round, int ack)
{
    for (unsigned i = 0;; i++) {
        struct lode_err err = {0};
        int r = lode_alias_set(lode, i % 2 ? "m@live-0" : "m@live-1", "prod", NULL, NULL, &err);
        if (r < 0)
            fail_child(r, &err);
    }
}

/* Makes small versions and removes them; `rm` is what is hit most. */
static void remove_forever(struct lode *lode, unsigned round, int ack)
{
    for (unsigned i = 0;; i++) {
        struct lode_err err = {0};
        char name[64], ref[80];
        snprintf(name, sizeof name, "r%u-%u", round, i);
        snprintf(ref, sizeof ref, "m@%s", name);
        int r = root_push(lode, "m", root_path("in/small"), name, NULL, &err);
        if (r == 0)
            r = lode_remove(lode, ref, false, NULL, NULL, &err);
        if (r < 0)
            fail_child(r, &err);
    }
}

static void collect_forever(struct lode *lode, unsigned round, int ack)
{
    for (unsigned i = 0;; i++) {
        struct lode_err err = {0};
        struct lode_gc_options now = {0};
        char name[64], ref[80], *json = NULL;
        snprintf(name, sizeof name, "g%u-%u", round, i);
        snprintf(ref, sizeof ref, "m@%s", name);
        int r = root_push(lode, "m", root_path("in/small"), name, NULL, &err);
        if (r == 0)
            r = lode_remove(lode, ref, false, NULL, NULL, &err);
        for (int k = 0; r == 0 && k < 3; k++) {
            r = lode_gc(lode, &now, &json, &err);
            lode_string_free(json);
        }
        if (r < 0)
            fail_child(r, &err);
    }
}

/* Starts a child, kills it, and reads what it acknowledged: each such version must be there. */
static void kill_one(verb *fn, unsigned round, unsigned longest_us)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        struct lode *lode = open_root();
        tell(ends[1], "");
        fn(lode, round, ends[1]);
    }
    close(ends[1]);
    char line[64];
    assert_int_equal(read(ends[0], line, sizeof line), sizeof line); /* it has opened the root */
    usleep(below(longest_us));
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    struct lode *lode = open_root();
    while (read(ends[0], line, sizeof line) == sizeof line) {
        struct lode_err err = {0};
        struct lode_version v = {0};
        char ref[80];
        snprintf(ref, sizeof ref, "m@%s", line);
        root_ok(lode_show(lode, ref, &v, &err), &err);
        lode_version_release(&v);
    }
    close(ends[0]);
    lode_close(lode);
}

static json_t *verified(struct lode *lode)
{
    struct lode_err err = {0};
    char *text = NULL;
    root_ok(lode_verify(lode, NULL, NULL, &text, &err), &err);
    json_t *doc = json_loads(text, 0, NULL);
    if (!json_is_true(json_object_get(doc, "clean")))
        print_error("seed %llu: %s\n", (unsigned long long)seed, text);
    assert_true(json_is_true(json_object_get(doc, "clean")));
    lode_string_free(text);
    return doc;
}

/* Removes what is not live, frees it, and looks at the disk. */
static void back_to_live(void)
{
    struct lode_err err = {0};
    struct lode_gc_options now = {0};
    struct lode_list_options all = {.limit = 1000};
    struct lode_versions list = {0};
    char *text = NULL;
    size_t files;
    usleep((TTL_MS + 200) * 1000); /* the claims of the dead end */
    struct lode *lode = open_root();
    json_decref(verified(lode));
    do {
        lode_versions_release(&list);
        root_ok(lode_ls_versions(lode, "m", &all, &list, &err), &err);
        for (size_t i = 0; i < list.n; i++) {
            char ref[300];
            snprintf(ref, sizeof ref, "m@%s", list.items[i].version);
            if (strncmp(list.items[i].version, "live-", 5) != 0)
                root_ok(lode_remove(lode, ref, false, NULL, NULL, &err), &err);
        }
    } while (list.n > LIVE);
    lode_versions_release(&list);
    root_ok(lode_gc(lode, &now, &text, &err), &err);
    json_t *doc = json_loads(text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(doc, "foreign")), 0);
    json_decref(doc);
    lode_string_free(text);
    doc = verified(lode);
    assert_int_equal(json_integer_value(json_object_get(doc, "versions")), LIVE);
    json_decref(doc);
    lode_close(lode);
    const char *models = root_path("%s/models", root + strlen(root_scratch()) + 1);
    uint64_t bytes = root_tree_bytes(models, &files);
    assert_int_equal(files, LIVE * 3 + 1);
    assert_in_range(bytes, LIVE * SIZE, LIVE * (SIZE + 5000));
}

static int setup(void **state)
{
    static unsigned number;
    struct lode_err err = {0};
    snprintf(root, sizeof root, "%s/killroot%u", root_scratch(), number++);
    root_fill(root_path("in/big"), SIZE - 1000, 5);
    root_fill(root_path("in/small"), 1000, 6);
    struct lode *lode = open_root();
    for (unsigned i = 0; i < LIVE; i++) {
        char name[16];
        snprintf(name, sizeof name, "live-%u", i);
        root_ok(root_push(lode, "m", root_path("in"), name, NULL, &err), &err);
    }
    lode_close(lode);
    return 0;
}

static void kill_many(verb *fn, unsigned longest_us)
{
    print_message("seed %llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < rounds(); i++) {
        kill_one(fn, i, longest_us);
        if (i % 100 == 99)
            back_to_live();
    }
    back_to_live();
}

static void in_push(void **state)
{
    kill_many(push_forever, 40000);
}

static void in_promote(void **state)
{
    kill_many(promote_forever, 10000);
}

static void in_remove(void **state)
{
    kill_many(remove_forever, 20000);
}

static void in_gc(void **state)
{
    kill_many(collect_forever, 30000);
}

int main(void)
{
    const char *given = getenv("LODE_TEST_SEED");
    seed = given && *given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(in_push, setup),
        cmocka_unit_test_setup(in_promote, setup),
        cmocka_unit_test_setup(in_remove, setup),
        cmocka_unit_test_setup(in_gc, setup),
    };
    root_scratch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
