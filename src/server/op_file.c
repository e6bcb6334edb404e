/* GET and HEAD of a version's files and of its manifest: conditions, one range, sendfile for what
 * is known to match and a checked stream for what is not. */
#include <openssl/evp.h>
#include <string.h>
#include "base/mem.h"
#include "base/plant.h"
#include "base/size.h"
#include "base/sys.h"
#include "model/record.h"
#include "server/download.h"
#include "server/stream.h"

#define OPS(request) lode_catalog_ops_of((request)->server->catalog)
#define ETAG_TEXT (LODE_SHA256_HEX + 2)

void srv_source_release(struct srv_source *source)
{
    lode_manifest_free(source->manifest);
    if (source->place.store)
        lode_place_release(&source->place);
    lode_free(source->key);
    lode_free(source->digest);
    *source = (struct srv_source){0};
}

static int find_source(struct srv_request *request, struct srv_source *out, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    int r = srv_request_version(request, false, &v, err);
    r = r < 0 ? r : OPS(request)->manifest(request->server->catalog, &v, &out->manifest, err);
    if (r < 0)
        return r;
    out->file = lode_manifest_find(out->manifest, request->path);
    if (!out->file)
        return lode_err_set(err, LODE_NOT_FOUND, "version %s of %s has no file %s", v.version,
                            v.name, request->path);
    r = OPS(request)->place(request->server->catalog, &v, &out->place, err);
    if (r < 0)
        return r;
    out->key = lode_asprintf("%s%s%s", out->place.prefix, out->place.prefix[0] ? "/" : "",
                             out->file->path);
    out->digest = lode_strdup(v.digest);
    if (!out->key || !out->digest)
        return lode_err_nomem(err, "a download");
    request->reply.revision = v.revision;
    return 0;
}

static int look(struct srv_source *source, struct lode_err *err)
{
    struct lode_store_stat stat;
    int r = lode_store_stat(source->place.store, source->key, &stat, err);
    if (r == LODE_NOT_FOUND || (r == 0 && stat.size != source->file->size))
        return lode_err_set(err, LODE_CORRUPT, "file %s is not what its manifest says: %s",
                            source->key, r < 0 ? "it is gone" : "its size differs");
    source->id =
        (struct srv_identity){stat, source->digest, source->file->path, source->file->n_blocks};
    return r;
}

/* ---- conditions (RFC 9110, 13.2.2) ---- */

/* True if the reply stands: 412 or 304. */
static bool refuse_by_condition(struct srv_request *request, const char *etag)
{
    const char *match = srv_request_header(request, "If-Match");
    const char *none = srv_request_header(request, "If-None-Match");
    if (match && !srv_etag_listed(match, etag, false)) {
        srv_reply_fail(request, 412, LODE_PRECONDITION,
                       "the file is not what If-Match says; it is %s", etag);
        return true;
    }
    if (none && srv_etag_listed(none, etag, true)) {
        srv_reply_empty(request, 304);
        srv_reply_header(request, "ETag", "%s", etag);
        return true;
    }
    return false;
}

static enum srv_range wanted_range(struct srv_request *request, const char *etag, uint64_t size,
                                   uint64_t *offset, uint64_t *length)
{
    const char *only_if = srv_request_header(request, "If-Range");
    *offset = 0;
    *length = size;
    if (only_if && strcmp(only_if, etag) != 0)
        return SRV_RANGE_NONE;
    return srv_range_parse(srv_request_header(request, "Range"), size, offset, length);
}

/* ---- answers ---- */

static void add_repr_digest(struct srv_request *request, const struct lode_sha256 *sha256)
{
    unsigned char text[48];
    EVP_EncodeBlock(text, sha256->b, LODE_SHA256_LEN);
    srv_reply_header(request, "Repr-Digest", "sha-256=:%s:", (char *)text);
}

/* A descriptor of exactly the file that was looked at. */
static int open_same(const struct srv_source *source, int *out)
{
    _cleanup_close_ int fd = -1;
    struct stat st;
    if (!(lode_store_caps(source->place.store) & LODE_STORE_OPEN_LOCAL) ||
        lode_store_open_local(source->place.store, source->key, &fd, NULL) < 0 ||
        lode_sys->fstat(fd, &st) < 0)
        return LODE_UNSUPPORTED;
    const struct lode_store_stat *seen = &source->id.stat;
    if (st.st_ino != seen->inode || (uint64_t)st.st_size != seen->size ||
        st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec != seen->mtime_ns ||
        st.st_ctim.tv_sec * 1000000000ll + st.st_ctim.tv_nsec != seen->ctime_ns)
        return LODE_CHANGED;
    *out = lode_steal_fd(fd);
    return 0;
}

static int answer_bytes(struct srv_request *request, struct srv_source *source, uint64_t offset,
                        uint64_t length, struct lode_err *err)
{
    if (length == 0)
        return srv_reply_empty(request, 200);
    size_t first = (size_t)(offset / LODE_BLOCK_SIZE),
           last = (size_t)((offset + length - 1) / LODE_BLOCK_SIZE);
    bool known = srv_checked_covers(request->server->checked, &source->id, first, last);
    int fd;
    if (!known || open_same(source, &fd) < 0)
        return srv_stream_reply(request, source, offset, length, err);
    request->reply.kind = SRV_REPLY_FD;
    request->reply.fd = fd;
    request->reply.offset = offset;
    request->reply.length = length;
    if (srv_checked_covers(request->server->checked, &source->id, 0, source->id.n_blocks - 1))
        add_repr_digest(request, &source->file->sha256);
    return 0;
}

static int answer_file(struct srv_request *request, struct srv_source *source, const char *etag,
                       struct lode_err *err)
{
    uint64_t offset, length, size = source->file->size, revision = request->reply.revision;
    enum srv_range range = wanted_range(request, etag, size, &offset, &length);
    if (range == SRV_RANGE_BEYOND) {
        srv_reply_fail(request, 416, LODE_IO, "the file has %llu bytes", (unsigned long long)size);
        srv_reply_header(request, "Content-Range", "bytes */%llu", (unsigned long long)size);
        return 0;
    }
    int r = answer_bytes(request, source, offset, length, err);
    if (r < 0)
        return r;
    request->reply.status = range == SRV_RANGE_OK ? 206 : 200;
    request->reply.type = "application/octet-stream";
    request->reply.revision = revision;
    if (range == SRV_RANGE_OK)
        srv_reply_header(request, "Content-Range", "bytes %llu-%llu/%llu",
                         (unsigned long long)offset, (unsigned long long)(offset + length - 1),
                         (unsigned long long)size);
    srv_reply_header(request, "ETag", "%s", etag);
    srv_reply_header(request, "Accept-Ranges", "bytes");
    return 0;
}

int srv_op_file(struct srv_request *request, struct lode_err *err)
{
    __attribute__((cleanup(srv_source_release))) struct srv_source source = {0};
    char hex[LODE_SHA256_HEX], etag[ETAG_TEXT];
    int r = find_source(request, &source, err);
    if (r < 0)
        return r;
    lode_sha256_text(&source.file->sha256, hex);
    snprintf(etag, sizeof(etag), "\"%s\"", LODE_PLANTED(etag_constant) ? "0" : hex);
    if (refuse_by_condition(request, etag))
        return 0;
    r = look(&source, err);
    return r < 0 ? r : answer_file(request, &source, etag, err);
}

/* ---- the manifest ---- */

static int read_manifest(struct srv_request *request, const struct lode_version *v, char **text,
                         size_t *len, struct lode_err *err)
{
    struct lode_place place = {0};
    int r = OPS(request)->place(request->server->catalog, v, &place, err);
    if (r < 0)
        return r;
    struct lode_buf bytes = LODE_BUF_INIT(v->manifest_size);
    struct lode_sha256 found, wanted;
    _cleanup_free_ char *key =
        lode_asprintf("%s%s%s", place.prefix, place.prefix[0] ? "/" : "", LODE_MANIFEST_KEY);
    r = key ? lode_store_get(place.store, key, &bytes, err) : lode_err_nomem(err, "a manifest");
    r = r < 0 ? r : lode_sha256_of(lode_buf_str(&bytes), bytes.len, &found, err);
    lode_place_release(&place);
    if (r == 0 &&
        (!lode_sha256_parse(v->digest, &wanted) || memcmp(&found, &wanted, sizeof(found)) != 0))
        r = lode_err_set(err, LODE_CORRUPT, "the manifest of %s does not match its digest",
                         v->version);
    if (r < 0) {
        lode_buf_release(&bytes);
        return r;
    }
    *len = bytes.len;
    *text = lode_buf_steal(&bytes);
    return 0;
}

int srv_op_manifest(struct srv_request *request, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    char etag[ETAG_TEXT], *text;
    size_t len;
    int r = srv_request_version(request, false, &v, err);
    if (r < 0)
        return r;
    snprintf(etag, sizeof(etag), "\"%s\"", v.digest);
    if (refuse_by_condition(request, etag))
        return 0;
    r = read_manifest(request, &v, &text, &len, err);
    if (r < 0)
        return r;
    r = srv_reply_text(request, 200, "application/octet-stream", text, len);
    request->reply.revision = v.revision;
    srv_reply_header(request, "ETag", "%s", etag);
    return r;
}
