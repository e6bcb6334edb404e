/* rm and restore: see <lode/lode.h>. rm only says so in the records; the bytes go when gc runs
 * after the grace period, and until then restore undoes it. */
#include "base/buf.h"
#include "registry/handle.h"

/* What the catalog's transaction would refuse, for a dry run: the aliases that hold it. */
static int held_by_alias(const struct lode_version *v, struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf names = LODE_BUF_INIT(512);
    if (v->n_aliases == 0)
        return 0;
    for (size_t i = 0; i < v->n_aliases; i++)
        lode_buf_addf(&names, "%s@%s", i ? ", " : "", v->aliases[i]);
    return lode_err_set(err, LODE_HELD, "%s@%s is held by %s: move or remove that first", v->name,
                        v->version, lode_buf_str(&names));
}

int lode_remove(struct lode *lode, const char *ref, bool dry_run, const struct lode_call *call,
                struct lode_version *out, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0}, removed = {0};
    struct lode_act act = lode_handle_act(call);
    int r = lode_handle_writes(lode, err);
    if (r == 0)
        r = lode_handle_resolve(lode, ref, &v, err);
    if (r == 0)
        r = dry_run ? held_by_alias(&v, err)
                    : lode_handle_ops(lode)->remove(lode->catalog, &v, &act, &removed, err);
    if (r == 0 && out) {
        struct lode_version *told = dry_run ? &v : &removed;
        *out = *told;
        *told = (struct lode_version){0};
    }
    return r;
}

int lode_restore(struct lode *lode, const char *ref, const struct lode_call *call,
                 struct lode_version *out, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0}, restored = {0};
    struct lode_act act = lode_handle_act(call);
    struct lode_ref parsed;
    int r = lode_handle_writes(lode, err);
    if (r == 0)
        r = lode_ref_parse(ref, &parsed, err);
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    if (r == 0)
        r = lode_handle_ops(lode)->resolve(lode->catalog, &parsed, true, &v, err);
    if (r == 0)
        r = lode_handle_ops(lode)->restore(lode->catalog, &v, &act, &restored, err);
    if (r == 0 && out) {
        *out = restored;
        restored = (struct lode_version){0};
    }
    return r;
}
