/* show: the facts of a version or model, and what a version consists of. The description is written
 * straight into one buffer: four million tensors never become a document tree. */
#include <lode/dtype.h>
#include "base/buf.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "model/record.h"
#include "registry/handle.h"

int lode_show(struct lode *lode, const char *ref, struct lode_version *out, struct lode_err *err)
{
    return lode_handle_resolve(lode, ref, out, err);
}

int lode_show_model(struct lode *lode, const char *model, struct lode_model_info *out,
                    struct lode_err *err)
{
    struct lode_ref ref;
    int r = lode_ref_parse_model(model, &ref, err);
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    return r < 0 ? r : lode_handle_ops(lode)->model(lode->catalog, ref.ns, ref.name, out, err);
}

static void add_text(struct lode_buf *b, const char *key, const char *value)
{
    lode_buf_addf(b, "\"%s\":", key);
    lode_json_quote(b, value, __builtin_strlen(value));
}

static void add_file(struct lode_buf *b, const struct lode_manifest_file *f)
{
    char hex[LODE_SHA256_HEX];
    lode_buf_addc(b, '{');
    add_text(b, "path", f->path);
    lode_buf_addf(b, ",\"size\":%llu,\"mode\":\"%04o\",", (unsigned long long)f->size,
                  (unsigned)f->mode);
    add_text(b, "format", f->format);
    lode_buf_addf(b, ",\"sha256\":\"%s\",\"crc32c\":\"%08x\"}", lode_sha256_text(&f->sha256, hex),
                  (unsigned)f->crc32c);
}

static void add_tensor(struct lode_buf *b, const struct lode_manifest *m,
                       const struct lode_tensor *t)
{
    lode_buf_addc(b, '{');
    add_text(b, "name", t->name);
    lode_buf_addf(b, ",\"dtype\":\"%s\",\"shape\":[", lode_dtype_name(t->dtype));
    for (unsigned i = 0; i < t->rank; i++)
        lode_buf_addf(b, "%s%llu", i ? "," : "", (unsigned long long)t->shape[i]);
    lode_buf_addf(b, "],\"size\":%llu,", (unsigned long long)t->len);
    add_text(b, "file", m->files[t->file].path);
    lode_buf_addf(b, ",\"offset\":%llu,\"fortran_order\":%s}", (unsigned long long)t->offset,
                  t->fortran_order ? "true" : "false");
}

static void add_contents(struct lode_buf *b, const struct lode_manifest *m, bool tensors)
{
    lode_buf_adds(b, ",\"files\":[");
    for (size_t i = 0; i < m->n_files; i++) {
        lode_buf_adds(b, i ? "," : "");
        add_file(b, &m->files[i]);
    }
    lode_buf_adds(b, "]");
    if (!tensors)
        return;
    lode_buf_adds(b, ",\"tensors\":[");
    for (size_t i = 0; m->tensors && i < lode_index_count(m->tensors); i++) {
        struct lode_tensor t = lode_index_get(m->tensors, i);
        lode_buf_adds(b, i ? "," : "");
        add_tensor(b, m, &t);
    }
    lode_buf_adds(b, "]");
}

int lode_describe(struct lode *lode, const char *ref, bool tensors, char **json,
                  struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    _cleanup_manifest_ struct lode_manifest *m = NULL;
    _cleanup_buf_ struct lode_buf out = LODE_BUF_INIT(4 * (size_t)LODE_MANIFEST_HEAD_MAX);
    int r = lode_handle_resolve(lode, ref, &v, err);
    if (r == 0)
        r = lode_handle_ops(lode)->manifest(lode->catalog, &v, &m, err);
    if (r < 0)
        return r;
    char *version = lode_version_json(&v);
    if (!version)
        return lode_err_nomem(err, "a description");
    lode_buf_addf(&out, "{\"version\":");
    lode_buf_adds(&out, version);
    lode_string_free(version);
    add_contents(&out, m, tensors);
    lode_buf_addc(&out, '}');
    r = lode_buf_check(&out, "the description", err);
    if (r == 0 && !(*json = lode_buf_steal(&out)))
        r = lode_err_nomem(err, "a description");
    return r;
}
