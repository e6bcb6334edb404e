/* watch: changes as they happen: see <lode/lode.h>. */
#include "base/mem.h"
#include "registry/handle.h"

struct lode_watch {
    const struct lode_catalog_ops *ops;
    struct lode_catalog_watch *inner;
};

int lode_watch_open(struct lode *lode, const char *model, const char *from_event,
                    struct lode_watch **out, struct lode_err *err)
{
    struct lode_ref ref;
    int r = model ? lode_ref_parse_model(model, &ref, err) : 0;
    if (r < 0)
        return r;
    struct lode_watch *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a watch");
    self->ops = lode_handle_ops(lode);
    r = self->ops->watch(lode->catalog, model ? LODE_WATCH_MODEL : LODE_WATCH_ALL,
                         model ? ref.ns : NULL, model ? ref.name : NULL, from_event, &self->inner,
                         err);
    if (r < 0)
        lode_free(self);
    else
        *out = self;
    return r;
}

int lode_watch_next(struct lode_watch *watch, int64_t timeout_ms, struct lode_journal_entry *out,
                    struct lode_err *err)
{
    return watch->ops->watch_next(watch->inner, timeout_ms, out, err);
}

void lode_watch_wake(struct lode_watch *watch)
{
    watch->ops->watch_wake(watch->inner);
}

void lode_watch_close(struct lode_watch *watch)
{
    if (!watch)
        return;
    watch->ops->watch_close(watch->inner);
    lode_free(watch);
}
