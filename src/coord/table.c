/* Which back ends there are, and opening one by its URL: see coord/coord.h. */
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/plugin.h"
#include "coord/backends.h"
#include "coord/coord.h"

static const struct lode_coord_ops *const builtin[] = {&lode_coord_sqlite_ops, &lode_coord_mem_ops,
                                                       NULL};

const struct lode_coord_ops *const *lode_coord_builtin(void)
{
    return builtin;
}

struct wanted {
    const char *scheme;
    size_t len;
    const struct lode_coord_ops *found;
};

static bool pick(struct wanted *w, const struct lode_coord_ops *const *table)
{
    for (; table && *table; table++) {
        const struct lode_coord_ops *ops = *table;
        if (ops->abi == LODE_COORD_ABI && strlen(ops->scheme) == w->len &&
            memcmp(ops->scheme, w->scheme, w->len) == 0) {
            w->found = ops;
            return true;
        }
    }
    return false;
}

static bool pick_of_plugin(void *arg, void *symbol, const char *path)
{
    lode_plugin_coord_fn *table = (lode_plugin_coord_fn *)symbol;
    return pick(arg, table(LODE_COORD_ABI));
}

int lode_coord_open(const struct lode_coord_config *config, struct lode_coord **out,
                    struct lode_err *err)
{
    if (!config || !config->url)
        return lode_err_set(err, LODE_INVALID, "no coord was named");
    struct wanted w = {.scheme = config->url, .len = strcspn(config->url, ":")};
    if (!config->url[w.len])
        return lode_err_set(
            err, LODE_INVALID,
            "%s names no coord: write sqlite:///dir/coord.db or another scheme with its colon",
            lode_q(config->url));
    if (!pick(&w, builtin)) {
        int r = lode_plugin_each("lode_plugin_coord", pick_of_plugin, &w, err);
        if (r < 0)
            return r;
    }
    if (!w.found)
        return lode_err_set(
            err, LODE_UNSUPPORTED,
            "there is no coord '%.*s:' in this build; plugins are loaded from LODE_PLUGINS",
            (int)lode_min(w.len, (size_t)64), config->url);
    return w.found->open(config, out, err);
}

void lode_coord_close(struct lode_coord *self)
{
    if (self)
        lode_coord_ops_of(self)->close(self);
}
