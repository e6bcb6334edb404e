/* The catalog on a coord and a store of its own: opening, closing, and what its other files share.
 */
#include "catalog/direct.h"
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "catalog/direct_config.h"
#include "catalog/gc_ops.h"
#include "catalog/manifest_cache.h"
#include "catalog/projection.h"

static int get_revision(struct lode_catalog *catalog, bool fresh, uint64_t *out,
                        struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    uint64_t revision;
    int r =
        fresh || lode_direct_seen(self) == 0 ? lode_coord_revision(self->coord, &revision, err) : 0;
    if (r < 0)
        return r;
    if (fresh || lode_direct_seen(self) == 0)
        lode_direct_saw(self, revision);
    *out = lode_direct_seen(self);
    return 0;
}

static void close_direct(struct lode_catalog *catalog)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    lode_projection_close(self->projection);
    lode_manifest_cache_free(self->manifests);
    lode_root_record_release(&self->root);
    pthread_mutex_destroy(&self->lock);
    lode_free(self->who);
    lode_free(self);
}

static const struct lode_catalog_ops direct_ops = {
    .kind = "direct",
    .close = close_direct,
    .root = lode_direct_root,
    .revision = get_revision,
    .resolve = lode_direct_resolve,
    .model = lode_direct_model,
    .models = lode_direct_models,
    .versions = lode_direct_versions,
    .journal = lode_direct_journal,
    .alias_at = lode_direct_alias_at,
    .manifest = lode_direct_manifest,
    .place = lode_direct_place,
    .stage = lode_direct_stage,
    .finish = lode_direct_finish,
    .abandon = lode_direct_abandon,
    .attempt_close = lode_direct_attempt_close,
    .alias_set = lode_direct_alias_set,
    .alias_remove = lode_direct_alias_remove,
    .annotate = lode_direct_annotate,
    .remove = lode_direct_remove,
    .restore = lode_direct_restore,
    .lease = lode_direct_lease,
    .watch = lode_direct_watch,
    .watch_next = lode_direct_watch_next,
    .watch_wake = lode_direct_watch_wake,
    .watch_close = lode_direct_watch_close,
    .job = NULL,
};

static char *user_at_host(void)
{
    char host[256] = "localhost", room[4096];
    struct passwd pw, *found = NULL;
    if (gethostname(host, sizeof host - 1) < 0)
        host[0] = 0;
    getpwuid_r(geteuid(), &pw, room, sizeof room, &found);
    if (found && lode_utf8_valid(found->pw_name, strlen(found->pw_name)) == strlen(found->pw_name))
        return lode_asprintf("%s@%s", found->pw_name, host);
    return lode_asprintf("uid%u@%s", (unsigned)geteuid(), host);
}

static int open_parts(struct lode_direct *self, struct lode_err *err)
{
    self->who = user_at_host();
    if (!self->who)
        return lode_err_nomem(err, "a catalog");
    int r = lode_direct_open_root(self, err);
    r = r < 0 ? r : lode_manifest_cache_new(&self->manifests, err);
    return r < 0 ? r : lode_projection_open(self->coord, self->root.id, &self->projection, err);
}

int lode_catalog_direct(struct lode_coord *coord, struct lode_store *store,
                        struct lode_catalog **out, struct lode_err *err)
{
    struct lode_direct *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a catalog");
    self->ops = &direct_ops;
    self->coord = coord;
    self->store = store;
    self->ttl_ms = LODE_LEASE_TTL_MS;
    pthread_mutex_init(&self->lock, NULL);
    int r = open_parts(self, err);
    if (r < 0) {
        close_direct((struct lode_catalog *)self);
        return r;
    }
    *out = (struct lode_catalog *)self;
    return 0;
}

static struct lode_direct *as_direct(struct lode_catalog *catalog)
{
    return lode_catalog_ops_of(catalog) == &direct_ops ? (struct lode_direct *)(void *)catalog
                                                       : NULL;
}

struct lode_coord *lode_catalog_coord(struct lode_catalog *catalog)
{
    struct lode_direct *self = as_direct(catalog);
    return self ? self->coord : NULL;
}

struct lode_store *lode_catalog_store(struct lode_catalog *catalog)
{
    struct lode_direct *self = as_direct(catalog);
    return self ? self->store : NULL;
}

void lode_catalog_direct_set_ttl(struct lode_catalog *catalog, int64_t ttl_ms)
{
    struct lode_direct *self = as_direct(catalog);
    if (self)
        self->ttl_ms = ttl_ms;
}

void lode_catalog_close(struct lode_catalog *self)
{
    if (self)
        lode_catalog_ops_of(self)->close(self);
}

void lode_place_release(struct lode_place *place)
{
    if (place->owned)
        lode_store_close(place->store);
    lode_free(place->prefix);
    memset(place, 0, sizeof *place);
}

void lode_root_info_release(struct lode_root_info *info)
{
    lode_free(info->id);
    lode_free(info->state);
    lode_free(info->moved_to);
    lode_free(info->store);
    lode_free(info->coord);
    memset(info, 0, sizeof *info);
}

const struct lode_attempt_info *lode_attempt_info(const struct lode_attempt *attempt)
{
    return &((const struct lode_attempt_base *)(const void *)attempt)->info;
}

/* ---- shared ---- */

void lode_direct_saw(struct lode_direct *self, uint64_t revision)
{
    pthread_mutex_lock(&self->lock);
    self->seen = lode_max(self->seen, revision);
    pthread_mutex_unlock(&self->lock);
}

uint64_t lode_direct_seen(struct lode_direct *self)
{
    pthread_mutex_lock(&self->lock);
    uint64_t seen = self->seen;
    pthread_mutex_unlock(&self->lock);
    return seen;
}

const char *lode_direct_who(struct lode_direct *self, const struct lode_act *act)
{
    return act && act->who ? act->who : self->who;
}

int lode_direct_check_act(const struct lode_act *act, struct lode_err *err)
{
    if (!act || !act->why)
        return 0;
    size_t len = strlen(act->why);
    if (len > LODE_WHY_MAX)
        return lode_err_set(err, LODE_LIMIT,
                            "the message is %zu bytes long; at most %d are allowed", len,
                            LODE_WHY_MAX);
    if (lode_utf8_valid(act->why, len) != len)
        return lode_err_set(err, LODE_INVALID, "the message is not valid UTF-8");
    return 0;
}

void lode_direct_backoff(unsigned try)
{
    uint16_t random = 0;
    if (lode_sys->getrandom(&random, sizeof random) != sizeof random)
        random = 0;
    int64_t most = 2ll << lode_min(try, 8u);
    lode_sleep_ms(random % most + (try > 0));
}

int lode_direct_gave_up(const char *name, struct lode_err *err)
{
    return lode_err_set(err, LODE_UNAVAILABLE,
                        "%s was changed by others %d times in a row; try again", name, LODE_TRIES);
}

int lode_direct_check_names(const char *ns, const char *name, const char *version,
                            struct lode_err *err)
{
    int r = strcmp(ns, LODE_DEFAULT_NS) == 0
                ? 0
                : lode_name_check(LODE_NAME_NAMESPACE, ns, strlen(ns), err);
    r = r < 0 ? r : lode_name_check(LODE_NAME_MODEL, name, strlen(name), err);
    return r < 0 || !version ? r
                             : lode_name_check(LODE_NAME_VERSION, version, strlen(version), err);
}

char *lode_model_text(const char *ns, const char *name, char out[LODE_MODEL_TEXT])
{
    bool shown = strcmp(ns, LODE_DEFAULT_NS) != 0;
    snprintf(out, LODE_MODEL_TEXT, "%s%s%s", shown ? ns : "", shown ? "/" : "", name);
    return out;
}
