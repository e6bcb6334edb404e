/* The store suite on every store that needs no server, bare and under each decorator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "conformance/store_suite.h"

/* ---- places: a directory, or a name in memory ---- */

static void *new_dir(const struct store_maker *self)
{
    char *dir = lode_strdup("/tmp/lode-store-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static void *new_name(const struct store_maker *self)
{
    static _Atomic int counter;
    return lode_asprintf("mem:suite-%d", atomic_fetch_add(&counter, 1));
}

static void clear_dir(const struct store_maker *self, void *place)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", (const char *)place);
    assert_int_equal(system(command), 0);
    lode_free(place);
}

static void clear_name(const struct store_maker *self, void *place)
{
    lode_free(place);
}

/* ---- opening: bare, or in a decorator ---- */

typedef struct lode_store *decorate_fn(struct lode_store *inner);

struct how {
    const char *const *options;
    decorate_fn *decorate;
};

static struct lode_store *open_store(const struct store_maker *self, void *place, bool read_only)
{
    const struct how *how = self->arg;
    struct lode_store_config config = {.url = place, .create = true, .read_only = read_only, .options = how->options};
    struct lode_store *store = NULL;
    struct lode_err err = {0};
    if (lode_store_open(&config, &store, &err) < 0)
        fail_msg("%s", err.text);
    return how->decorate ? how->decorate(store) : store;
}

static const char *const scramble[] = {"scramble", "42", NULL};
static const struct how bare = {0}, scrambled = {scramble, NULL};

static const struct store_maker makers[] = {
    {"posix", new_dir, open_store, clear_dir, &bare},
    {"mem", new_name, open_store, clear_name, &bare},
    {"mem-scrambled", new_name, open_store, clear_name, &scrambled},
};

int main(void)
{
    return store_suite_run(makers, LODE_ARRAY_LEN(makers));
}
