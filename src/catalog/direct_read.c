/* Reading records: references resolved, models, manifests and places. */
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "catalog/direct.h"
#include "catalog/manifest_cache.h"

#define RACES_MAX 8 /* times that a reference may move while it is resolved */

/* ---- records ---- */

static int name_model(struct lode_model_record *m, const char *ns, const char *name,
                      struct lode_err *err)
{
    *m = (struct lode_model_record){.next_entry = 1, .info.next_seq = 1};
    m->info.ns = lode_strdup(ns);
    m->info.name = lode_strdup(name);
    if (m->info.ns && m->info.name)
        return 0;
    lode_model_record_release(m);
    return lode_err_nomem(err, "a model record");
}

int lode_direct_get_model(struct lode_direct *self, const char *ns, const char *name,
                          struct lode_model_record *out, struct lode_err *err)
{
    _cleanup_free_ char *key = lode_key_model(ns, name);
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    if (!key)
        return lode_err_nomem(err, "a key");
    int r = lode_coord_get(self->coord, key, &kv, err);
    if (r == LODE_NOT_FOUND)
        return name_model(out, ns, name, err);
    if (r < 0)
        return r;
    lode_direct_saw(self, kv.modified);
    return lode_model_record_read(&kv, out, err);
}

static int name_version(struct lode_version_record *v, const char *ns, const char *name,
                        const char *version, struct lode_err *err)
{
    *v = (struct lode_version_record){0};
    v->v.ns = lode_strdup(ns);
    v->v.name = lode_strdup(name);
    v->v.version = lode_strdup(version);
    if (v->v.ns && v->v.name && v->v.version)
        return 0;
    lode_version_record_release(v);
    return lode_err_nomem(err, "a version record");
}

int lode_direct_get_version(struct lode_direct *self, const char *ns, const char *name,
                            const char *version, struct lode_version_record *out,
                            struct lode_err *err)
{
    _cleanup_free_ char *key = lode_key_version(ns, name, version);
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    if (!key)
        return lode_err_nomem(err, "a key");
    int r = lode_coord_get(self->coord, key, &kv, err);
    if (r == LODE_NOT_FOUND)
        return name_version(out, ns, name, version, err);
    if (r < 0)
        return r;
    lode_direct_saw(self, kv.modified);
    return lode_version_record_read(&kv, out, err);
}

int lode_direct_get_attempt(struct lode_direct *self, char *key_, struct lode_attempt_record *out,
                            struct lode_err *err)
{
    _cleanup_free_ char *key = key_;
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    if (!key)
        return lode_err_nomem(err, "a key");
    int r = lode_coord_get(self->coord, key, &kv, err);
    if (r == LODE_NOT_FOUND) {
        *out = (struct lode_attempt_record){0};
        return 0;
    }
    return r < 0 ? r : lode_attempt_record_read(&kv, out, err);
}

bool lode_direct_has(struct lode_direct *self, char *key_, int *failed, struct lode_err *err)
{
    _cleanup_free_ char *key = key_;
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    *failed = key ? lode_coord_get(self->coord, key, &kv, err) : lode_err_nomem(err, "a key");
    if (*failed == LODE_NOT_FOUND) {
        *failed = 0;
        return false;
    }
    return *failed == 0;
}

/* ---- what users see ---- */

static int add_alias_names(const struct lode_model_record *m, struct lode_version *v,
                           struct lode_err *err)
{
    for (size_t i = 0; i < m->info.n_aliases; i++) {
        if (strcmp(m->info.aliases[i].version, v->version) != 0)
            continue;
        char **grown = lode_realloc_array(v->aliases, v->n_aliases + 1, sizeof *grown);
        if (!grown)
            return lode_err_nomem(err, "a version");
        v->aliases = grown;
        v->aliases[v->n_aliases] = lode_strdup(m->info.aliases[i].alias);
        if (!v->aliases[v->n_aliases])
            return lode_err_nomem(err, "a version");
        v->n_aliases++;
    }
    return 0;
}

int lode_direct_adorn(struct lode_version_record *v, const struct lode_model_record *m,
                      struct lode_err *err)
{
    int r = add_alias_names(m, &v->v, err);
    v->v.latest =
        v->v.state == LODE_COMMITTED && m->info.latest && strcmp(m->info.latest, v->v.version) == 0;
    return r;
}

int lode_direct_show(struct lode_direct *self, const struct lode_version_record *record,
                     const struct lode_model_record *m, struct lode_version *out,
                     struct lode_err *err)
{
    _cleanup_version_record_ struct lode_version_record shown = {0};
    int r = lode_version_copy(&record->v, &shown.v, err);
    r = r < 0 ? r : lode_direct_adorn(&shown, m, err);
    if (r < 0)
        return r;
    *out = shown.v;
    out->revision = lode_direct_seen(self);
    memset(&shown, 0, sizeof shown);
    return 0;
}

/* ---- references ---- */

/* The version name of a seq, owned. */
static int name_of_seq(struct lode_direct *self, const struct lode_model_record *m,
                       const struct lode_ref *ref, char **out, struct lode_err *err)
{
    _cleanup_free_ char *key = lode_key_seq(ref->ns, ref->name, ref->seq);
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    if (!key)
        return lode_err_nomem(err, "a key");
    int r = lode_coord_get(self->coord, key, &kv, err);
    if (r == LODE_NOT_FOUND)
        return lode_direct_no_version(m, ref, err);
    if (r < 0)
        return r;
    if (!lode_name_ok(kv.value, kv.len))
        return lode_err_set(err, LODE_CORRUPT, "the record '%s' is damaged", key);
    *out = lode_strndup(kv.value, kv.len);
    return *out ? 0 : lode_err_nomem(err, "a version's name");
}

/* The version name that a reference means now, owned; *moving tells that it came from a pointer. */
static int name_of_ref(struct lode_direct *self, const struct lode_model_record *m,
                       const struct lode_ref *ref, char **out, bool *moving, struct lode_err *err)
{
    const char *name =
        ref->kind == LODE_REV_LATEST ? m->info.latest : lode_model_alias(m, ref->rev);
    if (ref->kind == LODE_REV_SEQ)
        return name_of_seq(self, m, ref, out, err);
    *moving = name != NULL;
    if (!name && ref->kind == LODE_REV_LATEST)
        return lode_direct_no_version(m, ref, err);
    *out = lode_strdup(name ? name : ref->rev);
    return *out ? 0 : lode_err_nomem(err, "a version's name");
}

/* One try: LODE_AGAIN when a pointer led to a version that is gone by now. */
static int resolve_once(struct lode_direct *self, const struct lode_ref *ref, bool any_state,
                        struct lode_version *out, struct lode_err *err)
{
    _cleanup_model_record_ struct lode_model_record m = {0};
    _cleanup_version_record_ struct lode_version_record v = {0};
    _cleanup_free_ char *version = NULL;
    bool moving = false;
    int r = lode_direct_get_model(self, ref->ns, ref->name, &m, err);
    if (r == 0 && m.modified == 0)
        r = lode_direct_no_model(self, ref->ns, ref->name, err);
    r = r < 0 ? r : name_of_ref(self, &m, ref, &version, &moving, err);
    r = r < 0 ? r : lode_direct_get_version(self, ref->ns, ref->name, version, &v, err);
    if (r < 0)
        return r;
    if (v.modified == 0)
        return moving ? LODE_AGAIN : lode_direct_no_version(&m, ref, err);
    if (v.v.state != LODE_COMMITTED && moving)
        return LODE_AGAIN;
    if (v.v.state != LODE_COMMITTED && !any_state)
        return lode_direct_wrong_state(&v.v, err);
    return lode_direct_show(self, &v, &m, out, err);
}

int lode_direct_resolve(struct lode_catalog *catalog, const struct lode_ref *ref, bool any_state,
                        struct lode_version *out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    int r = lode_direct_check_names(ref->ns, ref->name,
                                    ref->kind == LODE_REV_NAME ? ref->rev : NULL, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < RACES_MAX; i++) {
        r = resolve_once(self, ref, any_state, out, err);
        if (r != LODE_AGAIN)
            return r;
    }
    return lode_err_set(err, LODE_UNAVAILABLE, "%s moved faster than it could be read; try again",
                        lode_model_q(ref->ns, ref->name));
}

int lode_direct_model(struct lode_catalog *catalog, const char *ns, const char *name,
                      struct lode_model_info *out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    _cleanup_model_record_ struct lode_model_record m = {0};
    int r = lode_direct_check_names(ns, name, NULL, err);
    r = r < 0 ? r : lode_direct_get_model(self, ns, name, &m, err);
    if (r < 0)
        return r;
    if (m.modified == 0 || m.info.next_seq == 1)
        return lode_direct_no_model(self, ns, name, err);
    *out = m.info;
    out->revision = lode_direct_seen(self);
    memset(&m.info, 0, sizeof m.info);
    return 0;
}

/* ---- bytes ---- */

int lode_direct_manifest(struct lode_catalog *catalog, const struct lode_version *version,
                         struct lode_manifest **out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    if (!version->digest || !version->directory)
        return lode_direct_wrong_state(version, err);
    return lode_manifest_cache_get(self->manifests, self->store, version, out, err);
}

int lode_direct_place(struct lode_catalog *catalog, const struct lode_version *version,
                      struct lode_place *out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    if (!version->directory)
        return lode_direct_wrong_state(version, err);
    struct lode_place place = {self->store, false, lode_strdup(version->directory)};
    if (!place.prefix)
        return lode_err_nomem(err, "a place");
    *out = place;
    return 0;
}
