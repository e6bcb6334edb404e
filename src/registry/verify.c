/* verify: reads every byte of one version, or of all, and compares it with all its digests: see
 * <lode/lode.h>.
 *
 * The manifest is read from the store itself and not from a cache, and compared with the digest in
 * the version's record; each file with its SHA-256, CRC32C and blocks; what lies in the version's
 * directory beside its files is told too. What does not match is a line of the report, not an error
 * of the call.
 */
#include <inttypes.h>
#include <stdio.h>
#include <pthread.h>
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "io/pool.h"
#include "load/blocks.h"
#include "load/flow.h"
#include "load/spans.h"
#include "registry/handle.h"

#define FAULTS_MAX 10000 /* lines of a report */

struct verify {
    struct lode *lode;
    const struct lode_call *call;
    struct lode_flow flow;
    struct lode_pool *pool;
    json_t *faults; /* guarded by lock */
    pthread_mutex_t lock;
    uint64_t versions, files, bytes;
    /* the version at hand */
    const struct lode_version *version;
    struct lode_manifest *manifest;
    struct lode_place place;
    _Atomic size_t next;
};

/* A line of the report; block SIZE_MAX: the file as a whole; path "": the version. */
static int add_fault(struct verify *self, const char *path, size_t block, const char *message,
                     struct lode_err *err)
{
    const struct lode_version *v = self->version;
    json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:s}", "ns", v->ns, "name", v->name, "version",
                             v->version, "path", path, "message", message);
    int bad = !line;
    if (!bad && block != SIZE_MAX)
        bad = json_object_set_new(line, "block", json_integer((json_int_t)block)) < 0 ||
              json_object_set_new(
                  line, "offset",
                  json_integer((json_int_t)(block * (uint64_t)self->manifest->block_size))) < 0;
    pthread_mutex_lock(&self->lock);
    if (!bad && json_array_size(self->faults) < FAULTS_MAX)
        bad = json_array_append(self->faults, line) < 0;
    pthread_mutex_unlock(&self->lock);
    json_decref(line);
    return bad ? lode_err_nomem(err, "a report") : 0;
}

/* What is no fault of the bytes, but of the call: it must not pass for a finding. */
static bool is_fault(int code)
{
    return code == LODE_CORRUPT || code == LODE_NOT_FOUND || code == LODE_IO ||
           code == LODE_INVALID || code == LODE_DENIED;
}

static int hash_file(struct verify *self, const struct lode_manifest_file *file, const char *key,
                     void *buf, struct lode_file_digest *digest, struct lode_err *err)
{
    struct lode_hasher *hasher;
    int r = lode_hasher_new(&hasher, err);
    if (r < 0)
        return r;
    for (uint64_t at = 0; r == 0 && at < file->size;) {
        size_t n = (size_t)lode_min(file->size - at, (uint64_t)lode_pool_size(self->pool));
        r = lode_flow_stopped(&self->flow)
                ? lode_err_set(err, LODE_CANCELLED, "stopped")
                : lode_store_pread(self->place.store, key, buf, n, at, err);
        if (r == 0)
            r = lode_hasher_update(hasher, buf, n, err);
        at += n;
        atomic_fetch_add(&self->flow.done, n);
    }
    if (r == 0)
        r = lode_hasher_final(hasher, digest, err);
    lode_hasher_free(hasher);
    return r;
}

static int compare(struct verify *self, const struct lode_manifest_file *file,
                   const struct lode_file_digest *digest, struct lode_err *err)
{
    if (LODE_PLANTED(verify_nothing))
        return 0;
    for (size_t i = 0; i < file->n_blocks; i++) {
        if (memcmp(&digest->blocks[i], &file->blocks[i], sizeof *file->blocks) != 0)
            return add_fault(self, file->path, i, "the block does not match its digest", err);
    }
    if (memcmp(&digest->sha256, &file->sha256, sizeof file->sha256) != 0)
        return add_fault(self, file->path, SIZE_MAX, "the SHA-256 does not match", err);
    if (digest->crc32c != file->crc32c)
        return add_fault(self, file->path, SIZE_MAX, "the CRC32C does not match", err);
    return 0;
}

static int verify_file(struct verify *self, const struct lode_manifest_file *file, void *buf,
                       struct lode_err *err)
{
    _cleanup_free_ char *key = lode_place_key(&self->place, file->path);
    struct lode_store_stat st;
    struct lode_file_digest digest = {0};
    char text[128];
    if (!key)
        return lode_err_nomem(err, "a key");
    /* A store behind a server is not looked at, only read. */
    bool sized = lode_store_caps(self->place.store) & LODE_STORE_LIST;
    int r = sized ? lode_store_stat(self->place.store, key, &st, err) : 0;
    if (r == 0 && sized && st.size != file->size) {
        snprintf(text, sizeof text, "it has %" PRIu64 " bytes, not %" PRIu64, st.size, file->size);
        return add_fault(self, file->path, SIZE_MAX, text, err);
    }
    if (r == 0)
        r = hash_file(self, file, key, buf, &digest, err);
    if (r == 0)
        r = compare(self, file, &digest, err);
    else if (is_fault(r))
        r = add_fault(self, file->path, SIZE_MAX, err->text, err);
    lode_file_digest_release(&digest);
    atomic_fetch_add(&self->flow.files_done, 1);
    return r;
}

static void files(void *arg)
{
    struct verify *self = arg;
    struct lode_err err;
    void *buf;
    if (lode_pool_get(self->pool, &buf, &err) < 0)
        return;
    for (;;) {
        size_t i = atomic_fetch_add(&self->next, 1);
        if (i >= self->manifest->n_files || lode_flow_stopped(&self->flow))
            break;
        if (verify_file(self, &self->manifest->files[i], buf, &err) < 0)
            lode_flow_fail(&self->flow, &err);
    }
    lode_pool_put(self->pool, buf);
}

/* The manifest as it lies in the store. */
static int read_manifest(struct verify *self, struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf bytes = LODE_BUF_INIT(2 * (size_t)LODE_MANIFEST_HEAD_MAX);
    _cleanup_free_ char *key = lode_place_key(&self->place, LODE_MANIFEST_KEY);
    struct lode_sha256 digest, want;
    if (!key)
        return lode_err_nomem(err, "a key");
    int r = lode_store_get(self->place.store, key, &bytes, err);
    if (r == 0)
        r = lode_sha256_of(bytes.data ? bytes.data : "", bytes.len, &digest, err);
    if (r < 0)
        return r;
    if (!self->version->digest || !lode_sha256_parse(self->version->digest, &want) ||
        memcmp(&digest, &want, sizeof want) != 0)
        return lode_err_set(err, LODE_CORRUPT,
                            "the manifest does not match the digest in the version's record");
    return lode_manifest_parse(bytes.data, bytes.len, self->version->version, &self->manifest, err);
}

/* Told of each object in the version's directory. */
static int look_for_strangers(void *arg, const char *key, const struct lode_store_stat *st,
                              struct lode_err *err)
{
    struct verify *self = arg;
    const char *path = key + strlen(self->place.prefix) + (*self->place.prefix ? 1 : 0);
    if (strcmp(path, LODE_MANIFEST_KEY) == 0 || lode_manifest_find(self->manifest, path))
        return 0;
    return add_fault(self, path, SIZE_MAX, "it is not part of the version", err);
}

static int verify_contents(struct verify *self, struct lode_err *err)
{
    self->next = 0;
    unsigned threads =
        (unsigned)lode_min((size_t)lode_flow_threads(2, 8), self->manifest->n_files + 1);
    int r = lode_flow_run(&self->flow, threads, files, self, err);
    if (r == 0 && (lode_store_caps(self->place.store) & LODE_STORE_LIST))
        r = lode_store_walk(self->place.store, self->place.prefix, look_for_strangers, self, err);
    self->versions++;
    self->files += self->manifest->n_files;
    self->bytes += lode_manifest_bytes(self->manifest);
    return r;
}

/* Before anything is read, so that progress tells of the whole. */
static void foresee(struct verify *self, const struct lode_version *v)
{
    self->flow.total += v->size;
    self->flow.files_total += v->files;
}

static int verify_version(struct verify *self, const struct lode_version *v, struct lode_err *err)
{
    self->version = v;
    int r = lode_handle_ops(self->lode)->place(self->lode->catalog, v, &self->place, err);
    if (r < 0)
        return r;
    r = read_manifest(self, err);
    if (r == 0)
        r = verify_contents(self, err);
    else if (is_fault(r))
        r = add_fault(self, LODE_MANIFEST_KEY, SIZE_MAX, err->text, err);
    lode_manifest_free(self->manifest);
    self->manifest = NULL;
    lode_place_release(&self->place);
    return r;
}

/* A version that was removed meanwhile is none of the root's any more. */
static bool still_there(struct verify *self, const struct lode_version *v)
{
    _cleanup_version_ struct lode_version now = {0};
    struct lode_ref ref = {.kind = LODE_REV_SEQ, .seq = v->seq};
    snprintf(ref.ns, sizeof ref.ns, "%s", v->ns);
    snprintf(ref.name, sizeof ref.name, "%s", v->name);
    return lode_handle_ops(self->lode)->resolve(self->lode->catalog, &ref, false, &now, NULL) !=
           LODE_NOT_FOUND;
}

static int verify_page(struct verify *self, const struct lode_versions *page, struct lode_err *err)
{
    int r = 0;
    for (size_t i = 0; i < page->n; i++)
        foresee(self, &page->items[i]);
    for (size_t i = 0; r == 0 && i < page->n; i++) {
        size_t before = json_array_size(self->faults);
        r = verify_version(self, &page->items[i], err);
        if (r == 0 && json_array_size(self->faults) > before &&
            !still_there(self, &page->items[i])) {
            while (json_array_size(self->faults) > before)
                json_array_remove(self->faults, before);
        }
    }
    return r;
}

static int verify_all(struct verify *self, struct lode_err *err)
{
    _cleanup_free_ char *next = NULL;
    for (;;) {
        _cleanup_versions_ struct lode_versions page = {0};
        struct lode_query query = {.limit = LODE_PAGE_MAX, .page = next};
        int r = lode_handle_ops(self->lode)->versions(self->lode->catalog, &query, &page, err);
        if (r == 0)
            r = verify_page(self, &page, err);
        if (r < 0 || !page.next)
            return r;
        lode_free(next);
        if (!(next = lode_strdup(page.next)))
            return lode_err_nomem(err, "a page");
    }
}

static int verify_one(struct verify *self, const char *ref, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    int r = lode_handle_resolve(self->lode, ref, &v, err);
    if (r < 0)
        return r;
    foresee(self, &v);
    return verify_version(self, &v, err);
}

static int run_here(struct verify *self, const char *ref, struct lode_err *err)
{
    int r = lode_flow_init(&self->flow, "verify", self->call, err);
    if (r < 0)
        return r;
    r = lode_pool_new(LODE_SPAN, LODE_TRANSFER_MEMORY, false, NULL, &self->pool, err);
    if (r == 0)
        r = ref ? verify_one(self, ref, err) : verify_all(self, err);
    lode_pool_free(self->pool);
    lode_flow_release(&self->flow);
    return r;
}

int lode_verify(struct lode *lode, const char *ref, const struct lode_call *call, char **json,
                struct lode_err *err)
{
    _cleanup_json_ json_t *faults = json_array(), *params = NULL;
    struct verify self = {
        .lode = lode, .call = call, .faults = faults, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct lode_err local;
    int r = lode_handle_fresh(lode, err);
    if (r < 0)
        return r;
    if (!lode->store) {
        params = ref ? json_pack("{s:s}", "ref", ref) : json_object();
        return lode_handle_job(lode, "verify", params, json, err);
    }
    r = faults ? run_here(&self, ref, err ? err : &local) : lode_err_nomem(err, "a report");
    if (r < 0)
        return r;
    return lode_json_hand_out(json_pack("{s:b, s:I, s:I, s:I, s:O}", "clean",
                                        json_array_size(faults) == 0, "versions",
                                        (json_int_t)self.versions, "files", (json_int_t)self.files,
                                        "bytes", (json_int_t)self.bytes, "faults", faults),
                              json, err);
}
