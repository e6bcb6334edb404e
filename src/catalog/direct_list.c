/* Lists straight from the coord. */
#include <string.h>
#include "base/mem.h"
#include "base/plant.h"
#include "catalog/direct.h"

static int next_token(const struct lode_coord_kvs *page, size_t used, char **out,
                      struct lode_err *err)
{
    if (used == page->n && !page->more)
        return 0;
    *out = lode_strdup(page->items[used - 1].key);
    return *out ? 0 : lode_err_nomem(err, "a page");
}

static char *prefix_of(const char *kind, const char *ns, const char *name)
{
    return !ns    ? lode_strdup(kind)
           : name ? lode_asprintf("%s%s/%s/", kind, ns, name)
                  : lode_asprintf("%s%s/", kind, ns);
}

int lode_direct_versions(struct lode_catalog *catalog, const struct lode_query *q,
                         struct lode_versions *out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    _cleanup_versions_ struct lode_versions p = {0};
    _cleanup_kvs_ struct lode_coord_kvs page = {0};
    size_t limit = q->limit ? q->limit : LODE_PAGE_DEFAULT;
    if (q->filter || q->sort)
        return lode_err_set(err, LODE_UNSUPPORTED, "filters and sorts are not there");
    _cleanup_free_ char *prefix = prefix_of(LODE_KEY_VERSIONS, q->ns, q->name);
    int r = prefix ? lode_coord_range(self->coord, prefix, q->page, LODE_PAGE_MAX, &page, err)
                   : lode_err_nomem(err, "a key");
    if (r < 0)
        return r;
    p.revision = page.revision;
    p.items = lode_calloc(page.n, sizeof *p.items);
    size_t i = 0;
    for (; i < page.n && p.n < limit; i++) {
        _cleanup_version_record_ struct lode_version_record v = {0};
        _cleanup_model_record_ struct lode_model_record m = {0};
        r = lode_version_record_read(&page.items[i], &v, err);
        if (r == 0 && v.v.state != LODE_COMMITTED && !q->deleted)
            continue;
        r = r < 0 ? r : lode_direct_get_model(self, v.v.ns, v.v.name, &m, err);
        r = r < 0 ? r : lode_direct_show(self, &v, &m, &p.items[p.n], err);
        if (r < 0)
            return r;
        p.n++;
    }
    r = page.n ? next_token(&page, i, &p.next, err) : 0;
    if (r < 0)
        return r;
    *out = p;
    memset(&p, 0, sizeof p);
    return 0;
}

int lode_direct_models(struct lode_catalog *catalog, const struct lode_query *q,
                       struct lode_models *out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    _cleanup_models_ struct lode_models p = {0};
    _cleanup_kvs_ struct lode_coord_kvs page = {0};
    size_t limit = q->limit ? q->limit : LODE_PAGE_DEFAULT;
    _cleanup_free_ char *prefix = prefix_of(LODE_KEY_MODELS, q->ns, NULL);
    int r = prefix ? lode_coord_range(self->coord, prefix, q->page, LODE_PAGE_MAX, &page, err)
                   : lode_err_nomem(err, "a key");
    if (r < 0)
        return r;
    p.revision = page.revision;
    p.items = lode_calloc(page.n, sizeof *p.items);
    size_t i = 0;
    for (; i < page.n && p.n < limit; i++) {
        _cleanup_model_record_ struct lode_model_record m = {0};
        r = lode_model_record_read(&page.items[i], &m, err);
        if (r < 0)
            return r;
        if (m.info.next_seq == 1)
            continue;
        p.items[p.n++] = m.info;
        memset(&m.info, 0, sizeof m.info);
    }
    r = page.n ? next_token(&page, i, &p.next, err) : 0;
    if (r < 0)
        return r;
    *out = p;
    memset(&p, 0, sizeof p);
    return 0;
}

int lode_direct_journal(struct lode_catalog *catalog, const struct lode_journal_query *q,
                        struct lode_journal *out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    _cleanup_journal_ struct lode_journal p = {0};
    _cleanup_kvs_ struct lode_coord_kvs page = {0};
    _cleanup_free_ char *prefix = prefix_of(LODE_KEY_JOURNALS, q->ns, q->name);
    int r = prefix ? lode_coord_range(self->coord, prefix, q->page, LODE_PAGE_MAX, &page, err)
                   : lode_err_nomem(err, "a key");
    if (r < 0)
        return r;
    p.items = lode_calloc(page.n, sizeof *p.items);
    p.revision = page.revision;
    for (size_t i = 0; i < page.n; i++) {
        struct lode_journal_entry e;
        r = lode_journal_record_read(&page.items[q->oldest_first ? i : page.n - 1 - i], &e, err);
        if (r < 0)
            return r;
        if (q->alias && (!e.alias || strcmp(e.alias, q->alias) != 0))
            lode_journal_entry_release(&e);
        else
            p.items[p.n++] = e;
    }
    *out = p;
    memset(&p, 0, sizeof p);
    return 0;
}

int lode_direct_alias_at(struct lode_catalog *catalog, const char *ns, const char *name,
                         const char *alias, int64_t when_ms, struct lode_journal_entry *out,
                         struct lode_err *err)
{
    const struct lode_journal_query q = {.ns = ns, .name = name, .alias = alias};
    _cleanup_journal_ struct lode_journal p = {0};
    int r = lode_direct_journal(catalog, &q, &p, err);
    for (size_t i = 0; r == 0 && i < p.n; i++) {
        if (p.items[i].when_ms > when_ms || p.items[i].change != LODE_CHANGE_ALIAS_SET)
            continue;
        *out = p.items[i];
        memset(&p.items[i], 0, sizeof p.items[i]);
        return 0;
    }
    return r < 0 ? r : lode_err_set(err, LODE_NOT_FOUND, "no such moment");
}
