/* Finishing an upload: the manifest is made here, from what passed through and from what lies
 * there, never from what the client says; a client may say what it meant to send (a digest over all
 * names, sizes and SHA-256), and is told if that differs. */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/plant.h"
#include "catalog/content.h"
#include "format/format.h"
#include "model/record.h"
#include "server/upload.h"
#include "server/wait.h"

struct reading {
    struct srv_upload *upload;
    const struct lode_manifest *manifest;
};

static int read_staged(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                       struct lode_err *err)
{
    const struct reading *reading = arg;
    const struct lode_place *place = lode_attempt_info(reading->upload->attempt)->place;
    _cleanup_free_ char *key = lode_asprintf("%s%s%s", place->prefix, place->prefix[0] ? "/" : "",
                                             reading->manifest->files[number].path);
    return key ? lode_store_pread(place->store, key, into, len, offset, err)
               : lode_err_nomem(err, "a key");
}

static int index_files(struct srv_upload *u, struct lode_manifest *m, struct lode_err *err)
{
    _cleanup_free_ struct lode_format_input *inputs = lode_calloc(m->n_files + 1, sizeof(*inputs));
    if (!inputs)
        return lode_err_nomem(err, "a manifest");
    for (size_t i = 0; i < m->n_files; i++)
        inputs[i] = (struct lode_format_input){m->files[i].path, m->files[i].size, NULL};
    struct reading reading = {u, m};
    int r = lode_format_index_files(inputs, m->n_files, read_staged, &reading, &m->tensors, err);
    for (size_t i = 0; r == 0 && i < m->n_files; i++) {
        m->files[i].format = lode_strdup(inputs[i].format);
        r = m->files[i].format ? 0 : lode_err_nomem(err, "a manifest");
    }
    return r;
}

static int add_file(struct lode_manifest_file *out, struct srv_upload_file *f, struct lode_err *err)
{
    out->path = lode_strdup(f->path);
    out->size = f->digest.size;
    out->mode = f->mode & 0111 ? 0755 : 0644;
    out->sha256 = f->digest.sha256;
    out->crc32c = f->digest.crc32c;
    out->blocks = lode_memdup(f->digest.blocks ? (const void *)f->digest.blocks : "",
                              f->digest.n_blocks * sizeof(*f->digest.blocks));
    out->n_blocks = f->digest.n_blocks;
    return out->path && out->blocks ? 0 : lode_err_nomem(err, "a manifest");
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct lode_manifest_file *)a)->path,
                  ((const struct lode_manifest_file *)b)->path);
}

static int make_manifest(struct srv_upload *u, struct lode_manifest **out, struct lode_err *err)
{
    _cleanup_manifest_ struct lode_manifest *m = lode_zalloc(sizeof(*m));
    if (!m)
        return lode_err_nomem(err, "a manifest");
    m->ns = lode_strdup(u->ns);
    m->name = lode_strdup(u->name);
    m->version = lode_strdup(u->version);
    m->created_ms = lode_now_ms();
    m->block_size = LODE_BLOCK_SIZE;
    m->files = lode_calloc(u->n_files + 1, sizeof(*m->files));
    int r = m->ns && m->name && m->version && m->files ? 0 : lode_err_nomem(err, "a manifest");
    for (struct srv_upload_file *f = u->files; f && r == 0; f = f->next_file)
        if (f->complete)
            r = add_file(&m->files[m->n_files++], f, err);
    if (r == 0 && m->n_files == 0)
        r = lode_err_set(err, LODE_INVALID, "no file was uploaded");
    qsort(m->files, m->n_files, sizeof(*m->files), by_path);
    r = r < 0 ? r : index_files(u, m, err);
    r = r < 0 ? r : lode_manifest_sort(m, err); /* sorted already: checks the rules about paths */
    if (r < 0)
        return r;
    *out = lode_steal(m);
    return 0;
}

/* ---- a resumed upload: files from an earlier life ---- */

struct walk {
    struct srv_upload *upload;
    size_t skip; /* bytes of prefix and slash */
};

static bool is_known(const struct srv_upload *u, const char *path)
{
    const struct srv_upload_file *f = u->files;
    while (f && strcmp(f->path, path) != 0)
        f = f->next_file;
    return f && f->complete;
}

static int adopt(void *arg, const char *key, const struct lode_store_stat *stat,
                 struct lode_err *err)
{
    struct walk *walk = arg;
    const char *path = key + walk->skip;
    if (strncmp(path, "_lode/", 6) == 0 || is_known(walk->upload, path))
        return 0;
    return srv_upload_adopt(walk->upload, path, stat->size, err);
}

static int adopt_earlier(struct srv_upload *u, struct lode_err *err)
{
    const struct lode_place *place = lode_attempt_info(u->attempt)->place;
    struct walk walk = {u, place->prefix[0] ? strlen(place->prefix) + 1 : 0};
    int r = u->resumed ? lode_store_walk(place->store, place->prefix, adopt, &walk, err) : 0;
    return r == LODE_NOT_FOUND ? 0 : r;
}

/* ---- what the client meant ---- */

static int check_content(const struct lode_manifest *m, const char *content, struct lode_err *err)
{
    char found[LODE_SHA256_HEX];
    if (!content)
        return 0;
    int r = lode_manifest_content(m, found, err);
    if (r == 0 && strcmp(found, content) != 0)
        r = lode_err_set(err, LODE_CORRUPT,
                         "what arrived is not what was sent: content %s here, %s there", found,
                         content);
    return r;
}

/* ---- the commit ---- */

static int begin_finish(struct srv_upload *u, struct lode_err *err)
{
    if (u->state != SRV_UPLOAD_OPEN)
        return lode_err_set(err, u->state == SRV_UPLOAD_FINISHING ? LODE_CONFLICT : LODE_LOST_LEASE,
                            "this upload %s",
                            u->state == SRV_UPLOAD_FINISHING ? "is being finished already"
                                                             : "is closed");
    for (const struct srv_upload_file *f = u->files; f; f = f->next_file)
        if (f->running || f->write)
            return lode_err_set(err, LODE_INVALID, "%s is not complete", f->path);
    u->state = SRV_UPLOAD_FINISHING;
    return 0;
}

static int commit(struct srv_upload *u, const char *content, struct lode_version *out,
                  struct lode_err *err)
{
    _cleanup_manifest_ struct lode_manifest *m = NULL;
    int r = adopt_earlier(u, err);
    r = r < 0 ? r : make_manifest(u, &m, err);
    r = r < 0 ? r : check_content(m, content, err);
    return r < 0 ? r : lode_catalog_ops_of(u->attempt)->finish(u->attempt, m, out, err);
}

static void end_finish(struct srv_upload *u, bool done, const struct lode_version *v)
{
    struct lode_attempt *attempt = NULL;
    pthread_mutex_lock(&u->lock);
    u->state = done ? SRV_UPLOAD_DONE : SRV_UPLOAD_OPEN;
    if (done) {
        attempt = lode_steal(u->attempt);
        u->answer = lode_version_json(v);
        u->revision = v->revision;
    }
    u->used_ms = lode_mono_ms();
    pthread_mutex_unlock(&u->lock);
    if (!attempt)
        return;
    srv_upload_files_free(u);
    lode_catalog_ops_of(attempt)->attempt_close(attempt);
}

int srv_upload_finish(struct srv_upload *u, const char *content, struct lode_version *out,
                      struct lode_err *err)
{
    pthread_mutex_lock(&u->lock);
    int r = begin_finish(u, err);
    pthread_mutex_unlock(&u->lock);
    if (r < 0)
        return r;
    r = commit(u, content, out, err);
    end_finish(u, r == 0, out);
    return r;
}
