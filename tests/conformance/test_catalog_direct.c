/* The catalog's suite on the direct catalog: coord and store in memory, and sqlite with posix; each
 * also on a store that cannot rename directories, as object stores cannot. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "catalog/direct_config.h"
#include "conformance/catalog_suite.h"
#include "support/coord_kit.h"

#define CLIENTS_MAX 64

struct client {
    struct lode_catalog *catalog;
    struct lode_coord *coord;
    struct lode_store *store;
};

struct roots {
    bool memory;
    bool in_place; /* hide LODE_STORE_RENAME_DIR; the coord forgets its history soon, too */
    unsigned count;
    char *dir;
    char coord_url[128], store_url[128];
    struct lode_coord *coord; /* what lives in memory lives as long as it is open */
    struct lode_store *store;
    pthread_mutex_t lock; /* guards clients */
    struct client clients[CLIENTS_MAX];
};

static void must(int r, const struct lode_err *err)
{
    if (r < 0) {
        fprintf(stderr, "%s\n", err->text);
        assert(r == 0);
    }
}

static struct lode_coord *open_coord(struct roots *s)
{
    struct lode_err err = {0};
    struct lode_coord *coord = NULL;
    static const char *const forgetful[] = {"log_keep", "40", NULL};
    const struct lode_coord_config config = {
        .url = s->coord_url, .create = true, .options = s->in_place ? forgetful : NULL};
    must(lode_coord_open(&config, &coord, &err), &err);
    return coord;
}

static struct lode_store *open_store(struct roots *s)
{
    struct lode_err err = {0};
    struct lode_store *store = NULL;
    const struct lode_store_config config = {.url = s->store_url, .create = true};
    must(lode_store_open(&config, &store, &err), &err);
    if (s->in_place)
        ((struct lode_store_base *)(void *)store)->caps &= ~(uint32_t)LODE_STORE_RENAME_DIR;
    return store;
}

static void end_root(struct roots *s)
{
    lode_store_close(s->store);
    lode_coord_close(s->coord);
    kit_remove_dir(s->dir);
    s->store = NULL;
    s->coord = NULL;
    s->dir = NULL;
}

static void fresh(void *arg)
{
    struct roots *s = arg;
    struct lode_err err = {0};
    end_root(s);
    s->count++;
    s->dir = s->memory ? NULL : kit_temp_dir();
    if (s->memory) {
        snprintf(s->coord_url, sizeof s->coord_url, "mem:catalog%u", s->count);
        snprintf(s->store_url, sizeof s->store_url, "mem:catalog%u", s->count);
    } else {
        snprintf(s->coord_url, sizeof s->coord_url, "sqlite://%s/coord.db", s->dir);
        snprintf(s->store_url, sizeof s->store_url, "%s/store", s->dir);
    }
    s->coord = open_coord(s);
    s->store = open_store(s);
    must(lode_catalog_init(s->coord, s->store, &err), &err);
}

static struct lode_catalog *open_client(void *arg)
{
    struct roots *s = arg;
    struct lode_err err = {0};
    struct client c = {.coord = open_coord(s), .store = open_store(s)};
    must(lode_catalog_direct(c.coord, c.store, &c.catalog, &err), &err);
    pthread_mutex_lock(&s->lock);
    struct client *at = s->clients;
    while (at->catalog)
        at++;
    assert(at < s->clients + CLIENTS_MAX);
    *at = c;
    pthread_mutex_unlock(&s->lock);
    return c.catalog;
}

static void close_client(void *arg, struct lode_catalog *catalog)
{
    struct roots *s = arg;
    pthread_mutex_lock(&s->lock);
    struct client *at = s->clients;
    while (at->catalog != catalog)
        at++;
    struct client c = *at;
    *at = (struct client){0};
    pthread_mutex_unlock(&s->lock);
    lode_catalog_close(c.catalog);
    lode_store_close(c.store);
    lode_coord_close(c.coord);
}

static void done(void *arg)
{
    end_root(arg);
}

int main(void)
{
    static const struct {
        const char *name;
        bool memory, in_place;
    } kinds[] = {{"catalog: direct, mem", true, false},
                 {"catalog: direct, sqlite and posix", false, false},
                 {"catalog: direct, mem, without renames", true, true},
                 {"catalog: direct, sqlite and posix, without renames", false, true}};
    int failed = 0;
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct roots *s = lode_zalloc(sizeof *s);
        pthread_mutex_init(&s->lock, NULL);
        s->memory = kinds[i].memory;
        s->in_place = kinds[i].in_place;
        s->count = i * 1000;
        const struct catalog_suite suite = {.name = kinds[i].name,
                                            .fresh = fresh,
                                            .open = open_client,
                                            .close = close_client,
                                            .done = done,
                                            .arg = s,
                                            .direct = true,
                                            .forgets = s->in_place};
        failed += catalog_suite_run(&suite);
        pthread_mutex_destroy(&s->lock);
        lode_free(s);
    }
    return failed;
}
