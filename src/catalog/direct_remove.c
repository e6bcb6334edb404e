/* Deleting a version and taking that back. The bytes stay until gc takes them; the name is never
 * given again.
 *
 * A lease may be granted between the look at the leases and the transaction: it was granted on a
 * committed version, so its reader keeps the bytes, for gc reads the leases again, later. No lease
 * is granted on a deleted version.
 */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "catalog/direct.h"

struct removal {
    struct lode_direct *d;
    const struct lode_version *version;
    const struct lode_act *act;
    struct lode_model_record model;
    struct lode_version_record record;
};

static int read_records(struct removal *s, struct lode_err *err)
{
    const struct lode_version *v = s->version;
    lode_model_record_release(&s->model);
    lode_version_record_release(&s->record);
    int r = lode_direct_get_model(s->d, v->ns, v->name, &s->model, err);
    r = r < 0 ? r : lode_direct_get_version(s->d, v->ns, v->name, v->version, &s->record, err);
    if (r == 0 && s->record.modified == 0)
        r = lode_err_set(err, LODE_NOT_FOUND, "no version %s of %s", v->version,
                         lode_model_q(v->ns, v->name));
    return r;
}

static int check_aliases(const struct removal *s, struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf names = LODE_BUF_INIT(4096);
    for (size_t i = 0; i < s->model.info.n_aliases; i++) {
        const struct lode_alias *a = &s->model.info.aliases[i];
        if (strcmp(a->version, s->version->version) == 0)
            lode_buf_addf(&names, "%s%s", names.len ? ", " : "", a->alias);
    }
    if (names.len == 0)
        return 0;
    return lode_err_set(
        err, LODE_HELD,
        "version %s of %s is held by the alias %s; move it to another version first",
        s->version->version, lode_model_q(s->version->ns, s->version->name), lode_buf_str(&names));
}

static int check_leases(const struct removal *s, struct lode_err *err)
{
    const struct lode_version *v = s->version;
    _cleanup_free_ char *prefix = lode_key_leases(v->ns, v->name, v->version);
    _cleanup_kvs_ struct lode_coord_kvs held = {0};
    if (!prefix)
        return lode_err_nomem(err, "a key");
    int r = lode_coord_range(s->d->coord, prefix, NULL, 1, &held, err);
    if (r < 0 || held.n == 0)
        return r;
    return lode_err_set(
        err, LODE_HELD, "version %s of %s is in use by %s; stop it, or wait until it lets go",
        v->version, lode_model_q(v->ns, v->name), held.items[0].key + strlen(prefix));
}

/* `latest` is the committed version of highest seq that is left. */
static int find_latest(struct removal *s, struct lode_err *err)
{
    struct lode_model_info *info = &s->model.info;
    if (!info->latest || strcmp(info->latest, s->version->version) != 0)
        return 0;
    lode_free(info->latest);
    info->latest = NULL;
    uint64_t from = info->latest_seq;
    info->latest_seq = 0;
    for (uint64_t seq = from - 1; seq > 0; seq--) {
        _cleanup_free_ char *key = lode_key_seq(info->ns, info->name, seq);
        _cleanup_kv_ struct lode_coord_kv kv = {0};
        _cleanup_version_record_ struct lode_version_record v = {0};
        int r = key ? lode_coord_get(s->d->coord, key, &kv, err) : lode_err_nomem(err, "a key");
        r = r < 0 ? r : lode_direct_get_version(s->d, info->ns, info->name, kv.value, &v, err);
        if (r < 0)
            return r;
        if (v.v.state != LODE_COMMITTED || v.modified == 0)
            continue;
        info->latest = lode_steal(v.v.version);
        info->latest_seq = seq;
        return 0;
    }
    return 0;
}

static struct lode_journal_entry entry_of(const struct removal *s, enum lode_change change)
{
    return (struct lode_journal_entry){.change = change,
                                       .to = s->record.v.version,
                                       .who = (char *)(uintptr_t)lode_direct_who(s->d, s->act),
                                       .why = s->act ? (char *)(uintptr_t)s->act->why : NULL};
}

static int run(struct removal *s, struct lode_change_set *c, struct lode_version *out,
               struct lode_err *err)
{
    uint64_t revision;
    lode_change_version(c, &s->record);
    lode_change_model(c, &s->model);
    int r = lode_change_run(c, &revision, err);
    return r != 0 ? r : lode_direct_show(s->d, &s->record, &s->model, out, err);
}

static int remove_once(struct removal *s, struct lode_version *out, struct lode_err *err)
{
    _cleanup_change_ struct lode_change_set c = {0};
    int r = read_records(s, err);
    if (r < 0)
        return r;
    struct lode_version *v = &s->record.v;
    if (v->state != LODE_COMMITTED)
        return lode_direct_wrong_state(v, err);
    r = check_aliases(s, err);
    r = r < 0 ? r : check_leases(s, err);
    r = r < 0 ? r : find_latest(s, err);
    if (r < 0)
        return r;
    struct lode_journal_entry e = entry_of(s, LODE_CHANGE_DELETE);
    lode_change_begin(&c, s->d);
    r = lode_change_journal(&c, &s->model, &e, err);
    v->state = LODE_DELETED;
    v->deleted_ms = e.when_ms;
    s->model.info.versions -= s->model.info.versions > 0;
    const struct lode_attempt_record garbage = {.state = LODE_ATTEMPT_DELETED,
                                                .directory = v->directory,
                                                .digest = v->digest,
                                                .since_ms = e.when_ms,
                                                .size = v->size};
    char *key = lode_key_attempt(v->ns, v->name, v->version, v->attempt);
    lode_change_expect(&c, key ? lode_strdup(key) : NULL, 0);
    lode_change_put(&c, key, lode_attempt_record_text(&garbage), 0);
    return r < 0 ? r : run(s, &c, out, err);
}

static int restore_latest(struct removal *s, struct lode_err *err)
{
    struct lode_model_info *info = &s->model.info;
    if (s->record.v.seq <= info->latest_seq)
        return 0;
    lode_free(info->latest);
    info->latest = lode_strdup(s->record.v.version);
    info->latest_seq = s->record.v.seq;
    return info->latest ? 0 : lode_err_nomem(err, "a model record");
}

static int restore_once(struct removal *s, struct lode_version *out, struct lode_err *err)
{
    _cleanup_change_ struct lode_change_set c = {0};
    _cleanup_attempt_record_ struct lode_attempt_record garbage = {0};
    int r = read_records(s, err);
    if (r < 0)
        return r;
    struct lode_version *v = &s->record.v;
    const char *model = lode_model_q(v->ns, v->name);
    if (v->state != LODE_DELETED)
        return lode_err_set(err, LODE_CONFLICT, "version %s of %s is not deleted (%s)", v->version,
                            model, lode_state_name(v->state));
    r = lode_direct_get_attempt(s->d, lode_key_attempt(v->ns, v->name, v->version, v->attempt),
                                &garbage, err);
    if (r < 0)
        return r;
    if (garbage.modified == 0 || garbage.state != LODE_ATTEMPT_DELETED)
        return lode_err_set(err, LODE_NOT_FOUND,
                            "version %s of %s cannot be restored: gc has removed its bytes",
                            v->version, model);
    struct lode_journal_entry e = entry_of(s, LODE_CHANGE_RESTORE);
    lode_change_begin(&c, s->d);
    r = lode_change_journal(&c, &s->model, &e, err);
    v->state = LODE_COMMITTED;
    v->deleted_ms = 0;
    s->model.info.versions++;
    r = r < 0 ? r : restore_latest(s, err);
    lode_change_expect(&c, lode_key_attempt(v->ns, v->name, v->version, v->attempt),
                       garbage.modified);
    lode_change_delete(&c, lode_key_attempt(v->ns, v->name, v->version, v->attempt));
    return r < 0 ? r : run(s, &c, out, err);
}

typedef int once_fn(struct removal *s, struct lode_version *out, struct lode_err *err);

static int repeat(struct lode_catalog *catalog, const struct lode_version *version,
                  const struct lode_act *act, once_fn *once, struct lode_version *out,
                  struct lode_err *err)
{
    struct removal s = {.d = (struct lode_direct *)(void *)catalog, .version = version, .act = act};
    int r = lode_direct_check_act(act, err);
    r = r < 0 ? r : lode_direct_check_names(version->ns, version->name, version->version, err);
    if (r < 0)
        return r;
    r = LODE_AGAIN;
    for (unsigned i = 0; r == LODE_AGAIN && i < LODE_TRIES; i++) {
        if (i)
            lode_direct_backoff(i);
        r = once(&s, out, err);
    }
    lode_model_record_release(&s.model);
    lode_version_record_release(&s.record);
    return r == LODE_AGAIN ? lode_direct_gave_up(lode_model_q(version->ns, version->name), err) : r;
}

int lode_direct_remove(struct lode_catalog *catalog, const struct lode_version *version,
                       const struct lode_act *act, struct lode_version *out, struct lode_err *err)
{
    return repeat(catalog, version, act, remove_once, out, err);
}

int lode_direct_restore(struct lode_catalog *catalog, const struct lode_version *version,
                        const struct lode_act *act, struct lode_version *out, struct lode_err *err)
{
    return repeat(catalog, version, act, restore_once, out, err);
}
