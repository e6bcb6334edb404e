/* alias set, rm and "what was it then": see <lode/lode.h>. */
#include "registry/handle.h"

int lode_alias_set(struct lode *lode, const char *ref, const char *alias,
                   const struct lode_call *call, struct lode_journal_entry *out,
                   struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    struct lode_journal_entry entry = {0};
    struct lode_act act = lode_handle_act(call);
    int r = lode_handle_writes(lode, err);
    if (r == 0)
        r = lode_handle_resolve(lode, ref, &v, err);
    if (r == 0)
        r = lode_handle_ops(lode)->alias_set(lode->catalog, v.ns, v.name, alias, v.version, NULL,
                                             &act, &entry, err);
    if (r < 0)
        return r;
    if (out)
        *out = entry;
    else
        lode_journal_entry_release(&entry);
    return 0;
}

int lode_alias_remove(struct lode *lode, const char *model, const char *alias,
                      const struct lode_call *call, struct lode_journal_entry *out,
                      struct lode_err *err)
{
    struct lode_ref ref;
    struct lode_journal_entry entry = {0};
    struct lode_act act = lode_handle_act(call);
    int r = lode_handle_writes(lode, err);
    if (r == 0)
        r = lode_ref_parse_model(model, &ref, err);
    if (r == 0)
        r = lode_handle_ops(lode)->alias_remove(lode->catalog, ref.ns, ref.name, alias, &act,
                                                &entry, err);
    if (r < 0)
        return r;
    if (out)
        *out = entry;
    else
        lode_journal_entry_release(&entry);
    return 0;
}

int lode_alias_at(struct lode *lode, const char *model, const char *alias, int64_t when_ms,
                  struct lode_journal_entry *out, struct lode_err *err)
{
    struct lode_ref ref;
    int r = lode_ref_parse_model(model, &ref, err);
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    return r < 0 ? r
                 : lode_handle_ops(lode)->alias_at(lode->catalog, ref.ns, ref.name, alias, when_ms,
                                                   out, err);
}
