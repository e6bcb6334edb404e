/* Versions, models and journal entries as JSON: see model/record.h and docs/formats/json.md.
 *
 * Every key is always there; what is not known is null, so that a reader needs no guard for missing
 * keys. A failed allocation is remembered in `struct maker` and answered once, at the end.
 */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "model/record.h"

struct maker {
    json_t *doc;
    bool failed;
};

static void put(struct maker *m, const char *key, json_t *value)
{
    if (!m->doc)
        json_decref(value); /* what is set is taken, what cannot be set must go all the same */
    if (!value || !m->doc || json_object_set_new_nocheck(m->doc, key, value) < 0)
        m->failed = true;
}

static void put_text(struct maker *m, const char *key, const char *text)
{
    put(m, key, text ? json_string(text) : json_null());
}

static void put_number(struct maker *m, const char *key, uint64_t number)
{
    put(m, key, json_integer((json_int_t)number));
}

/* 0 is "not known". */
static void put_time(struct maker *m, const char *key, int64_t ms)
{
    char text[LODE_TIME_TEXT];
    put(m, key, ms ? json_string(lode_time_rfc3339(ms, text)) : json_null());
}

static json_t *finish(struct maker *m)
{
    if (m->failed) {
        json_decref(m->doc);
        return NULL;
    }
    return m->doc;
}

static json_t *tags_json(const struct lode_tag *tags, size_t n)
{
    struct maker m = {json_object(), false};
    for (size_t i = 0; i < n; i++)
        put_text(&m, tags[i].key, tags[i].value);
    return finish(&m);
}

static json_t *metrics_json(const struct lode_metric *metrics, size_t n)
{
    struct maker m = {json_object(), false};
    for (size_t i = 0; i < n; i++)
        put(&m, metrics[i].key, json_real(metrics[i].value));
    return finish(&m);
}

static json_t *names_json(char *const *names, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        if (json_array_append_new(list, json_string(names[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static void put_identity(struct maker *m, const struct lode_version *v)
{
    put_text(m, "ns", v->ns);
    put_text(m, "name", v->name);
    put_text(m, "version", v->version);
    put_number(m, "seq", v->seq);
    put_text(m, "state", lode_state_name(v->state));
    put_time(m, "created", v->created_ms);
    put_time(m, "deleted", v->deleted_ms);
    put_text(m, "author", v->author);
    put_text(m, "why", v->why);
}

static void put_contents(struct maker *m, const struct lode_version *v)
{
    put_number(m, "size", v->size);
    put_number(m, "files", v->files);
    put_text(m, "format", v->format);
    put_number(m, "tensors", v->tensors);
    put_number(m, "parameters", v->parameters);
    put_text(m, "digest", v->digest);
    put_number(m, "manifest_size", v->manifest_size);
}

json_t *lode_version_to_json(const struct lode_version *v)
{
    struct maker m = {json_object(), false};
    put_identity(&m, v);
    put_contents(&m, v);
    put_text(&m, "parent", v->parent);
    put_text(&m, "replication", v->replication);
    put(&m, "tags", tags_json(v->tags, v->n_tags));
    put(&m, "metrics", metrics_json(v->metrics, v->n_metrics));
    put(&m, "aliases", names_json(v->aliases, v->n_aliases));
    put(&m, "latest", json_boolean(v->latest));
    put_number(&m, "attempt", v->attempt);
    put_text(&m, "directory", v->directory);
    put_number(&m, "revision", v->revision);
    return finish(&m);
}

json_t *lode_model_info_to_json(const struct lode_model_info *info)
{
    struct maker aliases = {json_object(), false};
    for (size_t i = 0; i < info->n_aliases; i++)
        put_text(&aliases, info->aliases[i].alias, info->aliases[i].version);
    struct maker m = {json_object(), false};
    put_text(&m, "ns", info->ns);
    put_text(&m, "name", info->name);
    put_number(&m, "versions", info->versions);
    put_text(&m, "latest", info->latest);
    put_number(&m, "latest_seq", info->latest_seq);
    put_number(&m, "next_seq", info->next_seq);
    put_time(&m, "created", info->created_ms);
    put_time(&m, "updated", info->updated_ms);
    put(&m, "aliases", finish(&aliases));
    put_number(&m, "revision", info->revision);
    return finish(&m);
}

json_t *lode_journal_entry_to_json(const struct lode_journal_entry *e)
{
    struct maker m = {json_object(), false};
    put_text(&m, "ns", e->ns);
    put_text(&m, "name", e->name);
    put_number(&m, "number", e->number);
    put_time(&m, "when", e->when_ms);
    put_text(&m, "change", lode_change_name(e->change));
    put_text(&m, "who", e->who);
    put_text(&m, "why", e->why);
    put_text(&m, "alias", e->alias);
    put_text(&m, "from", e->from);
    put_text(&m, "to", e->to);
    put_text(&m, "event", e->event);
    return finish(&m);
}

/* {"<key>": [...], "next": ..., "revision": n}; takes `list`. */
static json_t *page_json(const char *key, json_t *list, const char *next, uint64_t revision)
{
    struct maker m = {json_object(), false};
    put(&m, key, list);
    put_text(&m, "next", next);
    put_number(&m, "revision", revision);
    return finish(&m);
}

/* Appends and answers the list, or drops it and answers NULL. */
static json_t *append(json_t *list, json_t *item)
{
    if (list && json_array_append_new(list, item) == 0)
        return list;
    json_decref(list);
    return NULL;
}

json_t *lode_versions_to_json(const struct lode_versions *p)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < p->n; i++)
        list = append(list, lode_version_to_json(&p->items[i]));
    return page_json("versions", list, p->next, p->revision);
}

json_t *lode_models_to_json(const struct lode_models *p)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < p->n; i++)
        list = append(list, lode_model_info_to_json(&p->items[i]));
    return page_json("models", list, p->next, p->revision);
}

json_t *lode_journal_to_json(const struct lode_journal *p)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < p->n; i++)
        list = append(list, lode_journal_entry_to_json(&p->items[i]));
    return page_json("entries", list, p->next, p->revision);
}

/* Takes `doc`. */
static char *text_of(json_t *doc)
{
    char *text = doc ? lode_json_text(doc, NULL) : NULL;
    json_decref(doc);
    return text;
}

char *lode_version_json(const struct lode_version *v)
{
    return text_of(lode_version_to_json(v));
}

char *lode_model_info_json(const struct lode_model_info *m)
{
    return text_of(lode_model_info_to_json(m));
}

char *lode_journal_entry_json(const struct lode_journal_entry *e)
{
    return text_of(lode_journal_entry_to_json(e));
}
