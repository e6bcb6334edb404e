/* Tags and metrics of a version: see <lode/lode.h>. */
#include "registry/handle.h"

static int annotate(struct lode *lode, const char *ref, const struct lode_tag *tags, size_t n_tags,
                    const struct lode_metric *metrics, size_t n_metrics,
                    const struct lode_call *call, struct lode_version *out, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0}, changed = {0};
    struct lode_act act = lode_handle_act(call);
    int r = lode_handle_writes(lode, err);
    if (r == 0)
        r = lode_handle_resolve(lode, ref, &v, err);
    if (r == 0)
        r = lode_handle_ops(lode)->annotate(lode->catalog, &v, tags, n_tags, metrics, n_metrics,
                                            &act, &changed, err);
    if (r == 0 && out) {
        *out = changed;
        changed = (struct lode_version){0};
    }
    return r;
}

int lode_tag(struct lode *lode, const char *ref, const struct lode_tag *tags, size_t n,
             const struct lode_call *call, struct lode_version *out, struct lode_err *err)
{
    return annotate(lode, ref, tags, n, NULL, 0, call, out, err);
}

int lode_set_metrics(struct lode *lode, const char *ref, const struct lode_metric *metrics,
                     size_t n, const struct lode_call *call, struct lode_version *out,
                     struct lode_err *err)
{
    return annotate(lode, ref, NULL, 0, metrics, n, call, out, err);
}
