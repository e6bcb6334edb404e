/* What to say when something is not there: what is, and what was perhaps meant. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "catalog/direct.h"

#define NEAR 2 /* typing errors forgiven */
#define MODELS_LOOKED_AT 1000

/* Remembers the nearest of many names. */
struct nearest {
    const char *wanted;
    char best[LODE_NAME_MAX + 1];
    unsigned distance;
};

static void consider(struct nearest *n, const char *name)
{
    unsigned d = lode_name_distance(n->wanted, name);
    size_t len = strlen(name);
    if (d < n->distance && len < sizeof n->best) {
        memcpy(n->best, name, len + 1);
        n->distance = d;
    }
}

/* The nearest model of the namespace, as text to add; "" when none is near. */
static void nearest_model(struct lode_direct *self, const char *ns, struct nearest *n)
{
    _cleanup_kvs_ struct lode_coord_kvs models = {0};
    _cleanup_free_ char *prefix = lode_asprintf(LODE_KEY_MODELS "%s/", ns);
    if (!prefix || lode_coord_range(self->coord, prefix, NULL, MODELS_LOOKED_AT, &models, NULL) < 0)
        return;
    for (size_t i = 0; i < models.n; i++)
        consider(n, models.items[i].key + strlen(prefix));
}

int lode_direct_no_model(struct lode_direct *self, const char *ns, const char *name,
                         struct lode_err *err)
{
    struct nearest n = {.wanted = name, .distance = NEAR + 1};
    if (err)
        nearest_model(self, ns, &n);
    if (n.best[0] && strcmp(n.best, name) != 0)
        return lode_err_set(err, LODE_NOT_FOUND, "no model %s; did you mean %s?",
                            lode_model_q(ns, name), lode_model_q(ns, n.best));
    return lode_err_set(err, LODE_NOT_FOUND, "no model %s; `lode ls` shows what there is",
                        lode_model_q(ns, name));
}

static void list_aliases(const struct lode_model_info *info, struct lode_buf *out)
{
    for (size_t i = 0; i < info->n_aliases && i < 8; i++)
        lode_buf_addf(out, "%s%s", i ? ", " : "; aliases: ", info->aliases[i].alias);
}

int lode_direct_no_version(const struct lode_model_record *m, const struct lode_ref *ref,
                           struct lode_err *err)
{
    const char *model = lode_model_q(m->info.ns, m->info.name);
    _cleanup_buf_ struct lode_buf more = LODE_BUF_INIT(2048);
    if (!m->info.latest)
        return lode_err_set(err, LODE_NOT_FOUND, "%s has no version (any more)", model);
    if (ref->kind == LODE_REV_SEQ)
        return lode_err_set(err, LODE_NOT_FOUND, "no version %llu of %s; newest is %llu (%s)",
                            (unsigned long long)ref->seq, model,
                            (unsigned long long)m->info.latest_seq, m->info.latest);
    struct nearest n = {.wanted = ref->rev, .distance = NEAR + 1};
    for (size_t i = 0; i < m->info.n_aliases; i++)
        consider(&n, m->info.aliases[i].alias);
    consider(&n, m->info.latest);
    consider(&n, "latest");
    list_aliases(&m->info, &more);
    if (n.best[0])
        lode_buf_addf(&more, "; did you mean %s?", n.best);
    return lode_err_set(err, LODE_NOT_FOUND, "no version or alias %s of %s; newest is %s (%llu)%s",
                        lode_q(ref->rev), model, m->info.latest,
                        (unsigned long long)m->info.latest_seq, lode_buf_str(&more));
}

int lode_direct_wrong_state(const struct lode_version *v, struct lode_err *err)
{
    char when[LODE_TIME_TEXT];
    const char *model = lode_model_q(v->ns, v->name);
    if (v->state == LODE_DELETED)
        return lode_err_set(
            err, LODE_NOT_FOUND,
            "version %s of %s was deleted at %s; `lode restore %s@%s` brings it back "
            "until gc removes its bytes",
            v->version, model, lode_time_rfc3339(v->deleted_ms, when), model, v->version);
    return lode_err_set(err, LODE_NOT_FOUND, "version %s of %s is not committed yet (%s)",
                        v->version, model, lode_state_name(v->state));
}
