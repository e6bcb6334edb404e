/* Backup of a root while others write, and what recover does and refuses. */
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
#include <unistd.h>
#include "support/root.h"

static json_t *parsed(char *text)
{
    json_t *doc = json_loads(text, 0, NULL);
    assert_non_null(doc);
    lode_string_free(text);
    return doc;
}

static size_t versions(const char *root)
{
    struct lode_err err = {0};
    struct lode_list_options all = {.limit = 1000};
    struct lode_versions list = {0};
    struct lode *lode = root_reopen(root);
    root_ok(lode_ls_versions(lode, "m", &all, &list, &err), &err);
    size_t n = list.n;
    lode_versions_release(&list);
    lode_close(lode);
    return n;
}

static void under_writes(void **state)
{
    struct lode_err err = {0};
    char root[256], *text = NULL;
    snprintf(root, sizeof root, "%s", root_path("busy"));
    root_fill(root_path("in/a"), 100, 1);
    struct lode *lode = root_reopen(root);
    root_ok(root_push(lode, "m", root_path("in"), "first", NULL, &err), &err);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct lode *own = root_reopen(root);
        while (root_push(own, "m", root_path("in"), NULL, NULL, &err) == 0)
            ;
        fprintf(stderr, "writer: %s\n", err.text);
        _exit(1);
    }
    for (int i = 0; i < 5; i++) {
        root_ok(lode_backup(lode, root_path("backup%d", i), &text, &err), &err);
        lode_string_free(text);
        usleep(20000);
    }
    root_refused(lode_backup(lode, root_path("backup1"), &text, &err), LODE_EXISTS, &err,
                 "backup1");
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    lode_close(lode);
    size_t before = versions(root);

    /* The facts as they were: versions pushed since are not known, and are told as foreign,
     * untouched. */
    struct lode_open_options o = {.url = root};
    root_ok(lode_recover(root_path("backup4"), &o, &text, &err), &err);
    json_t *doc = parsed(text);
    size_t known = (size_t)json_integer_value(json_object_get(doc, "versions"));
    assert_int_equal(json_array_size(json_object_get(doc, "missing")), 0);
    assert_true(known >= 1 && known <= before);
    /* one may have been on its way when the backup was made: its directory is known */
    assert_true(json_array_size(json_object_get(doc, "foreign")) + 1 >= before - known);
    assert_true(json_is_string(json_object_get(doc, "before")));
    json_decref(doc);
    assert_int_equal(versions(root), known);
    lode = root_reopen(root);
    root_ok(lode_verify(lode, NULL, NULL, &text, &err), &err);
    doc = parsed(text);
    assert_true(json_is_true(json_object_get(doc, "clean")));
    json_decref(doc);
    root_ok(root_push(lode, "m", root_path("in"), "after", NULL, &err), &err);
    lode_close(lode);
}

static void refused(void **state)
{
    struct lode_err err = {0};
    char *text = NULL;
    struct lode *a = root_reopen(root_path("a")), *b = root_reopen(root_path("b"));
    root_ok(root_push(b, "m", root_path("in"), "v1", NULL, &err), &err);
    root_ok(lode_backup(a, root_path("of-a"), &text, &err), &err);
    lode_string_free(text);
    lode_close(a);
    lode_close(b);
    struct lode_open_options o = {.url = root_path("b")};
    assert_true(lode_recover(root_path("of-a"), &o, &text, &err) < 0); /* another root's */
    assert_int_not_equal(*err.text, 0);
    assert_int_equal(versions(root_path("b")), 1);
    root_write(root_path("garbage"), "this is no database at all, but it is long enough to look at",
               60);
    assert_true(lode_recover(root_path("garbage"), &o, &text, &err) < 0);
    assert_int_equal(versions(root_path("b")), 1);
    root_refused(lode_recover(root_path("nowhere"), &o, &text, &err), LODE_NOT_FOUND, &err,
                 "nowhere");
    assert_int_equal(versions(root_path("b")), 1);
    struct lode *m = root_open(true);
    root_refused(lode_backup(m, root_path("of-mem"), &text, &err), LODE_UNSUPPORTED, &err, NULL);
    lode_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(under_writes), cmocka_unit_test(refused)};
    root_scratch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
