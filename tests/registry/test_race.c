/* Many processes at one root: of those that push one version one wins and the others lose nothing;
 * those that push different ones all land, also while gc runs; promotes are all in the journal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/root.h"

#define PROCESSES 16

static char root[256];

static int setup(void **state)
{
    static unsigned number;
    snprintf(root, sizeof root, "%s/raceroot%u", root_scratch(), number++);
    root_remove_tree(root_path("in"));
    for (unsigned i = 0; i < PROCESSES; i++)
        root_fill(root_path("in/%u/data", i), 300000, i);
    lode_close(root_reopen(root));
    return 0;
}

typedef int body(unsigned i);

/* Runs the body in so many processes; counts their exit statuses. */
static void run(body *fn, unsigned n, unsigned counts[256])
{
    pid_t children[PROCESSES + 1];
    memset(counts, 0, 256 * sizeof *counts);
    for (unsigned i = 0; i < n; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0)
            _exit(fn(i));
    }
    for (unsigned i = 0; i < n; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        counts[WEXITSTATUS(status)]++;
    }
}

static int told(int r, const struct lode_err *err)
{
    if (r < 0 && r != LODE_EXISTS)
        fprintf(stderr, "%d: %s: %s\n", getpid(), lode_code_name(r), err->text);
    return -r;
}

static int push_same(unsigned i)
{
    struct lode_err err = {0};
    struct lode *lode = root_reopen(root);
    int r = root_push(lode, "m", root_path("in/%u", i), "v1", NULL, &err);
    lode_close(lode);
    return told(r, &err);
}

static int push_own(unsigned i)
{
    struct lode_err err = {0};
    struct lode *lode = root_reopen(root);
    struct lode_gc_options now = {0};
    int r = 0;
    if (i == PROCESSES) { /* the seventeenth only collects */
        for (int k = 0; r == 0 && k < 30; k++) {
            char *json = NULL;
            r = lode_gc(lode, &now, &json, &err);
            lode_string_free(json);
            usleep(10000);
        }
    } else {
        char name[16];
        snprintf(name, sizeof name, "v-%u", i);
        r = root_push(lode, "m", root_path("in/%u", i), i % 2 ? name : NULL, NULL, &err);
    }
    lode_close(lode);
    return told(r, &err);
}

static void check_clean(struct lode *lode, unsigned versions)
{
    struct lode_err err = {0};
    struct lode_gc_options now = {0};
    char *text = NULL;
    root_ok(lode_gc(lode, &now, &text, &err), &err);
    json_t *doc = json_loads(text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(doc, "foreign")), 0);
    json_decref(doc);
    lode_string_free(text);
    root_ok(lode_verify(lode, NULL, NULL, &text, &err), &err);
    doc = json_loads(text, 0, NULL);
    assert_true(json_is_true(json_object_get(doc, "clean")));
    assert_int_equal(json_integer_value(json_object_get(doc, "versions")), versions);
    json_decref(doc);
    lode_string_free(text);
    uint64_t bytes =
        root_tree_bytes(root_path("%s/models", root + strlen(root_scratch()) + 1), NULL);
    assert_in_range(bytes, versions * 300000, versions * 310000);
}

static void one_wins(void **state)
{
    unsigned counts[256];
    run(push_same, PROCESSES, counts);
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[-LODE_EXISTS], PROCESSES - 1);
    struct lode *lode = root_reopen(root);
    check_clean(lode, 1);
    lode_close(lode);
}

static void all_land(void **state)
{
    unsigned counts[256];
    struct lode_err err = {0};
    struct lode_journal log = {0};
    run(push_own, PROCESSES + 1, counts);
    assert_int_equal(counts[0], PROCESSES + 1);
    struct lode *lode = root_reopen(root);
    check_clean(lode, PROCESSES);
    root_ok(lode_log_entries(lode, "m", NULL, 100, NULL, &log, &err), &err);
    assert_int_equal(log.n, PROCESSES);
    for (size_t i = 0; i < log.n; i++)
        assert_int_equal(log.items[i].number, PROCESSES - i);
    lode_journal_release(&log);
    lode_close(lode);
}

static int promote(unsigned i)
{
    struct lode_err err = {0};
    struct lode *lode = root_reopen(root);
    int r = 0;
    for (int k = 0; r == 0 && k < 5; k++)
        r = lode_alias_set(lode, (i + (unsigned)k) % 2 ? "m@v1" : "m@v2", "prod", NULL, NULL, &err);
    lode_close(lode);
    return told(r, &err);
}

static void promotes_follow_each_other(void **state)
{
    unsigned counts[256];
    struct lode_err err = {0};
    struct lode_journal log = {0};
    struct lode *lode = root_reopen(root);
    root_ok(root_push(lode, "m", root_path("in/1"), "v1", NULL, &err), &err);
    root_ok(root_push(lode, "m", root_path("in/2"), "v2", NULL, &err), &err);
    run(promote, PROCESSES, counts);
    assert_int_equal(counts[0], PROCESSES);
    root_ok(lode_log_entries(lode, "m", "prod", 1000, NULL, &log, &err), &err);
    for (size_t i = 0; i + 1 < log.n; i++) {
        assert_string_equal(log.items[i].from, log.items[i + 1].to);
        assert_true(log.items[i].when_ms > log.items[i + 1].when_ms);
    }
    lode_journal_release(&log);
    lode_close(lode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_wins, setup),
        cmocka_unit_test_setup(all_land, setup),
        cmocka_unit_test_setup(promotes_follow_each_other, setup),
    };
    root_scratch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
