/* Records of the coord: see catalog/records.h.
 *
 * A version, model or journal record is the JSON that users see (model/record.h) without what its
 * key already says, without what another record owns (aliases, latest) and without nulls, so that
 * it stays near half a KiB.
 */
#include "catalog/records.h"
#include <string.h>
#include "base/json.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "base/digest.h"

static int damaged(const struct lode_coord_kv *kv, int r, struct lode_err *err)
{
    struct lode_err why = {0};
    if (r == LODE_NO_MEMORY)
        return r;
    if (err)
        why = *err;
    return lode_err_set(err, LODE_CORRUPT, "the record '%s' is damaged: %s", kv->key, why.text);
}

/* The object of a record, its schema checked. */
static int open_record(const struct lode_coord_kv *kv, json_t **out, struct lode_err *err)
{
    _cleanup_json_ json_t *doc = NULL;
    uint64_t schema;
    int r = lode_json_parse(kv->value, kv->len, kv->key, &doc, err);
    r = r < 0 ? r : lode_json_u64(doc, "schema", &schema, err);
    if (r < 0)
        return damaged(kv, r, err);
    if (schema > LODE_RECORD_SCHEMA)
        return lode_err_set(err, LODE_SCHEMA,
                            "the record '%s' has schema %llu, this Lode knows %d; use a newer Lode",
                            kv->key, (unsigned long long)schema, LODE_RECORD_SCHEMA);
    *out = lode_steal(doc);
    return 0;
}

/* Drops nulls and the NULL-ended `drop`, puts the schema in, answers the text; takes `doc`. */
static char *close_record(json_t *doc, const char *const *drop)
{
    const char *key;
    json_t *value;
    void *next;
    if (!doc)
        return NULL;
    for (; drop && *drop; drop++)
        json_object_del(doc, *drop);
    json_object_foreach_safe(doc, next, key, value)
    {
        if (json_is_null(value))
            json_object_del(doc, key);
    }
    char *text = json_object_set_new(doc, "schema", json_integer(LODE_RECORD_SCHEMA)) == 0
                     ? lode_json_text(doc, NULL)
                     : NULL;
    json_decref(doc);
    return text;
}

static bool set_text(json_t *doc, const char *key, const char *text)
{
    return !text || json_object_set_new(doc, key, json_string(text)) == 0;
}

static bool set_number(json_t *doc, const char *key, uint64_t number)
{
    return json_object_set_new(doc, key, json_integer((json_int_t)number)) == 0;
}

static int copy_text(const json_t *doc, const char *key, char **out, struct lode_err *err)
{
    const char *text = NULL;
    int r = lode_json_opt_str(doc, key, &text, err);
    if (r < 0 || !text)
        return r;
    *out = lode_strdup(text);
    return *out ? 0 : lode_err_nomem(err, "a record");
}

/* Puts the names that the key holds into the document, for the shared readers. */
static int put_names(json_t *doc, const struct lode_coord_kv *kv, const char *const *names,
                     unsigned n, struct lode_err *err)
{
    struct lode_key_parts parts;
    if (!lode_key_split(kv->key, &parts) || parts.n < n)
        return lode_err_set(err, LODE_CORRUPT, "the key '%s' is malformed", kv->key);
    for (unsigned i = 0; i < n; i++) {
        if (json_object_set_new(doc, names[i], json_string(parts.part[i])) < 0)
            return lode_err_nomem(err, "a record");
    }
    return 0;
}

/* ---- root ---- */

static const char *const root_states[] = {"open", "sealed", "moved"};

const char *lode_root_state_name(enum lode_root_state state)
{
    return root_states[state];
}

static int state_index(const char *name, const char *const *names, unsigned n, struct lode_err *err)
{
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    }
    return lode_err_set(err, LODE_CORRUPT, "state %s is unknown", lode_q(name));
}

static int read_root(const json_t *doc, struct lode_root_record *r, struct lode_err *err)
{
    const char *state, *id;
    int got = lode_json_str(doc, "id", &id, err);
    got = got < 0 ? got : lode_json_u64(doc, "epoch", &r->epoch, err);
    got = got < 0 ? got : lode_json_str(doc, "state", &state, err);
    got = got < 0 ? got : copy_text(doc, "id", &r->id, err);
    got = got < 0 ? got : copy_text(doc, "moved_to", &r->moved_to, err);
    got = got < 0 ? got : copy_text(doc, "store", &r->store, err);
    got = got < 0 ? got : state_index(state, root_states, LODE_ARRAY_LEN(root_states), err);
    if (got >= 0)
        r->state = (enum lode_root_state)got;
    return got < 0 ? got : 0;
}

int lode_root_record_read(const struct lode_coord_kv *kv, struct lode_root_record *out,
                          struct lode_err *err)
{
    _cleanup_root_record_ struct lode_root_record r = {.modified = kv->modified};
    _cleanup_json_ json_t *doc = NULL;
    int got = open_record(kv, &doc, err);
    if (got < 0)
        return got;
    got = read_root(doc, &r, err);
    if (got < 0)
        return damaged(kv, got, err);
    *out = r;
    memset(&r, 0, sizeof r);
    return 0;
}

char *lode_root_record_text(const struct lode_root_record *r)
{
    json_t *doc = json_object();
    bool ok = doc && set_text(doc, "id", r->id) && set_number(doc, "epoch", r->epoch) &&
              set_text(doc, "state", root_states[r->state]) &&
              set_text(doc, "moved_to", r->moved_to) && set_text(doc, "store", r->store);
    if (ok)
        return close_record(doc, NULL);
    json_decref(doc);
    return NULL;
}

void lode_root_record_release(struct lode_root_record *r)
{
    lode_free(r->id);
    lode_free(r->moved_to);
    lode_free(r->store);
    memset(r, 0, sizeof *r);
}

/* ---- model ---- */

static int read_model(json_t *doc, const struct lode_coord_kv *kv, struct lode_model_record *m,
                      struct lode_err *err)
{
    static const char *const names[] = {"ns", "name"};
    int r = put_names(doc, kv, names, 2, err);
    r = r < 0 ? r : lode_model_info_from_json(doc, &m->info, err);
    r = r < 0 ? r : lode_json_u64(doc, "next_entry", &m->next_entry, err);
    return r < 0 ? r : lode_json_opt_i64(doc, "last_when", &m->last_when_ms, err);
}

int lode_model_record_read(const struct lode_coord_kv *kv, struct lode_model_record *out,
                           struct lode_err *err)
{
    _cleanup_model_record_ struct lode_model_record m = {.modified = kv->modified};
    _cleanup_json_ json_t *doc = NULL;
    int r = open_record(kv, &doc, err);
    if (r < 0)
        return r;
    r = read_model(doc, kv, &m, err);
    if (r < 0)
        return damaged(kv, r, err);
    m.info.revision = kv->modified;
    *out = m;
    memset(&m, 0, sizeof m);
    return 0;
}

char *lode_model_record_text(const struct lode_model_record *m)
{
    static const char *const drop[] = {"ns", "name", "revision", NULL};
    uint8_t word[8] = {0};
    char nonce[2 * sizeof word + 1];
    json_t *doc = lode_model_info_to_json(&m->info);
    if (lode_sys->getrandom(word, sizeof word) != sizeof word)
        memset(word, 0, sizeof word);
    bool ok = doc && set_number(doc, "next_entry", m->next_entry) &&
              set_number(doc, "last_when", (uint64_t)m->last_when_ms) &&
              set_text(doc, "nonce", lode_hex(word, sizeof word, nonce));
    if (ok)
        return close_record(doc, drop);
    json_decref(doc);
    return NULL;
}

void lode_model_record_release(struct lode_model_record *m)
{
    lode_model_info_release(&m->info);
    memset(m, 0, sizeof *m);
}

/* Where `alias` stands, or would. */
static size_t alias_place(const struct lode_model_info *info, const char *alias)
{
    size_t at = 0;
    while (at < info->n_aliases && strcmp(info->aliases[at].alias, alias) < 0)
        at++;
    return at;
}

static bool alias_at(const struct lode_model_info *info, size_t at, const char *alias)
{
    return at < info->n_aliases && strcmp(info->aliases[at].alias, alias) == 0;
}

const char *lode_model_alias(const struct lode_model_record *m, const char *alias)
{
    size_t at = alias_place(&m->info, alias);
    return alias_at(&m->info, at, alias) ? m->info.aliases[at].version : NULL;
}

static int add_alias(struct lode_model_info *info, size_t at, const char *alias,
                     struct lode_err *err)
{
    if (info->n_aliases >= LODE_ALIASES_MAX)
        return lode_err_set(err, LODE_LIMIT,
                            "%s has %d aliases, which is the most; remove one first", info->name,
                            LODE_ALIASES_MAX);
    struct lode_alias *grown =
        lode_realloc_array(info->aliases, info->n_aliases + 1, sizeof *grown);
    if (!grown)
        return lode_err_nomem(err, "an alias");
    info->aliases = grown;
    char *copy = lode_strdup(alias);
    if (!copy)
        return lode_err_nomem(err, "an alias");
    memmove(grown + at + 1, grown + at, (info->n_aliases - at) * sizeof *grown);
    grown[at] = (struct lode_alias){copy, NULL};
    info->n_aliases++;
    return 0;
}

int lode_model_set_alias(struct lode_model_record *m, const char *alias, const char *version,
                         struct lode_err *err)
{
    size_t at = alias_place(&m->info, alias);
    _cleanup_free_ char *to = lode_strdup(version);
    if (!to)
        return lode_err_nomem(err, "an alias");
    int r = alias_at(&m->info, at, alias) ? 0 : add_alias(&m->info, at, alias, err);
    if (r < 0)
        return r;
    lode_free(m->info.aliases[at].version);
    m->info.aliases[at].version = lode_steal(to);
    return 0;
}

void lode_model_drop_alias(struct lode_model_record *m, const char *alias)
{
    struct lode_model_info *info = &m->info;
    size_t at = alias_place(info, alias);
    if (!alias_at(info, at, alias))
        return;
    lode_free(info->aliases[at].alias);
    lode_free(info->aliases[at].version);
    memmove(info->aliases + at, info->aliases + at + 1,
            (info->n_aliases - at - 1) * sizeof *info->aliases);
    info->n_aliases--;
}

/* ---- version ---- */

static int read_version(json_t *doc, const struct lode_coord_kv *kv,
                        struct lode_version_record *out, struct lode_err *err)
{
    static const char *const names[] = {"ns", "name", "version"};
    int r = put_names(doc, kv, names, 3, err);
    r = r < 0 ? r : lode_version_from_json(doc, &out->v, err);
    return r < 0 ? r : lode_json_opt_bool(doc, "freed", &out->freed, err);
}

int lode_version_record_read(const struct lode_coord_kv *kv, struct lode_version_record *out,
                             struct lode_err *err)
{
    _cleanup_version_record_ struct lode_version_record v = {.modified = kv->modified};
    _cleanup_json_ json_t *doc = NULL;
    int r = open_record(kv, &doc, err);
    if (r < 0)
        return r;
    r = read_version(doc, kv, &v, err);
    if (r < 0)
        return damaged(kv, r, err);
    *out = v;
    memset(&v, 0, sizeof v);
    return 0;
}

char *lode_version_record_text(const struct lode_version_record *r)
{
    static const char *const drop[] = {"ns",     "name",     "version", "aliases",
                                       "latest", "revision", NULL};
    json_t *doc = lode_version_to_json(&r->v);
    if (doc && r->freed && json_object_set_new(doc, "freed", json_true()) < 0) {
        json_decref(doc);
        return NULL;
    }
    return close_record(doc, drop);
}

void lode_version_record_release(struct lode_version_record *r)
{
    lode_version_release(&r->v);
    memset(r, 0, sizeof *r);
}

/* ---- journal ---- */

static int number_of(const char *digits, uint64_t *out)
{
    uint64_t n = 0;
    for (const char *c = digits; *c; c++) {
        if (*c < '0' || *c > '9' || c - digits > 17)
            return LODE_CORRUPT;
        n = n * 10 + (uint64_t)(*c - '0');
    }
    *out = n;
    return 0;
}

static int read_journal(json_t *doc, const struct lode_coord_kv *kv, struct lode_journal_entry *out,
                        struct lode_err *err)
{
    static const char *const names[] = {"ns", "name"};
    struct lode_key_parts parts;
    uint64_t number = 0;
    int r = put_names(doc, kv, names, 2, err);
    if (r == 0 &&
        (!lode_key_split(kv->key, &parts) || parts.n != 3 || number_of(parts.part[2], &number) < 0))
        r = lode_err_set(err, LODE_CORRUPT, "the key is malformed");
    if (r == 0 && !set_number(doc, "number", number))
        r = lode_err_nomem(err, "a record");
    return r < 0 ? r : lode_journal_entry_from_json(doc, out, err);
}

int lode_journal_record_read(const struct lode_coord_kv *kv, struct lode_journal_entry *out,
                             struct lode_err *err)
{
    _cleanup_json_ json_t *doc = NULL;
    int r = open_record(kv, &doc, err);
    if (r < 0)
        return r;
    r = read_journal(doc, kv, out, err);
    return r < 0 ? damaged(kv, r, err) : 0;
}

char *lode_journal_record_text(const struct lode_journal_entry *e)
{
    static const char *const drop[] = {"ns", "name", "number", "event", NULL};
    return close_record(lode_journal_entry_to_json(e), drop);
}

/* ---- attempts ---- */

static const char *const attempt_states[] = {"live", "kept", "abandoned", "deleted", "taken"};

static int read_attempt(const json_t *doc, struct lode_attempt_record *r, struct lode_err *err)
{
    const char *state, *directory;
    int got = lode_json_str(doc, "state", &state, err);
    got = got < 0 ? got : lode_json_str(doc, "directory", &directory, err);
    got = got < 0 ? got : copy_text(doc, "directory", &r->directory, err);
    got = got < 0 ? got : copy_text(doc, "trash", &r->trash, err);
    got = got < 0 ? got : copy_text(doc, "digest", &r->digest, err);
    got = got < 0 ? got : lode_json_i64(doc, "since", &r->since_ms, err);
    got = got < 0 ? got : lode_json_opt_u64(doc, "size", &r->size, err);
    got = got < 0 ? got : state_index(state, attempt_states, LODE_ARRAY_LEN(attempt_states), err);
    if (got >= 0)
        r->state = (enum lode_attempt_state)got;
    return got < 0 ? got : 0;
}

int lode_attempt_record_read(const struct lode_coord_kv *kv, struct lode_attempt_record *out,
                             struct lode_err *err)
{
    _cleanup_attempt_record_ struct lode_attempt_record r = {.modified = kv->modified};
    _cleanup_json_ json_t *doc = NULL;
    int got = open_record(kv, &doc, err);
    if (got < 0)
        return got;
    got = read_attempt(doc, &r, err);
    if (got < 0)
        return damaged(kv, got, err);
    *out = r;
    memset(&r, 0, sizeof r);
    return 0;
}

char *lode_attempt_record_text(const struct lode_attempt_record *r)
{
    json_t *doc = json_object();
    bool ok = doc && set_text(doc, "state", attempt_states[r->state]) &&
              set_text(doc, "directory", r->directory) && set_text(doc, "trash", r->trash) &&
              set_text(doc, "digest", r->digest) &&
              set_number(doc, "since", (uint64_t)r->since_ms) && set_number(doc, "size", r->size);
    if (ok)
        return close_record(doc, NULL);
    json_decref(doc);
    return NULL;
}

void lode_attempt_record_release(struct lode_attempt_record *r)
{
    lode_free(r->directory);
    lode_free(r->trash);
    lode_free(r->digest);
    memset(r, 0, sizeof *r);
}
