/* A back end from outside the tree, loaded by LODE_PLUGINS, passes the suite. */
#include "conformance/store_suite_impl.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"

static void *new_file(const struct store_maker *self)
{
    /* In memory where that can be had: it commits a few thousand times. */
    char *dir = lode_strdup(access("/dev/shm", W_OK) == 0 ? "/dev/shm/lode-plugin-XXXXXX"
                                                          : "/tmp/lode-plugin-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static struct lode_store *open_blobs(const struct store_maker *self, void *place, bool read_only)
{
    char url[128];
    struct lode_store *store = NULL;
    struct lode_store_config config = {.url = url, .create = true, .read_only = read_only};
    snprintf(url, sizeof url, "blobs:%s/store.db", (const char *)place);
    OK(lode_store_open(&config, &store, err));
    return store;
}

static void clear_file(const struct store_maker *self, void *place)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", (const char *)place);
    assert_int_equal(system(command), 0);
    lode_free(place);
}

static const struct store_maker makers[] = {{"blobs", new_file, open_blobs, clear_file, NULL}};

static void only_while_it_is_named(void **state)
{
    struct lode_store *store;
    struct lode_store_config config = {.url = "blobs:/tmp/x"};
    char *plugins = lode_strdup(getenv("LODE_PLUGINS"));
    unsetenv("LODE_PLUGINS");
    FAILS(LODE_INVALID, lode_store_open(&config, &store, err));
    setenv("LODE_PLUGINS", plugins, 1);
    config.url = "blobs:/nowhere/x.db";
    FAILS(LODE_NOT_FOUND, lode_store_open(&config, &store, err));
    lode_free(plugins);
}

/* A shared object that has no store (here: the C library) is passed over, not called. */
static void others_are_passed_over(void **state)
{
    _cleanup_free_ char *plugins = lode_strdup(getenv("LODE_PLUGINS"));
    _cleanup_free_ char *longer = lode_asprintf("libc.so.6::%s", plugins);
    setenv("LODE_PLUGINS", longer, 1);
    void *place = new_file(NULL);
    lode_store_close(open_blobs(NULL, place, false));
    clear_file(NULL, place);
    setenv("LODE_PLUGINS", plugins, 1);
}

int main(void)
{
    const char *build = getenv("LODE_BUILD");
    char path[1024];
    snprintf(path, sizeof path, "%s/plugin_blobs.so", build ? build : "build");
    setenv("LODE_PLUGINS", path, 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_while_it_is_named),
                                       cmocka_unit_test(others_are_passed_over)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + store_suite_run(makers, 1);
}
