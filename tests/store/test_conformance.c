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
#include <unistd.h>
#include "base/mem.h"
#include "conformance/store_suite.h"

/* How a store is opened: bare, or in a decorator. */
typedef struct lode_store *decorate_fn(struct lode_store *inner);

struct how {
    const char *const *options;
    decorate_fn *decorate;
};

/* ---- places: a directory, or a name in memory ---- */

static void *new_dir(const struct store_maker *self)
{
    /* The bare store on a disk; under a decorator, which changes nothing about flushing, in
     * memory where that can be. */
    const struct how *how = self->arg;
    bool memory = how->decorate && access("/dev/shm", W_OK) == 0;
    char *dir = lode_strdup(memory ? "/dev/shm/lode-store-XXXXXX" : "/tmp/lode-store-XXXXXX");
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

static struct lode_store *open_store(const struct store_maker *self, void *place, bool read_only)
{
    const struct how *how = self->arg;
    struct lode_store_config config = {
        .url = place, .create = true, .read_only = read_only, .options = how->options};
    struct lode_store *store = NULL;
    struct lode_err err = {0};
    if (lode_store_open(&config, &store, &err) < 0)
        fail_msg("%s", err.text);
    return how->decorate ? how->decorate(store) : store;
}

static struct lode_store *in_retry(struct lode_store *inner)
{
    static const struct lode_retry_policy policy = {.attempts = 3, .base_ms = 1, .max_ms = 2};
    struct lode_store *store = NULL;
    assert_int_equal(lode_store_retry(inner, &policy, &store, NULL), 0);
    return store;
}

/* Bounds low enough to be felt: chunks of 7 kB, three at once. */
static struct lode_store *in_limit(struct lode_store *inner)
{
    static const struct lode_limit_policy policy = {.read_bytes_per_s = 2000u << 20,
                                                    .write_bytes_per_s = 2000u << 20,
                                                    .in_flight_bytes = 7000,
                                                    .in_flight_ops = 3};
    struct lode_store *store = NULL;
    assert_int_equal(lode_store_limit(inner, &policy, &store, NULL), 0);
    return store;
}

static struct lode_store *in_verify(struct lode_store *inner)
{
    static const struct lode_verify_table table = {.block_size = 4096, .allow_unknown = true};
    struct lode_store *store = NULL;
    assert_int_equal(lode_store_verify(inner, &table, &store, NULL), 0);
    return store;
}

static struct lode_fault no_fault(void *arg, const char *op, const char *key)
{
    return (struct lode_fault){0};
}

static struct lode_store *in_fault(struct lode_store *inner)
{
    struct lode_store *store = NULL;
    assert_int_equal(lode_store_fault(inner, no_fault, NULL, &store, NULL), 0);
    return store;
}

/* Every other read, look, list and part fails once: the retry around it must hide that. */
static struct lode_fault every_other(void *arg, const char *op, const char *key)
{
    static _Atomic unsigned calls;
    bool safe = !strcmp(op, "read") || !strcmp(op, "stat") || !strcmp(op, "list") ||
                !strcmp(op, "write_part");
    bool fails = safe && atomic_fetch_add(&calls, 1) % 2;
    return (struct lode_fault){.kind = fails ? LODE_FAULT_FAIL : LODE_FAULT_NONE,
                               .code = LODE_UNAVAILABLE};
}

static struct lode_store *in_retry_of_fault(struct lode_store *inner)
{
    static const struct lode_retry_policy policy = {.attempts = 60, .base_ms = 0, .max_ms = 0};
    struct lode_store *faulty = NULL, *store = NULL;
    assert_int_equal(lode_store_fault(inner, every_other, NULL, &faulty, NULL), 0);
    assert_int_equal(lode_store_retry(faulty, &policy, &store, NULL), 0);
    return store;
}

static struct lode_store *in_all(struct lode_store *inner)
{
    return in_limit(in_retry(in_verify(in_fault(inner))));
}

static const char *const scramble[] = {"scramble", "42", NULL};
/* One row a store and decorator. */
#define ROWS(name, place, options)                                                                 \
    {name, new_##place, open_store, clear_##place, &(const struct how){options, NULL}},            \
        {name "+retry", new_##place, open_store, clear_##place,                                    \
         &(const struct how){options, in_retry}},                                                  \
        {name "+limit", new_##place, open_store, clear_##place,                                    \
         &(const struct how){options, in_limit}},                                                  \
        {name "+verify", new_##place, open_store, clear_##place,                                   \
         &(const struct how){options, in_verify}},                                                 \
        {name "+fault", new_##place, open_store, clear_##place,                                    \
         &(const struct how){options, in_fault}},                                                  \
        {name "+retry+faults", new_##place, open_store, clear_##place,                             \
         &(const struct how){options, in_retry_of_fault}},                                         \
    {                                                                                              \
        name "+all", new_##place, open_store, clear_##place, &(const struct how)                   \
        {                                                                                          \
            options, in_all                                                                        \
        }                                                                                          \
    }

static const struct store_maker makers[] = {
    ROWS("posix", dir, NULL),
    ROWS("mem", name, NULL),
    ROWS("mem-scrambled", name, scramble),
};

int main(void)
{
    return store_suite_run(makers, LODE_ARRAY_LEN(makers));
}
