/* Tags and metrics of a request's body: see notes.h. */
#include "server/notes.h"
#include <math.h>
#include "base/mem.h"
#include "base/name.h"

void srv_notes_release(struct srv_notes *n)
{
    lode_free(n->tags);
    lode_free(n->metrics);
}

static int read_tags(const json_t *object, struct srv_notes *out, struct lode_err *err)
{
    const char *key;
    json_t *value;
    if (!object || json_is_null(object))
        return 0;
    if (!json_is_object(object))
        return lode_err_set(err, LODE_INVALID,
                            "tags has to be an object of texts; null removes one");
    out->tags = lode_calloc(json_object_size(object) + 1, sizeof(*out->tags));
    if (!out->tags)
        return lode_err_nomem(err, "tags");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!json_is_null(value) && !json_is_string(value))
            return lode_err_set(err, LODE_INVALID, "tag %s has to be a text, or null to remove it",
                                lode_q(key));
        out->tags[out->n_tags++] =
            (struct lode_tag){(char *)(uintptr_t)key, (char *)(uintptr_t)json_string_value(value)};
    }
    return 0;
}

static int read_metrics(const json_t *object, struct srv_notes *out, struct lode_err *err)
{
    const char *key;
    json_t *value;
    if (!object || json_is_null(object))
        return 0;
    if (!json_is_object(object))
        return lode_err_set(err, LODE_INVALID,
                            "metrics has to be an object of numbers; null removes one");
    out->metrics = lode_calloc(json_object_size(object) + 1, sizeof(*out->metrics));
    if (!out->metrics)
        return lode_err_nomem(err, "metrics");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!json_is_null(value) && !json_is_number(value))
            return lode_err_set(err, LODE_INVALID,
                                "metric %s has to be a number, or null to remove it", lode_q(key));
        out->metrics[out->n_metrics++] = (struct lode_metric){
            (char *)(uintptr_t)key, json_is_null(value) ? NAN : json_number_value(value)};
    }
    return 0;
}

/* What is put is checked by the functions that keep it, on a copy, so that nothing is written for a
 * bad one. */
static int check_notes(const struct srv_notes *n, struct lode_err *err)
{
    struct lode_tag *tags = NULL;
    struct lode_metric *metrics = NULL;
    size_t n_tags = 0, n_metrics = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < n->n_tags; i++)
        r = lode_tags_set(&tags, &n_tags, n->tags[i].key, n->tags[i].value ? n->tags[i].value : "",
                          err);
    for (size_t i = 0; r == 0 && i < n->n_metrics; i++)
        r = lode_metrics_set(&metrics, &n_metrics, n->metrics[i].key,
                             isnan(n->metrics[i].value) ? 0 : n->metrics[i].value, err);
    lode_tags_free(tags, n_tags);
    lode_metrics_free(metrics, n_metrics);
    return r;
}

int srv_notes_read(const json_t *body, struct srv_notes *out, struct lode_err *err)
{
    struct srv_notes notes = {0};
    int r = read_tags(json_object_get(body, "tags"), &notes, err);
    r = r < 0 ? r : read_metrics(json_object_get(body, "metrics"), &notes, err);
    r = r < 0 ? r : check_notes(&notes, err);
    if (r < 0) {
        srv_notes_release(&notes);
        return r;
    }
    *out = notes;
    return 0;
}

void srv_notes_drop_removals(struct srv_notes *notes)
{
    size_t tags = 0, metrics = 0;
    for (size_t i = 0; i < notes->n_tags; i++)
        if (notes->tags[i].value)
            notes->tags[tags++] = notes->tags[i];
    for (size_t i = 0; i < notes->n_metrics; i++)
        if (!isnan(notes->metrics[i].value))
            notes->metrics[metrics++] = notes->metrics[i];
    notes->n_tags = tags;
    notes->n_metrics = metrics;
}
