/* Every fallible call of a push, failed once: the push succeeds and all is whole, or it fails with
 * a message, and the next one succeeds; nothing is lost, nothing half done shows, and gc brings the
 * disk back to what is live.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "catalog/direct_config.h"
#include "registry/handle.h"
#include "support/fault_walk.h"
#include "support/root.h"

static char root[256];
static bool acknowledged;

/* A root with m@v0, as it is before each shot. */
static void prepare(void *arg)
{
    struct lode_err err = {0};
    root_remove_tree(root);
    root_remove_tree(root_path("cache"));
    struct lode *lode = root_reopen(root);
    root_ok(root_push(lode, "m", root_path("in/a.bin"), "v0", NULL, &err), &err);
    lode_close(lode);
    acknowledged = false;
}

static int run(void *arg, struct lode_err *err)
{
    struct lode_open_options o = {.url = root};
    struct lode *lode = NULL;
    int r = lode_open(&o, &lode, err);
    if (r == 0)
        r = root_push(lode, "m", root_path("in"), "v1", NULL, err);
    acknowledged = r == 0;
    lode_close(lode);
    return r;
}

static void check_report(char *text)
{
    json_t *doc = json_loads(text, 0, NULL);
    assert_non_null(doc);
    if (!json_is_true(json_object_get(doc, "clean")))
        print_error("%s\n", text);
    assert_true(json_is_true(json_object_get(doc, "clean")));
    json_decref(doc);
    lode_string_free(text);
}

static void check(void *arg, const struct fault_shot *shot, int result, const struct lode_err *told)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    struct lode_gc_options now = {0};
    char *text = NULL;
    struct lode *lode = root_reopen(root);
    int r = lode_show(lode, "m@v1", &v, &err);
    assert_true(r == 0 || r == LODE_NOT_FOUND);
    assert_true(r == 0 || !acknowledged);
    lode_version_release(&v);
    if (r ==
        LODE_NOT_FOUND) { /* once more, under a name that no claim of the failed one may hold */
        lode_catalog_direct_set_ttl(lode->catalog, 1000);
        r = root_push(lode, "m", root_path("in"), "v2", NULL, &err);
        root_ok(r, &err);
    }
    root_ok(lode_verify(lode, NULL, NULL, &text, &err), &err);
    check_report(text);
    root_ok(lode_gc(lode, &now, &text, &err), &err);
    json_t *doc = json_loads(text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(doc, "foreign")), 0);
    json_decref(doc);
    lode_string_free(text);
    root_ok(lode_pull(lode, "m", root_path("out-%d", getpid()), NULL, NULL, NULL, &err), &err);
    assert_true(root_same_tree(root_path("in"), root_path("out-%d", getpid())));
    root_remove_tree(root_path("out-%d", getpid()));
    lode_close(lode);
}

static void every_call_fails_once(void **state)
{
    const struct fault_scenario s = {
        .name = "push", .prepare = prepare, .run = run, .check = check};
    fault_walk(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call_fails_once)};
    snprintf(root, sizeof root, "%s/faultroot", root_scratch());
    root_write(root_path("in/a.bin"), "some bytes", 10);
    root_safetensors(root_path("in/model.safetensors"), 2, 100, 3);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
