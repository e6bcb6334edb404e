/* Which back end a URL means: the built-in table, then what LODE_PLUGINS names.
 *
 * A new back end inside the tree is one file and one line in `builtin`. One outside is a shared
 * object that exports `lode_plugin_store`; it is loaded once a process and stays loaded, for its
 * functions may be on any stack.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "base/name.h"
#include "store/store.h"

extern const struct lode_store_ops lode_store_posix_ops, lode_store_mem_ops, lode_store_http_ops,
    lode_store_https_ops;

static const struct lode_store_ops *const builtin[] = {
    &lode_store_posix_ops, &lode_store_mem_ops, &lode_store_http_ops, &lode_store_https_ops, NULL,
};

/* More than any machine has, and a bound for a mistaken list. */
#define PLUGINS_MAX 64
#define MESSAGE_MAX 4096

const struct lode_store_ops *const *lode_store_builtin(void)
{
    return builtin;
}

/* Bytes of the scheme before ':'; 0 for a bare path. */
static size_t scheme_len(const char *url)
{
    size_t n = strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    return n > 0 && url[0] >= 'a' && url[0] <= 'z' && url[n] == ':' ? n : 0;
}

static const struct lode_store_ops *find(const struct lode_store_ops *const *table,
                                         const char *scheme, size_t n)
{
    for (; *table; table++) {
        if (strlen((*table)->scheme) == n && memcmp((*table)->scheme, scheme, n) == 0)
            return *table;
    }
    return NULL;
}

static int load(const char *path, const struct lode_store_ops *const **table, struct lode_err *err)
{
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return lode_err_set(err, LODE_INVALID, "LODE_PLUGINS: cannot load %s: %s", lode_q(path),
                            dlerror());
    lode_plugin_store_fn *entry = (lode_plugin_store_fn *)dlsym(lib, "lode_plugin_store");
    if (!entry) {
        /* It may be a plugin for another room (coord, codec, format): no concern of this one. */
        dlclose(lib);
        *table = NULL;
        return 0;
    }
    *table = entry(LODE_STORE_ABI);
    if (!*table)
        return lode_err_set(err, LODE_INVALID,
                            "LODE_PLUGINS: %s refuses store ABI %d: build it against this Lode",
                            lode_q(path), LODE_STORE_ABI);
    for (const struct lode_store_ops *const *at = *table; *at; at++) {
        if ((*at)->abi != LODE_STORE_ABI)
            return lode_err_set(err, LODE_INVALID,
                                "LODE_PLUGINS: %s is built for store ABI %u, this Lode has %d",
                                lode_q(path), (*at)->abi, LODE_STORE_ABI);
    }
    return 0;
}

/* Loads in the order of the list until one has the scheme; dlopen() of a loaded one is cheap. */
static int find_plugin(const char *scheme, size_t n, const struct lode_store_ops **out,
                       struct lode_err *err)
{
    /* plugins need not be re-entrant while they start */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const char *list = getenv("LODE_PLUGINS");
    int r = 0;
    *out = NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; r == 0 && list && *list && !*out; i++) {
        size_t len = strcspn(list, ":");
        _cleanup_free_ char *path = lode_strndup(list, len);
        const struct lode_store_ops *const *table = NULL;
        if (!path)
            r = lode_err_nomem(err, "LODE_PLUGINS");
        else if (i == PLUGINS_MAX)
            r = lode_err_set(err, LODE_LIMIT, "LODE_PLUGINS names more than %d files", PLUGINS_MAX);
        else if (len > 0)
            r = load(path, &table, err);
        if (r == 0 && table)
            *out = find(table, scheme, n);
        list += len + (list[len] == ':');
    }
    pthread_mutex_unlock(&lock);
    return r;
}

static int unknown_scheme(const char *scheme, size_t n, const char *url, struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf known = LODE_BUF_INIT(MESSAGE_MAX);
    for (const struct lode_store_ops *const *at = builtin; *at; at++)
        lode_buf_addf(&known, "%s%s", at == builtin ? "" : ", ", (*at)->scheme);
    return lode_err_set(
        err, LODE_INVALID,
        "no store for %s: this Lode knows %s and what LODE_PLUGINS loads (the scheme here is %.*s)",
        lode_q(url), lode_buf_str(&known), (int)n, scheme);
}

int lode_store_open(const struct lode_store_config *config, struct lode_store **out,
                    struct lode_err *err)
{
    if (!config->url || !*config->url)
        return lode_err_set(err, LODE_INVALID, "the URL of the store is empty");
    size_t n = scheme_len(config->url);
    const char *scheme = n ? config->url : "file";
    n = n ? n : strlen("file");
    const struct lode_store_ops *ops = find(builtin, scheme, n);
    int r = ops ? 0 : find_plugin(scheme, n, &ops, err);
    if (r < 0)
        return r;
    return ops ? ops->open(config, out, err) : unknown_scheme(scheme, n, config->url, err);
}
