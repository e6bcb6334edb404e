/* ls: models, versions, and the journal of changes: see <lode/lode.h>. */
#include <string.h>
#include "base/limits.h"
#include "base/name.h"
#include "registry/handle.h"

static int query_of(const struct lode_list_options *o, struct lode_query *out, struct lode_err *err)
{
    *out = (struct lode_query){0};
    if (!o)
        return 0;
    if (o->limit > LODE_PAGE_MAX)
        return lode_err_set(err, LODE_INVALID, "a page has at most %d entries, %u are asked for",
                            LODE_PAGE_MAX, o->limit);
    out->filter = o->filter;
    out->sort = o->sort;
    out->limit = o->limit;
    out->page = o->page;
    out->deleted = o->deleted;
    return 0;
}

int lode_ls_models(struct lode *lode, const char *ns, const struct lode_list_options *options,
                   struct lode_models *out, struct lode_err *err)
{
    struct lode_query query;
    int r = query_of(options, &query, err);
    if (r == 0 && ns && strcmp(ns, LODE_DEFAULT_NS) != 0)
        r = lode_name_check(LODE_NAME_NAMESPACE, ns, strlen(ns), err);
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    query.ns = ns;
    return r < 0 ? r : lode_handle_ops(lode)->models(lode->catalog, &query, out, err);
}

int lode_ls_versions(struct lode *lode, const char *model, const struct lode_list_options *options,
                     struct lode_versions *out, struct lode_err *err)
{
    struct lode_query query;
    struct lode_ref ref;
    int r = query_of(options, &query, err);
    if (r == 0 && model) {
        r = lode_ref_parse_model(model, &ref, err);
        query.ns = ref.ns;
        query.name = ref.name;
    }
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    return r < 0 ? r : lode_handle_ops(lode)->versions(lode->catalog, &query, out, err);
}

int lode_log_entries(struct lode *lode, const char *model, const char *alias, uint32_t limit,
                     const char *page, struct lode_journal *out, struct lode_err *err)
{
    struct lode_journal_query query = {.alias = alias, .limit = limit, .page = page};
    struct lode_ref ref;
    int r = 0;
    if (limit > LODE_PAGE_MAX)
        r = lode_err_set(err, LODE_INVALID, "a page has at most %d entries, %u are asked for",
                         LODE_PAGE_MAX, limit);
    if (r == 0 && model) {
        r = lode_ref_parse_model(model, &ref, err);
        query.ns = ref.ns;
        query.name = ref.name;
    }
    if (r == 0 && alias && !model)
        r = lode_err_set(err, LODE_INVALID, "an alias is a model's: name the model of %s",
                         lode_q(alias));
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    return r < 0 ? r : lode_handle_ops(lode)->journal(lode->catalog, &query, out, err);
}
