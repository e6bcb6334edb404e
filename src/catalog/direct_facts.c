/* Small facts about a committed version: tags, metrics, and readers' leases. Its bytes never
 * change. */
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "catalog/direct.h"

#define READER_MAX 100 /* bytes of a reader's name: a key holds it behind three others */

struct facts {
    struct lode_direct *d;
    const struct lode_version *version;
    const struct lode_tag *tags;
    size_t n_tags;
    const struct lode_metric *metrics;
    size_t n_metrics;
};

static int apply(const struct facts *f, struct lode_version *v, struct lode_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < f->n_tags; i++) {
        if (f->tags[i].value)
            r = lode_tags_set(&v->tags, &v->n_tags, f->tags[i].key, f->tags[i].value, err);
        else
            lode_tags_remove(v->tags, &v->n_tags, f->tags[i].key);
    }
    for (size_t i = 0; r == 0 && i < f->n_metrics; i++) {
        if (isnan(f->metrics[i].value))
            lode_metrics_remove(v->metrics, &v->n_metrics, f->metrics[i].key);
        else
            r = lode_metrics_set(&v->metrics, &v->n_metrics, f->metrics[i].key, f->metrics[i].value,
                                 err);
    }
    return r;
}

static int get_committed(struct lode_direct *d, const struct lode_version *version,
                         struct lode_version_record *out, struct lode_err *err)
{
    int r = lode_direct_get_version(d, version->ns, version->name, version->version, out, err);
    if (r < 0)
        return r;
    if (out->modified == 0)
        return lode_err_set(err, LODE_NOT_FOUND, "no version %s of %s", version->version,
                            lode_model_q(version->ns, version->name));
    return out->v.state == LODE_COMMITTED ? 0 : lode_direct_wrong_state(&out->v, err);
}

static int annotate_once(const struct facts *f, struct lode_version *out, struct lode_err *err)
{
    _cleanup_change_ struct lode_change_set c = {0};
    _cleanup_version_record_ struct lode_version_record v = {0};
    _cleanup_model_record_ struct lode_model_record m = {0};
    uint64_t revision;
    int r = get_committed(f->d, f->version, &v, err);
    r = r < 0 ? r : apply(f, &v.v, err);
    r = r < 0 ? r : lode_direct_get_model(f->d, f->version->ns, f->version->name, &m, err);
    if (r < 0)
        return r;
    lode_change_begin(&c, f->d);
    lode_change_version(&c, &v);
    lode_change_witness(&c);
    r = lode_change_run(&c, &revision, err);
    if (r == LODE_LIMIT)
        return lode_err_set(
            err, LODE_LIMIT,
            "the tags and metrics of one version may take at most %d bytes together",
            LODE_COORD_VALUE_MAX);
    return r != 0 ? r : lode_direct_show(f->d, &v, &m, out, err);
}

int lode_direct_annotate(struct lode_catalog *catalog, const struct lode_version *version,
                         const struct lode_tag *tags, size_t n_tags,
                         const struct lode_metric *metrics, size_t n_metrics,
                         const struct lode_act *act, struct lode_version *out, struct lode_err *err)
{
    const struct facts f = {
        (struct lode_direct *)(void *)catalog, version, tags, n_tags, metrics, n_metrics};
    int r = lode_direct_check_names(version->ns, version->name, version->version, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < LODE_TRIES; i++) {
        if (i)
            lode_direct_backoff(i);
        r = annotate_once(&f, out, err);
        if (r != LODE_AGAIN)
            return r;
    }
    return lode_direct_gave_up(version->version, err);
}

/* ---- readers' leases ---- */

static int lease_once(struct lode_direct *d, const struct lode_version *version, const char *reader,
                      struct lode_lease *lease, struct lode_err *err)
{
    _cleanup_change_ struct lode_change_set c = {0};
    _cleanup_version_record_ struct lode_version_record v = {0};
    uint64_t revision;
    int r = get_committed(d, version, &v, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *prefix = lode_key_leases(version->ns, version->name, version->version);
    lode_change_begin(&c, d);
    lode_change_expect(&c, lode_key_version(version->ns, version->name, version->version),
                       v.modified);
    lode_change_put(&c, prefix ? lode_asprintf("%s%s", prefix, reader) : NULL,
                    lode_strdup("{\"schema\":1}"), lode_lease_id(lease));
    return lode_change_run(&c, &revision, err);
}

int lode_direct_lease(struct lode_catalog *catalog, const struct lode_version *version,
                      const char *reader, struct lode_lease *lease, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    int r = lode_direct_check_names(version->ns, version->name, version->version, err);
    if (r < 0)
        return r;
    if (!lode_name_ok(reader, strlen(reader)) || strlen(reader) > READER_MAX)
        return lode_err_set(err, LODE_INVALID,
                            "%s cannot name a reader: 1 to %d letters, digits, '.', '_' and '-'",
                            lode_q(reader), READER_MAX);
    for (unsigned i = 0; i < LODE_TRIES; i++) {
        if (i)
            lode_direct_backoff(i);
        r = lease_once(self, version, reader, lease, err);
        if (r != LODE_AGAIN)
            return r;
    }
    return lode_direct_gave_up(version->version, err);
}
