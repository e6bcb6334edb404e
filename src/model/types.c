/* The structures of <lode/types.h>: their names, their release, and the sorted lists of tags and
 * metrics.
 *
 * Releasing leaves a zeroed structure behind, so that releasing twice is safe.
 */
#include <lode/types.h>
#include <math.h>
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "model/record.h"

static const char *const state_names[] = {"staging", "publishing", "committed", "deleted"};
static const char *const change_names[] = {"commit", "alias_set", "alias_remove", "delete",
                                           "restore"};

const char *lode_state_name(enum lode_state state)
{
    return (unsigned)state < LODE_ARRAY_LEN(state_names) ? state_names[state] : "unknown";
}

const char *lode_change_name(enum lode_change change)
{
    return (unsigned)change < LODE_ARRAY_LEN(change_names) ? change_names[change] : "unknown";
}

int lode_state_of_name(const char *name, enum lode_state *out, struct lode_err *err)
{
    for (unsigned i = 0; i < LODE_ARRAY_LEN(state_names); i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *out = (enum lode_state)i;
            return 0;
        }
    }
    return lode_err_set(err, LODE_INVALID,
                        "%s is no state; states are staging, publishing, committed, deleted",
                        lode_q(name));
}

int lode_change_of_name(const char *name, enum lode_change *out, struct lode_err *err)
{
    for (unsigned i = 0; i < LODE_ARRAY_LEN(change_names); i++) {
        if (strcmp(name, change_names[i]) == 0) {
            *out = (enum lode_change)i;
            return 0;
        }
    }
    return lode_err_set(err, LODE_INVALID, "%s is no change of a journal", lode_q(name));
}

void lode_string_free(char *s)
{
    lode_free(s);
}

void lode_tags_free(struct lode_tag *tags, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        lode_free(tags[i].key);
        lode_free(tags[i].value);
    }
    lode_free(tags);
}

void lode_metrics_free(struct lode_metric *metrics, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lode_free(metrics[i].key);
    lode_free(metrics);
}

void lode_version_release(struct lode_version *v)
{
    char *const strings[] = {v->ns,     v->name,   v->version, v->author,      v->why,
                             v->format, v->digest, v->parent,  v->replication, v->directory};
    for (size_t i = 0; i < LODE_ARRAY_LEN(strings); i++)
        lode_free(strings[i]);
    lode_tags_free(v->tags, v->n_tags);
    lode_metrics_free(v->metrics, v->n_metrics);
    for (size_t i = 0; i < v->n_aliases; i++)
        lode_free(v->aliases[i]);
    lode_free(v->aliases);
    memset(v, 0, sizeof *v);
}

void lode_model_info_release(struct lode_model_info *m)
{
    lode_free(m->ns);
    lode_free(m->name);
    lode_free(m->latest);
    for (size_t i = 0; i < m->n_aliases; i++) {
        lode_free(m->aliases[i].alias);
        lode_free(m->aliases[i].version);
    }
    lode_free(m->aliases);
    memset(m, 0, sizeof *m);
}

void lode_journal_entry_release(struct lode_journal_entry *e)
{
    char *const strings[] = {e->ns, e->name, e->who, e->why, e->alias, e->from, e->to, e->event};
    for (size_t i = 0; i < LODE_ARRAY_LEN(strings); i++)
        lode_free(strings[i]);
    memset(e, 0, sizeof *e);
}

void lode_versions_release(struct lode_versions *p)
{
    for (size_t i = 0; i < p->n; i++)
        lode_version_release(&p->items[i]);
    lode_free(p->items);
    lode_free(p->next);
    memset(p, 0, sizeof *p);
}

void lode_models_release(struct lode_models *p)
{
    for (size_t i = 0; i < p->n; i++)
        lode_model_info_release(&p->items[i]);
    lode_free(p->items);
    lode_free(p->next);
    memset(p, 0, sizeof *p);
}

void lode_journal_release(struct lode_journal *p)
{
    for (size_t i = 0; i < p->n; i++)
        lode_journal_entry_release(&p->items[i]);
    lode_free(p->items);
    lode_free(p->next);
    memset(p, 0, sizeof *p);
}

/* ---- tags and metrics ---- */

static int check_key(const char *what, const char *key, struct lode_err *err)
{
    size_t len = strlen(key);
    if (len == 0 || len > LODE_TAG_KEY_MAX)
        return lode_err_set(err, LODE_INVALID, "%s key %s is %zu bytes long; 1 to %d are allowed",
                            what, lode_q(key), len, LODE_TAG_KEY_MAX);
    if (lode_utf8_valid(key, len) != len)
        return lode_err_set(err, LODE_INVALID, "%s key %s is not valid UTF-8", what, lode_q(key));
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)key[i];
        bool c1 = c == 0xc2 && (unsigned char)key[i + 1] < 0xa0;
        if (c < 0x20 || c == 0x7f || c1)
            return lode_err_set(err, LODE_INVALID, "%s key %s holds a control character", what,
                                lode_q(key));
    }
    return 0;
}

static int check_value(const char *key, const char *value, struct lode_err *err)
{
    size_t len = strlen(value);
    if (len > LODE_TAG_VALUE_MAX)
        return lode_err_set(err, LODE_LIMIT,
                            "the value of tag %s is %zu bytes long; at most %d are allowed",
                            lode_q(key), len, LODE_TAG_VALUE_MAX);
    if (lode_utf8_valid(value, len) != len)
        return lode_err_set(err, LODE_INVALID, "the value of tag %s is not valid UTF-8",
                            lode_q(key));
    return 0;
}

/* The place of `key` in a list of n elements sorted by key, which stands first in each; *found if
 * it is there. */
static size_t place_of(const void *items, size_t n, size_t size, const char *key, bool *found)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const char *at = *(char *const *)(const void *)((const char *)items + mid * size);
        int order = strcmp(at, key);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found = false;
    return lo;
}

/* Makes room for one more element at `at`. */
static int open_gap(void **items, size_t n, size_t size, size_t at, const char *what,
                    struct lode_err *err)
{
    if (n >= LODE_TAGS_MAX)
        return lode_err_set(err, LODE_LIMIT, "a version has at most %d %ss", LODE_TAGS_MAX, what);
    char *grown = lode_realloc_array(*items, n + 1, size);
    if (!grown)
        return lode_err_nomem(err, what);
    memmove(grown + (at + 1) * size, grown + at * size, (n - at) * size);
    memset(grown + at * size, 0, size);
    *items = grown;
    return 0;
}

int lode_tags_set(struct lode_tag **tags, size_t *n, const char *key, const char *value,
                  struct lode_err *err)
{
    bool found;
    int r = check_key("tag", key, err);
    if (r == 0)
        r = check_value(key, value, err);
    if (r < 0)
        return r;
    size_t at = place_of(*tags, *n, sizeof **tags, key, &found);
    _cleanup_free_ char *text = lode_strdup(value);
    _cleanup_free_ char *name = found ? NULL : lode_strdup(key);
    if (!text || (!found && !name))
        return lode_err_nomem(err, "a tag");
    if (!found) {
        r = open_gap((void **)tags, *n, sizeof **tags, at, "tag", err);
        if (r < 0)
            return r;
        (*tags)[at].key = lode_steal(name);
        (*n)++;
    }
    lode_free((*tags)[at].value);
    (*tags)[at].value = lode_steal(text);
    return 0;
}

int lode_metrics_set(struct lode_metric **metrics, size_t *n, const char *key, double value,
                     struct lode_err *err)
{
    bool found;
    int r = check_key("metric", key, err);
    if (r < 0)
        return r;
    if (!isfinite(value))
        return lode_err_set(err, LODE_INVALID, "metric %s is not a finite number", lode_q(key));
    size_t at = place_of(*metrics, *n, sizeof **metrics, key, &found);
    if (!found) {
        _cleanup_free_ char *name = lode_strdup(key);
        if (!name)
            return lode_err_nomem(err, "a metric");
        r = open_gap((void **)metrics, *n, sizeof **metrics, at, "metric", err);
        if (r < 0)
            return r;
        (*metrics)[at].key = lode_steal(name);
        (*n)++;
    }
    (*metrics)[at].value = value;
    return 0;
}

bool lode_tags_remove(struct lode_tag *tags, size_t *n, const char *key)
{
    bool found;
    size_t at = place_of(tags, *n, sizeof *tags, key, &found);
    if (!found)
        return false;
    lode_free(tags[at].key);
    lode_free(tags[at].value);
    memmove(tags + at, tags + at + 1, (*n - at - 1) * sizeof *tags);
    (*n)--;
    return true;
}

bool lode_metrics_remove(struct lode_metric *metrics, size_t *n, const char *key)
{
    bool found;
    size_t at = place_of(metrics, *n, sizeof *metrics, key, &found);
    if (!found)
        return false;
    lode_free(metrics[at].key);
    memmove(metrics + at, metrics + at + 1, (*n - at - 1) * sizeof *metrics);
    (*n)--;
    return true;
}
