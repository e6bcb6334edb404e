/* Small things that the verbs share: see registry/handle.h. */
#include "registry/handle.h"
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/version.h"

const char *lode_version_string(void)
{
    return LODE_VERSION;
}

int lode_handle_fresh(struct lode *lode, struct lode_err *err)
{
    uint64_t revision;
    return lode->fresh ? lode_handle_ops(lode)->revision(lode->catalog, true, &revision, err) : 0;
}

int lode_handle_writes(const struct lode *lode, struct lode_err *err)
{
    return lode->read_only ? lode_err_set(err, LODE_READ_ONLY, "%s was opened read-only", lode->url)
                           : 0;
}

int lode_handle_resolve(struct lode *lode, const char *ref, struct lode_version *out,
                        struct lode_err *err)
{
    struct lode_ref parsed;
    int r = lode_ref_parse(ref, &parsed, err);
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    return r < 0 ? r : lode_handle_ops(lode)->resolve(lode->catalog, &parsed, false, out, err);
}

int lode_handle_resolve_file(struct lode *lode, const char *ref, struct lode_version *out,
                             char **path, struct lode_err *err)
{
    struct lode_file_ref readings[2];
    unsigned n, taken = 0;
    int r = lode_ref_parse_file(ref, readings, &n, err);
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    if (r < 0)
        return r;
    r = lode_handle_ops(lode)->resolve(lode->catalog, &readings[0].ref, false, out, err);
    if (r == LODE_NOT_FOUND && n == 2) {
        taken = 1;
        r = lode_handle_ops(lode)->resolve(lode->catalog, &readings[1].ref, false, out, err);
    }
    if (r < 0)
        return r;
    if ((*path = lode_strdup(readings[taken].path)))
        return 0;
    lode_version_release(out);
    return lode_err_nomem(err, "a path");
}

char *lode_place_key(const struct lode_place *place, const char *path)
{
    return lode_asprintf("%s%s%s", place->prefix, *place->prefix ? "/" : "", path);
}

char *lode_size_text(uint64_t bytes, char out[LODE_SIZE_TEXT])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double n = (double)bytes;
    size_t unit = 0;
    for (; n >= 1024 && unit + 1 < LODE_ARRAY_LEN(units); unit++)
        n /= 1024;
    snprintf(out, LODE_SIZE_TEXT, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return out;
}

int lode_json_hand_out(json_t *doc, char **out, struct lode_err *err)
{
    char *text = doc ? lode_json_text(doc, NULL) : NULL;
    json_decref(doc);
    if (!text)
        return lode_err_nomem(err, "a report");
    *out = text;
    return 0;
}

int lode_handle_job(struct lode *lode, const char *kind, const json_t *params, char **json,
                    struct lode_err *err)
{
    json_t *report = NULL;
    if (!params)
        return lode_err_nomem(err, "a job");
    if (!lode_handle_ops(lode)->job)
        return lode_err_set(err, LODE_UNSUPPORTED, "%s cannot run %s", lode->url, kind);
    int r = lode_handle_ops(lode)->job(lode->catalog, kind, params, &report, err);
    return r < 0 ? r : lode_json_hand_out(report, json, err);
}
