/* Loading plugins: see base/plugin.h. */
#include "base/plugin.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"

/* The dynamic linker itself counts and shares what is opened twice: never closing is what keeps it
 * loaded. */
static int offer_one(const char *path, const char *symbol, lode_plugin_offer_fn *offer, void *arg,
                     bool *taken, struct lode_err *err)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        const char *why = dlerror();
        return lode_err_set(err, LODE_INVALID, "cannot load the plugin %s of LODE_PLUGINS: %s",
                            lode_q(path), why ? why : "unknown reason");
    }
    void *found = dlsym(object, symbol);
    if (found)
        *taken = offer(arg, found, path);
    return 0;
}

int lode_plugin_each(const char *symbol, lode_plugin_offer_fn *offer, void *arg,
                     struct lode_err *err)
{
    const char *all = getenv("LODE_PLUGINS");
    bool taken = false;
    while (all && *all && !taken) {
        size_t n = strcspn(all, ":");
        _cleanup_free_ char *path = lode_strndup(all, n);
        if (!path)
            return lode_err_nomem(err, "the path of a plugin");
        int r = n ? offer_one(path, symbol, offer, arg, &taken, err) : 0;
        if (r < 0)
            return r;
        all += n + (all[n] == ':');
    }
    return 0;
}
