/* Which root is meant: arguments, then the environment, then the configuration file, then the
 * default. A source is taken whole: a URL of the arguments is never combined with a coord of the
 * environment. */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "registry/config.h"
#include "registry/dirs.h"
#include "registry/handle.h"

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

void lode_where_release(struct lode_where *where)
{
    lode_free(where->url);
    lode_free(where->store);
    lode_free(where->coord);
    lode_free_secret(where->token);
    lode_free(where->cacert);
    lode_free(where->dir);
    *where = (struct lode_where){0};
}

/* Copies; the strings of a source belong to others. */
static int take(struct lode_where *out, const struct lode_context *from, struct lode_err *err)
{
    const char *const texts[] = {from->url, from->store, from->coord, from->token, from->cacert};
    char **const into[] = {&out->url, &out->store, &out->coord, &out->token, &out->cacert};
    for (size_t i = 0; i < LODE_ARRAY_LEN(texts); i++) {
        if (!texts[i])
            continue;
        lode_free(*into[i]);
        if (!(*into[i] = lode_strdup(texts[i])))
            return lode_err_nomem(err, "the root's address");
    }
    return 0;
}

static int check_pair(const char *store, const char *coord, const char *how, struct lode_err *err)
{
    if (!store == !coord)
        return 0;
    return lode_err_set(err, LODE_INVALID, "%s: a store and a coord go together; the %s is missing",
                        how, store ? "coord" : "store");
}

/* One source: its URL, or its pair. *found says whether it had either. */
static int take_root(struct lode_where *out, const char *url, const char *store, const char *coord,
                     const char *how, bool *found, struct lode_err *err)
{
    struct lode_context root = {
        .url = url, .store = url ? NULL : store, .coord = url ? NULL : coord};
    int r = url ? 0 : check_pair(store, coord, how, err);
    *found = url || store;
    return r < 0 ? r : take(out, &root, err);
}

static int from_config(struct lode_where *out, const char *name, bool *found, struct lode_err *err)
{
    _cleanup_config_ struct lode_config config = {0};
    struct lode_context context;
    int r = lode_config_load(&config, err);
    if (r == 0)
        r = lode_config_context(&config, name, &context, err);
    if (r < 0 || !context.name)
        return r;
    *found = true;
    return take(out, &context, err);
}

static int from_default(struct lode_where *out, struct lode_err *err)
{
    out->is_default = true;
    return lode_dir_home(&out->url, err);
}

static int find_root(const struct lode_open_options *o, struct lode_where *out,
                     struct lode_err *err)
{
    bool found = false;
    int r = take_root(out, o->url, o->store, o->coord, "the arguments", &found, err);
    if (r == 0 && !found && o->context)
        r = from_config(out, o->context, &found, err);
    if (r == 0 && !found)
        r = take_root(out, env("LODE_URL"), env("LODE_STORE"), env("LODE_COORD"),
                      "LODE_STORE, LODE_COORD", &found, err);
    if (r == 0 && !found && env("LODE_CONTEXT"))
        r = from_config(out, env("LODE_CONTEXT"), &found, err);
    /* Who set LODE_HOME wants that root and not the one that a file of the real home calls current.
     */
    if (r == 0 && !found && !env("LODE_HOME"))
        r = from_config(out, NULL, &found, err);
    if (r == 0 && !found)
        r = from_default(out, err);
    return r;
}

static bool is_http(const char *url)
{
    return strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
}

/* "scheme:" of a URL that is neither a path nor file:; 0 for those. */
static size_t scheme_len(const char *url)
{
    size_t n = strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    return n > 0 && url[n] == ':' && strncmp(url, "file:", 5) != 0 ? n : 0;
}

/* The pair beneath a URL: a directory's coord.db and models/, or for "mem:x" both in memory. */
static int expand(struct lode_where *where, struct lode_err *err)
{
    if (!where->url || is_http(where->url))
        return 0;
    size_t n = scheme_len(where->url);
    if (n && strncmp(where->url, "mem:", 4) != 0)
        return lode_err_set(err, LODE_UNSUPPORTED,
                            "%s is a store alone: name a coord too, with --store %s --coord URL",
                            lode_q(where->url), where->url);
    int r = n ? 0 : lode_dir_absolute(where->url, &where->dir, err);
    if (r < 0)
        return r;
    where->store = n ? lode_strdup(where->url) : lode_asprintf("%s/" LODE_ROOT_STORE, where->dir);
    where->coord =
        n ? lode_strdup(where->url) : lode_asprintf("sqlite://%s/" LODE_ROOT_COORD, where->dir);
    return where->store && where->coord ? 0 : lode_err_nomem(err, "the root's address");
}

int lode_where_find(const struct lode_open_options *options, struct lode_where *out,
                    struct lode_err *err)
{
    static const struct lode_open_options none;
    const struct lode_open_options *o = options ? options : &none;
    struct lode_where where = {0};
    struct lode_context secrets = {.token = o->token, .cacert = o->cacert};
    int r = find_root(o, &where, err);
    /* A token may be given apart from the root; the environment's does not replace a context's own.
     */
    if (r == 0 && !secrets.token && !where.token)
        secrets.token = env("LODE_TOKEN");
    if (r == 0 && !secrets.cacert && !where.cacert)
        secrets.cacert = env("LODE_CACERT");
    if (r == 0)
        r = take(&where, &secrets, err);
    if (r == 0)
        r = expand(&where, err);
    if (r < 0) {
        lode_where_release(&where);
        return r;
    }
    *out = where;
    return 0;
}
