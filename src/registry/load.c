/* load: a version, or a local path without any registry, into memory: see <lode/lode.h>. The engine
 * is load/load.h.
 *
 * A mapping needs no lease: gc removes names, and a mapped file lives as long as its mapping.
 */
#include "load/load.h"
#include <string.h>
#include "base/cache_dir.h"
#include "base/mem.h"
#include "base/name.h"
#include "registry/dirs.h"
#include "registry/handle.h"
#include "registry/source.h"

static int open_source(void *arg, unsigned file, int *fd, struct lode_err *err)
{
    const struct lode_sources *sources = arg;
    return lode_source_open(&sources->items[file], fd, err);
}

static int run(struct lode_load *load, struct lode_bytes *bytes, struct lode_model **out,
               struct lode_err *err)
{
    int r = lode_bytes_init(bytes, err);
    load->bytes = bytes;
    if (r == 0)
        r = lode_load_run(load, out, err);
    load->bytes = NULL;
    lode_bytes_release(bytes);
    return r;
}

/* Local files have no digests: what is in them is what is loaded. */
static int load_path(const char *path, const struct lode_load_options *options,
                     struct lode_model **out, struct lode_err *err)
{
    _cleanup_sources_ struct lode_sources sources = {0};
    _cleanup_free_ char *full = NULL;
    struct lode_load load = {.options = options};
    int r = lode_dir_absolute(path, &full, err);
    const char *const paths[] = {full};
    if (r == 0)
        r = lode_sources_find(paths, 1, true, &sources, err);
    if (r == 0)
        r = lode_sources_manifest(&sources, &load.manifest, err);
    if (r == 0 && (!load.manifest->tensors || lode_index_count(load.manifest->tensors) == 0))
        r = lode_err_set(err, LODE_INVALID, "%s holds no tensors that Lode can read", lode_q(path));
    struct lode_bytes bytes = {.manifest = load.manifest, .open = open_source, .arg = &sources};
    if (r == 0)
        r = run(&load, &bytes, out, err);
    lode_manifest_free(load.manifest);
    return r;
}

static int load_version(struct lode *lode, struct lode_version *v, struct lode_load *load,
                        struct lode_model **out, struct lode_err *err)
{
    _cleanup_place_ struct lode_place place = {0};
    _cleanup_free_ char *cache = lode_cache_dir("load", true);
    int r = lode_handle_ops(lode)->place(lode->catalog, v, &place, err);
    if (r < 0)
        return r;
    struct lode_bytes bytes = {.manifest = load->manifest,
                               .verify = !load->options || !load->options->no_verify,
                               .store = place.store,
                               .prefix = place.prefix};
    load->checks = lode_checks_open(cache);
    load->digest = v->digest;
    r = run(load, &bytes, out, err);
    lode_checks_close(load->checks);
    if (r == 0)
        lode_model_set_version(*out, v);
    return r;
}

int lode_load(struct lode *lode, const char *ref, const struct lode_load_options *options,
              struct lode_model **out, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    struct lode_load load = {.options = options};
    if (lode_looks_like_path(ref))
        return load_path(ref, options, out, err);
    if (!lode)
        return lode_err_set(
            err, LODE_INVALID,
            "%s is a reference, which needs a registry; a path starts with / ./ ../ or ~",
            lode_q(ref));
    int r = lode_handle_resolve(lode, ref, &v, err);
    if (r == 0)
        r = lode_handle_ops(lode)->manifest(lode->catalog, &v, &load.manifest, err);
    if (r == 0)
        r = load_version(lode, &v, &load, out, err);
    lode_manifest_free(load.manifest);
    return r;
}
