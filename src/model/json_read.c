/* Reading the JSON of versions, models and journal entries: see model/record.h.
 *
 * Input may come from a server or from a damaged record: unknown keys are ignored, a wrong type or
 * a name that breaks the rules is INVALID, and nothing is written to `out` unless all of it was
 * good.
 */
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "model/record.h"

/* An optional text, copied; NULL when absent or null. */
static int take_text(const json_t *doc, const char *key, char **out, struct lode_err *err)
{
    const char *text = NULL;
    int r = lode_json_opt_str(doc, key, &text, err);
    if (r < 0 || !text)
        return r;
    *out = lode_strdup(text);
    return *out ? 0 : lode_err_nomem(err, "a record");
}

static int need_text(const json_t *doc, const char *key, char **out, struct lode_err *err)
{
    const char *text;
    int r = lode_json_str(doc, key, &text, err);
    if (r < 0)
        return r;
    *out = lode_strdup(text);
    return *out ? 0 : lode_err_nomem(err, "a record");
}

static int take_time(const json_t *doc, const char *key, int64_t *out, struct lode_err *err)
{
    const char *text = NULL;
    int r = lode_json_opt_str(doc, key, &text, err);
    if (r < 0 || !text)
        return r;
    r = lode_time_parse(text, out, err);
    if (r < 0)
        lode_err_prefix(err, "field '%s'", key);
    return r;
}

/* The object or array at `key`; *out NULL when absent or null. */
static int take_container(const json_t *doc, const char *key, bool object, json_t **out,
                          struct lode_err *err)
{
    json_t *v = json_object_get(doc, key);
    *out = NULL;
    if (!v || json_is_null(v))
        return 0;
    if (object ? !json_is_object(v) : !json_is_array(v))
        return lode_err_set(err, LODE_INVALID, "field '%s' must be %s", key,
                            object ? "an object" : "an array");
    *out = v;
    return 0;
}

static int take_tags(const json_t *doc, struct lode_version *v, struct lode_err *err)
{
    const char *key;
    json_t *tags, *value;
    int r = take_container(doc, "tags", true, &tags, err);
    json_object_foreach(tags, key, value)
    {
        if (r == 0 && !json_is_string(value))
            r = lode_err_set(err, LODE_INVALID, "tag %s must be a string", lode_q(key));
        if (r == 0)
            r = lode_tags_set(&v->tags, &v->n_tags, key, json_string_value(value), err);
        if (r < 0)
            return r;
    }
    return r;
}

static int take_metrics(const json_t *doc, struct lode_version *v, struct lode_err *err)
{
    const char *key;
    json_t *metrics, *value;
    int r = take_container(doc, "metrics", true, &metrics, err);
    json_object_foreach(metrics, key, value)
    {
        if (r == 0 && !json_is_number(value))
            r = lode_err_set(err, LODE_INVALID, "metric %s must be a number", lode_q(key));
        if (r == 0)
            r = lode_metrics_set(&v->metrics, &v->n_metrics, key, json_number_value(value), err);
        if (r < 0)
            return r;
    }
    return r;
}

static int take_alias_names(const json_t *doc, struct lode_version *v, struct lode_err *err)
{
    json_t *list;
    int r = take_container(doc, "aliases", false, &list, err);
    size_t n = json_array_size(list);
    if (r < 0 || n == 0)
        return r;
    if (n > LODE_ALIASES_MAX)
        return lode_err_set(err, LODE_LIMIT, "%zu aliases; at most %d are allowed", n,
                            LODE_ALIASES_MAX);
    v->aliases = lode_calloc(n, sizeof *v->aliases);
    if (!v->aliases)
        return lode_err_nomem(err, "aliases");
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!name)
            return lode_err_set(err, LODE_INVALID, "field 'aliases' must hold strings");
        v->aliases[v->n_aliases] = lode_strdup(name);
        if (!v->aliases[v->n_aliases])
            return lode_err_nomem(err, "aliases");
        v->n_aliases++;
    }
    return 0;
}

static int read_identity(const json_t *doc, struct lode_version *v, struct lode_err *err)
{
    const char *state = NULL;
    int r = need_text(doc, "ns", &v->ns, err);
    r = r < 0 ? r : need_text(doc, "name", &v->name, err);
    r = r < 0 ? r : need_text(doc, "version", &v->version, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "seq", &v->seq, err);
    r = r < 0 ? r : lode_json_str(doc, "state", &state, err);
    r = r < 0 ? r : lode_state_of_name(state, &v->state, err);
    r = r < 0 ? r : take_time(doc, "created", &v->created_ms, err);
    r = r < 0 ? r : take_time(doc, "deleted", &v->deleted_ms, err);
    r = r < 0 ? r : take_text(doc, "author", &v->author, err);
    return r < 0 ? r : take_text(doc, "why", &v->why, err);
}

static int read_contents(const json_t *doc, struct lode_version *v, struct lode_err *err)
{
    int r = lode_json_opt_u64(doc, "size", &v->size, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "files", &v->files, err);
    r = r < 0 ? r : take_text(doc, "format", &v->format, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "tensors", &v->tensors, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "parameters", &v->parameters, err);
    r = r < 0 ? r : take_text(doc, "digest", &v->digest, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "manifest_size", &v->manifest_size, err);
    r = r < 0 ? r : take_text(doc, "parent", &v->parent, err);
    return r < 0 ? r : take_text(doc, "replication", &v->replication, err);
}

static int read_place(const json_t *doc, struct lode_version *v, struct lode_err *err)
{
    int r = lode_json_opt_bool(doc, "latest", &v->latest, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "attempt", &v->attempt, err);
    r = r < 0 ? r : take_text(doc, "directory", &v->directory, err);
    return r < 0 ? r : lode_json_opt_u64(doc, "revision", &v->revision, err);
}

int lode_version_from_json(const json_t *doc, struct lode_version *out, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    int r = read_identity(doc, &v, err);
    r = r < 0 ? r : read_contents(doc, &v, err);
    r = r < 0 ? r : take_tags(doc, &v, err);
    r = r < 0 ? r : take_metrics(doc, &v, err);
    r = r < 0 ? r : take_alias_names(doc, &v, err);
    r = r < 0 ? r : read_place(doc, &v, err);
    if (r < 0)
        return r;
    *out = v;
    memset(&v, 0, sizeof v);
    return 0;
}

static int order_aliases(const void *a, const void *b)
{
    return strcmp(((const struct lode_alias *)a)->alias, ((const struct lode_alias *)b)->alias);
}

static int take_aliases(const json_t *doc, struct lode_model_info *m, struct lode_err *err)
{
    const char *key;
    json_t *aliases, *value;
    int r = take_container(doc, "aliases", true, &aliases, err);
    size_t n = json_object_size(aliases);
    if (r < 0 || n == 0)
        return r;
    if (n > LODE_ALIASES_MAX)
        return lode_err_set(err, LODE_LIMIT, "%zu aliases; at most %d are allowed", n,
                            LODE_ALIASES_MAX);
    m->aliases = lode_calloc(n, sizeof *m->aliases);
    if (!m->aliases)
        return lode_err_nomem(err, "aliases");
    json_object_foreach(aliases, key, value)
    {
        if (!json_is_string(value))
            return lode_err_set(err, LODE_INVALID, "alias %s must be a version's name",
                                lode_q(key));
        struct lode_alias *at = &m->aliases[m->n_aliases++];
        at->alias = lode_strdup(key);
        at->version = lode_strdup(json_string_value(value));
        if (!at->alias || !at->version)
            return lode_err_nomem(err, "aliases");
    }
    qsort(m->aliases, m->n_aliases, sizeof *m->aliases, order_aliases);
    return 0;
}

int lode_model_info_from_json(const json_t *doc, struct lode_model_info *out, struct lode_err *err)
{
    _cleanup_model_info_ struct lode_model_info m = {0};
    int r = need_text(doc, "ns", &m.ns, err);
    r = r < 0 ? r : need_text(doc, "name", &m.name, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "versions", &m.versions, err);
    r = r < 0 ? r : take_text(doc, "latest", &m.latest, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "latest_seq", &m.latest_seq, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "next_seq", &m.next_seq, err);
    r = r < 0 ? r : take_time(doc, "created", &m.created_ms, err);
    r = r < 0 ? r : take_time(doc, "updated", &m.updated_ms, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "revision", &m.revision, err);
    r = r < 0 ? r : take_aliases(doc, &m, err);
    if (r < 0)
        return r;
    *out = m;
    memset(&m, 0, sizeof m);
    return 0;
}

int lode_journal_entry_from_json(const json_t *doc, struct lode_journal_entry *out,
                                 struct lode_err *err)
{
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    const char *change = NULL;
    int r = need_text(doc, "ns", &e.ns, err);
    r = r < 0 ? r : need_text(doc, "name", &e.name, err);
    r = r < 0 ? r : lode_json_u64(doc, "number", &e.number, err);
    r = r < 0 ? r : take_time(doc, "when", &e.when_ms, err);
    r = r < 0 ? r : lode_json_str(doc, "change", &change, err);
    r = r < 0 ? r : lode_change_of_name(change, &e.change, err);
    r = r < 0 ? r : take_text(doc, "who", &e.who, err);
    r = r < 0 ? r : take_text(doc, "why", &e.why, err);
    r = r < 0 ? r : take_text(doc, "alias", &e.alias, err);
    r = r < 0 ? r : take_text(doc, "from", &e.from, err);
    r = r < 0 ? r : take_text(doc, "to", &e.to, err);
    r = r < 0 ? r : take_text(doc, "event", &e.event, err);
    if (r < 0)
        return r;
    *out = e;
    memset(&e, 0, sizeof e);
    return 0;
}

/* ---- pages ---- */

/* The array of a page, its token and revision, and zeroed memory for its elements. */
static int read_page(const json_t *doc, const char *key, size_t size, void **items, json_t **list,
                     char **next, uint64_t *revision, struct lode_err *err)
{
    int r = lode_json_arr(doc, key, list, err);
    r = r < 0 ? r : take_text(doc, "next", next, err);
    r = r < 0 ? r : lode_json_opt_u64(doc, "revision", revision, err);
    if (r < 0)
        return r;
    *items = lode_calloc(json_array_size(*list), size);
    return *items ? 0 : lode_err_nomem(err, "a page");
}

int lode_versions_from_json(const json_t *doc, struct lode_versions *out, struct lode_err *err)
{
    _cleanup_versions_ struct lode_versions p = {0};
    json_t *list;
    int r = read_page(doc, "versions", sizeof *p.items, (void **)&p.items, &list, &p.next,
                      &p.revision, err);
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++, p.n++) {
        r = lode_version_from_json(json_array_get(list, i), &p.items[i], err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    *out = p;
    memset(&p, 0, sizeof p);
    return 0;
}

int lode_models_from_json(const json_t *doc, struct lode_models *out, struct lode_err *err)
{
    _cleanup_models_ struct lode_models p = {0};
    json_t *list;
    int r = read_page(doc, "models", sizeof *p.items, (void **)&p.items, &list, &p.next,
                      &p.revision, err);
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++, p.n++) {
        r = lode_model_info_from_json(json_array_get(list, i), &p.items[i], err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    *out = p;
    memset(&p, 0, sizeof p);
    return 0;
}

int lode_journal_from_json(const json_t *doc, struct lode_journal *out, struct lode_err *err)
{
    _cleanup_journal_ struct lode_journal p = {0};
    json_t *list;
    int r = read_page(doc, "entries", sizeof *p.items, (void **)&p.items, &list, &p.next,
                      &p.revision, err);
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++, p.n++) {
        r = lode_journal_entry_from_json(json_array_get(list, i), &p.items[i], err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    *out = p;
    memset(&p, 0, sizeof p);
    return 0;
}

/* ---- copies ---- */

int lode_version_copy(const struct lode_version *v, struct lode_version *out, struct lode_err *err)
{
    _cleanup_json_ json_t *doc = lode_version_to_json(v);
    return doc ? lode_version_from_json(doc, out, err) : lode_err_nomem(err, "a copy of a version");
}
