/* What a filter means: see catalog/filter.h. This is the definition; the SQL of filter_sql.c must
 * agree with it. */
#include <string.h>
#include "base/attr.h"
#include "base/plant.h"
#include "catalog/filter.h"

/* ---- LIKE ---- */

static size_t code_point(const char *at, size_t len)
{
    unsigned char c = (unsigned char)*at;
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return lode_min(n, len);
}

static char folded(char c, bool fold)
{
    return fold && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* One element of a pattern against the text: bytes of both that it takes. False if it does not
 * match. */
static bool element(const char *p, size_t pn, const char *t, size_t tn, bool fold, size_t *used_p,
                    size_t *used_t)
{
    if (tn == 0)
        return false;
    *used_p = *used_t = 1;
    if (*p == '_') {
        *used_t = code_point(t, tn);
        return true;
    }
    if (*p == '\\' && pn > 1) {
        p++;
        *used_p = 2;
    }
    return folded(*p, fold) == folded(*t, fold);
}

bool lode_like(const char *pattern, size_t pn, const char *text, size_t tn, bool fold)
{
    size_t p = 0, t = 0, star = SIZE_MAX, from = 0;
    while (t < tn || p < pn) {
        size_t up, ut;
        if (p < pn && pattern[p] == '%') {
            star = ++p;
            from = t;
        } else if (p < pn && element(pattern + p, pn - p, text + t, tn - t, fold, &up, &ut)) {
            p += up;
            t += ut;
        } else if (star != SIZE_MAX && from < tn) {
            from += code_point(text + from, tn - from); /* the last % takes one more */
            p = star;
            t = from;
        } else {
            return false;
        }
    }
    return true;
}

/* ---- fields ---- */

struct value {
    bool there;
    const char *text;
    size_t len;
    long double number; /* holds every integer of 64 bits exactly */
};

static struct value text_value(const char *text)
{
    return (struct value){.there = text != NULL, .text = text, .len = text ? strlen(text) : 0};
}

static struct value number_value(uint64_t number, bool there)
{
    return (struct value){.there = there, .number = (long double)number};
}

static struct value tag_value(const struct lode_version *v, const char *key)
{
    for (size_t i = 0; i < v->n_tags; i++) {
        if (strcmp(v->tags[i].key, key) == 0)
            return text_value(v->tags[i].value);
    }
    return (struct value){0};
}

static struct value metric_value(const struct lode_version *v, const char *key)
{
    for (size_t i = 0; i < v->n_metrics; i++) {
        if (strcmp(v->metrics[i].key, key) == 0)
            return (struct value){.there = true, .number = v->metrics[i].value};
    }
    return (struct value){0};
}

static struct value field_value(const struct lode_version *v, const struct lode_field *f)
{
    switch (f->kind) {
    case LODE_FIELD_NAME:
        return text_value(v->name);
    case LODE_FIELD_VERSION:
        return text_value(v->version);
    case LODE_FIELD_FORMAT:
        return text_value(v->format);
    case LODE_FIELD_STATE:
        return text_value(lode_state_name(v->state));
    case LODE_FIELD_SEQ:
        return number_value(v->seq, v->seq != 0);
    case LODE_FIELD_CREATED:
        return (struct value){.there = true, .number = v->created_ms};
    case LODE_FIELD_SIZE:
        return number_value(v->size, true);
    case LODE_FIELD_PARAMETERS:
        return number_value(v->parameters, true);
    case LODE_FIELD_TAG:
        return tag_value(v, f->key);
    case LODE_FIELD_METRIC:
        return metric_value(v, f->key);
    }
    return (struct value){0};
}

/* ---- comparisons ---- */

static int order_text(const struct value *v, const struct lode_filter_value *w)
{
    int order = memcmp(v->text, w->text, lode_min(v->len, w->len));
    return order ? order : v->len < w->len ? -1 : v->len > w->len;
}

static int order(const struct value *v, const struct lode_filter_value *w)
{
    if (w->text)
        return order_text(v, w);
    return v->number < w->number ? -1 : v->number > w->number;
}

static bool is_in(const struct lode_filter_node *n, const struct value *v)
{
    for (size_t i = 0; i < n->n_values; i++) {
        if (order(v, &n->values[i]) == 0)
            return true;
    }
    return false;
}

static bool compare(const struct lode_filter_node *n, const struct lode_version *version)
{
    struct value v = field_value(version, &n->field);
    const struct lode_filter_value *w = &n->values[0];
    if (!v.there)
        return LODE_PLANTED(catalog_missing_differs) && n->op == LODE_FILTER_NE;
    switch (n->op) {
    case LODE_FILTER_EQ:
        return order(&v, w) == 0;
    case LODE_FILTER_NE:
        return order(&v, w) != 0;
    case LODE_FILTER_LT:
        return order(&v, w) < 0;
    case LODE_FILTER_LE:
        return order(&v, w) <= 0;
    case LODE_FILTER_GT:
        return order(&v, w) > 0;
    case LODE_FILTER_GE:
        return order(&v, w) >= 0;
    case LODE_FILTER_IN:
        return is_in(n, &v);
    case LODE_FILTER_LIKE:
    case LODE_FILTER_ILIKE:
        return lode_like(w->text, w->len, v.text, v.len, n->op == LODE_FILTER_ILIKE);
    default:
        return false;
    }
}

bool lode_filter_match(const struct lode_filter_node *n, const struct lode_version *v)
{
    switch (n->op) {
    case LODE_FILTER_AND:
        return lode_filter_match(n->a, v) && lode_filter_match(n->b, v);
    case LODE_FILTER_OR:
        return lode_filter_match(n->a, v) || lode_filter_match(n->b, v);
    case LODE_FILTER_NOT:
        return !lode_filter_match(n->a, v);
    default:
        return compare(n, v);
    }
}
