/* Opening, making and closing a root: see lode_open() and lode_init() in <lode/lode.h>.
 *
 * An embedded root is one directory R: R/coord.db (the coord) and R/models (the store). A pair
 * names both apart; a URL of a server needs neither, its catalog brings the store along.
 */
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "registry/dirs.h"
#include "registry/handle.h"

void lode_close(struct lode *lode)
{
    if (!lode)
        return;
    lode_catalog_close(lode->catalog);
    lode_store_close(lode->store);
    lode_coord_close(lode->coord);
    lode_free(lode->url);
    lode_free(lode->dir);
    lode_free(lode);
}

static void closep(struct lode **at)
{
    lode_close(*at);
}
#define _cleanup_lode_ __attribute__((cleanup(closep)))

const char *lode_url(const struct lode *lode)
{
    return lode->url;
}

static int open_parts(struct lode *lode, const struct lode_where *where, bool create,
                      struct lode_err *err)
{
    struct lode_coord_config coord = {
        .url = where->coord, .create = create, .read_only = lode->read_only};
    struct lode_store_config store = {
        .url = where->store, .create = create, .read_only = lode->read_only};
    if (create && lode->dir) {
        int r = lode_dir_make(lode->dir, 0777, err);
        if (r < 0)
            return r;
    }
    int r = lode_coord_open(&coord, &lode->coord, err);
    return r < 0 ? r : lode_store_open(&store, &lode->store, err);
}

static int open_remote(struct lode *lode, const struct lode_where *where, struct lode_err *err)
{
    struct lode_remote_config config = {
        .url = where->url, .token = where->token, .cacert = where->cacert};
    return lode_catalog_remote(&config, &lode->catalog, err);
}

static int name_it(struct lode *lode, const struct lode_where *where, struct lode_err *err)
{
    if (lode->dir)
        lode->url = lode_strdup(lode->dir);
    else if (!lode->store)
        lode->url = lode_strdup(where->url);
    else if (where->url)
        lode->url = lode_strdup(where->url);
    else
        lode->url =
            lode_asprintf("%s + %s", lode_store_url(lode->store), lode_coord_url(lode->coord));
    return lode->url ? 0 : lode_err_nomem(err, "a root's name");
}

static int handle_new(const struct lode_open_options *o, const struct lode_where *where,
                      struct lode **out, struct lode_err *err)
{
    struct lode *lode = lode_zalloc(sizeof *lode);
    if (!lode || (where->dir && !(lode->dir = lode_strdup(where->dir)))) {
        lode_close(lode);
        return lode_err_nomem(err, "a handle");
    }
    lode->read_only = o && o->read_only;
    lode->fresh = o && o->fresh;
    *out = lode;
    return 0;
}

static int no_root(const struct lode *lode, const struct lode_where *where, struct lode_err *err)
{
    if (lode->dir)
        return lode_err_set(err, LODE_NOT_FOUND,
                            "there is no Lode root at %s; `lode init --url %s` makes one",
                            lode_q(lode->dir), lode->dir);
    return lode_err_set(
        err, LODE_NOT_FOUND,
        "there is no Lode root at %s and %s; `lode init --store %s --coord %s` makes one",
        lode_q(where->store), lode_q(where->coord), where->store, where->coord);
}

/* Makes the root; *out has its parts open, but no catalog. Kept open, for a root in memory lives as
 * long as a handle. */
static int init_parts(const struct lode_open_options *o, const struct lode_where *where,
                      struct lode **out, struct lode_err *err)
{
    _cleanup_lode_ struct lode *lode = NULL;
    int r = handle_new(o, where, &lode, err);
    if (r == 0)
        r = open_parts(lode, where, true, err);
    if (r == 0)
        r = lode_catalog_init(lode->coord, lode->store, err);
    if (r == 0 || r == LODE_EXISTS)
        *out = lode_steal(lode);
    return r;
}

static int open_direct(struct lode *lode, const struct lode_where *where, struct lode_err *err)
{
    int r = open_parts(lode, where, false, err);
    if (r == 0)
        r = lode_catalog_direct(lode->coord, lode->store, &lode->catalog, err);
    return r == LODE_NOT_FOUND ? no_root(lode, where, err) : r;
}

static int open_once(const struct lode_open_options *o, const struct lode_where *where,
                     struct lode **out, struct lode_err *err)
{
    _cleanup_lode_ struct lode *lode = NULL;
    int r = handle_new(o, where, &lode, err);
    if (r == 0)
        r = where->store ? open_direct(lode, where, err) : open_remote(lode, where, err);
    if (r == 0)
        r = name_it(lode, where, err);
    if (r == 0)
        *out = lode_steal(lode);
    return r;
}

int lode_open(const struct lode_open_options *options, struct lode **out, struct lode_err *err)
{
    _cleanup_where_ struct lode_where where = {0};
    int r = lode_where_find(options, &where, err);
    if (r < 0)
        return r;
    bool make = where.is_default || (options && options->create);
    r = open_once(options, &where, out, err);
    if (r != LODE_NOT_FOUND || !make || (options && options->read_only))
        return r;
    _cleanup_lode_ struct lode *made = NULL;
    r = init_parts(options, &where, &made, err);
    if (r < 0 && r != LODE_EXISTS) /* another process made it just now */
        return r;
    return open_once(options, &where, out, err);
}

int lode_init(const struct lode_open_options *options, struct lode_err *err)
{
    _cleanup_where_ struct lode_where where = {0};
    int r = lode_where_find(options, &where, err);
    if (r < 0)
        return r;
    if (!where.store)
        return lode_err_set(err, LODE_UNSUPPORTED,
                            "%s is a server: its root is made on its own machine, with lode init",
                            lode_q(where.url));
    _cleanup_lode_ struct lode *made = NULL;
    return init_parts(options, &where, &made, err);
}
