/* The files of an upload: parts in any order into the store, hashed as they pass.
 *
 * SHA-256 wants the bytes in order. Parts of one file mostly come so; one that is early waits
 * ORDER_MS for those before it. A file that was not seen in order, was resumed, or got a part
 * twice, is read again when it is complete. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/size.h"
#include "server/upload.h"
#include "server/wait.h"

#define ORDER_MS 1000
#define REREAD (4u << 20) /* bytes */

static const struct lode_place *place_of(const struct srv_upload *u)
{
    return lode_attempt_info(u->attempt)->place;
}

static char *key_of(const struct srv_upload *u, const char *path)
{
    const struct lode_place *place = place_of(u);
    return lode_asprintf("%s%s%s", place->prefix, place->prefix[0] ? "/" : "", path);
}

/* The write and its hashing; a file that was completed before stays complete. */
static void file_restart(struct srv_upload_file *f)
{
    lode_hasher_free(lode_steal(f->hasher));
    f->rehash = f->hashing = false;
    f->next = 0;
}

static void digest_forget(struct srv_upload_file *f)
{
    lode_file_digest_release(&f->digest);
    f->digest = (struct lode_file_digest){0};
    f->complete = false;
}

static void file_forget(struct srv_upload_file *f)
{
    file_restart(f);
    digest_forget(f);
}

void srv_upload_files_free(struct srv_upload *u)
{
    while (u->files) {
        struct srv_upload_file *f = u->files;
        u->files = f->next_file;
        lode_store_write_abort(f->write, true);
        file_forget(f);
        lode_free(f->path);
        lode_free(f);
    }
    u->n_files = 0;
}

/* ---- under the lock ---- */

static int check_open(const struct srv_upload *u, struct lode_err *err)
{
    if (u->state == SRV_UPLOAD_OPEN)
        return 0;
    return lode_err_set(err, LODE_LOST_LEASE,
                        "this upload is closed; nothing more can be written to it");
}

static struct srv_upload_file *find_file(const struct srv_upload *u, const char *path)
{
    struct srv_upload_file *f = u->files;
    while (f && strcmp(f->path, path) != 0)
        f = f->next_file;
    return f;
}

static int make_file(struct srv_upload *u, const char *path, struct srv_upload_file **out,
                     struct lode_err *err)
{
    *out = find_file(u, path);
    if (*out)
        return 0;
    if (u->n_files >= LODE_VERSION_FILES_MAX)
        return lode_err_set(err, LODE_LIMIT, "a version has at most %d files",
                            LODE_VERSION_FILES_MAX);
    struct srv_upload_file *f = lode_zalloc(sizeof(*f));
    if (!f || !(f->path = lode_strdup(path))) {
        lode_free(f);
        return lode_err_nomem(err, "an upload");
    }
    f->next_file = u->files;
    u->files = f;
    u->n_files++;
    *out = f;
    return 0;
}

/* The unfinished write of this key from before, so that a resumed upload goes on with it. */
static int find_unfinished(struct srv_upload *u, const char *key, char **id, struct lode_err *err)
{
    struct lode_store_unfinished_list list = {0};
    const struct lode_place *place = place_of(u);
    *id = NULL;
    if (!(lode_store_caps(place->store) & LODE_STORE_RESUME))
        return 0;
    int r = lode_store_unfinished(place->store, place->prefix, &list, err);
    if (r < 0)
        return r == LODE_NOT_FOUND ? 0 : r;
    for (size_t i = 0; i < list.n && !*id; i++)
        if (strcmp(list.items[i].key, key) == 0)
            *id = lode_strdup(list.items[i].id);
    lode_store_unfinished_release(&list);
    return 0;
}

static int begin_write(struct srv_upload *u, struct srv_upload_file *f,
                       const struct lode_store_write_opts *wanted, struct lode_err *err)
{
    _cleanup_free_ char *key = key_of(u, f->path), *id = NULL;
    if (!key)
        return lode_err_nomem(err, "a key");
    struct lode_store_write_opts opts = *wanted;
    int r = u->resumed ? find_unfinished(u, key, &id, err) : 0;
    file_restart(f);
    opts.resume = id;
    r = r < 0 ? r : lode_store_write_begin(place_of(u)->store, key, &opts, &f->write, err);
    if (r < 0 && id) {
        opts.resume = NULL; /* what cannot be gone on with is begun anew */
        r = lode_store_write_begin(place_of(u)->store, key, &opts, &f->write, err);
    }
    if (r < 0)
        return r;
    f->part_size = opts.part_size;
    f->started_ms = lode_now_ms();
    f->mode = opts.mode;
    f->rehash = opts.resume != NULL;
    return lode_hasher_new(&f->hasher, err);
}

static int ensure_write(struct srv_upload *u, struct srv_upload_file *f,
                        const struct lode_store_write_opts *opts, struct lode_err *err)
{
    if (f->completing)
        return lode_err_set(err, LODE_CONFLICT, "%s is being completed; it takes no parts",
                            lode_q(f->path));
    if (f->write && f->part_size != opts->part_size)
        return lode_err_set(err, LODE_INVALID, "parts of %s have %zu bytes, not %zu",
                            lode_q(f->path), f->part_size, opts->part_size);
    return f->write ? 0 : begin_write(u, f, opts, err);
}

/* ---- hashing in order ---- */

static bool my_turn(const struct srv_upload_file *f, uint32_t number)
{
    return f->next == number && !f->hashing;
}

/* Under the lock, which is let go while it hashes. */
static void hash_part(struct srv_upload *u, struct srv_upload_file *f, uint32_t number,
                      const void *data, size_t len)
{
    for (int64_t until = lode_mono_ms() + ORDER_MS;
         !f->rehash && number >= f->next && !my_turn(f, number) && lode_mono_ms() < until;)
        srv_cond_wait_until(&u->moved, &u->lock, until);
    if (f->rehash || !my_turn(f, number)) {
        f->rehash = true;
        pthread_cond_broadcast(&u->moved);
        return;
    }
    f->hashing = true;
    pthread_mutex_unlock(&u->lock);
    int r = lode_hasher_update(f->hasher, data, len, NULL);
    pthread_mutex_lock(&u->lock);
    f->hashing = false;
    f->next++;
    f->rehash |= r < 0;
    pthread_cond_broadcast(&u->moved);
}

int srv_upload_part(struct srv_upload *u, const char *path, uint32_t number,
                    const struct lode_store_write_opts *opts, const void *data, size_t len,
                    struct lode_err *err)
{
    struct srv_upload_file *f;
    pthread_mutex_lock(&u->lock);
    int r = check_open(u, err);
    r = r < 0 ? r : make_file(u, path, &f, err);
    r = r < 0 ? r : ensure_write(u, f, opts, err);
    if (r == 0) {
        f->running++;
        pthread_mutex_unlock(&u->lock);
        r = lode_store_write_part(f->write, number, data, len, err);
        pthread_mutex_lock(&u->lock);
        if (r == 0)
            hash_part(u, f, number, data, len);
        f->running--;
        pthread_cond_broadcast(&u->moved);
    }
    pthread_mutex_unlock(&u->lock);
    return r;
}

/* ---- complete ---- */

static int reread(struct srv_upload *u, const char *key, uint64_t size,
                  struct lode_file_digest *out, struct lode_err *err)
{
    struct lode_hasher *hasher;
    _cleanup_free_ char *block = lode_alloc((size_t)lode_min(size + 1, (uint64_t)REREAD));
    int r = block ? lode_hasher_new(&hasher, err) : lode_err_nomem(err, "a check");
    if (r < 0)
        return r;
    for (uint64_t at = 0; r == 0 && at < size; at += REREAD) {
        size_t n = (size_t)lode_min(size - at, (uint64_t)REREAD);
        r = lode_store_pread(place_of(u)->store, key, block, n, at, err);
        r = r < 0 ? r : lode_hasher_update(hasher, block, n, err);
    }
    r = r < 0 ? r : lode_hasher_final(hasher, out, err);
    lode_hasher_free(hasher);
    return r;
}

/* The digest of the file that lies there now. Without the lock: nobody else has the file while
 * `running` is held. */
static int digest_file(struct srv_upload *u, struct srv_upload_file *f, uint64_t size,
                       struct lode_err *err)
{
    struct lode_file_digest digest = {0};
    digest_forget(f);
    int r = f->rehash ? LODE_CHANGED : lode_hasher_final(f->hasher, &digest, err);
    if (r == 0 && digest.size == size) {
        f->digest = digest;
        return 0;
    }
    lode_file_digest_release(&digest);
    _cleanup_free_ char *key = key_of(u, f->path);
    return key ? reread(u, key, size, &f->digest, err) : lode_err_nomem(err, "a key");
}

static int complete_file(struct srv_upload *u, struct srv_upload_file *f, uint64_t size,
                         bool if_absent, struct lode_err *err)
{
    f->running++;         /* keeps a second complete and the end of the upload away */
    f->completing = true; /* and late parts, which would begin the file anew under its digest */
    struct lode_store_write *write = lode_steal(f->write);
    pthread_mutex_unlock(&u->lock);
    int r = lode_store_write_complete(write, size, if_absent, err);
    r = r < 0 ? r : digest_file(u, f, size, err);
    pthread_mutex_lock(&u->lock);
    f->complete = r == 0 || (r == LODE_EXISTS && f->complete); /* what is there was not replaced */
    f->completing = false;
    f->running--;
    pthread_cond_broadcast(&u->moved);
    return r;
}

int srv_upload_complete(struct srv_upload *u, const char *path, uint64_t size, uint32_t mode,
                        bool if_absent, struct lode_err *err)
{
    struct lode_store_write_opts empty = {.part_size = SRV_UPLOAD_PART, .mode = mode};
    struct srv_upload_file *f = NULL;
    pthread_mutex_lock(&u->lock);
    int r = check_open(u, err);
    r = r < 0 ? r : make_file(u, path, &f, err);
    while (r == 0 && f->running) {
        pthread_cond_wait(&u->moved, &u->lock);
        r = check_open(u, err);
    }
    if (r == 0 && f->complete && if_absent)
        r = lode_err_set(err, LODE_EXISTS, "%s is there already", lode_q(path));
    if (r == 0 && !f->write && size > 0)
        r = lode_err_set(err, LODE_INVALID, "no part of %s was sent", lode_q(path));
    if (r == 0 && !f->write)
        r = ensure_write(u, f, &empty, err);
    r = r < 0 ? r : complete_file(u, f, size, if_absent, err);
    pthread_mutex_unlock(&u->lock);
    return r;
}

int srv_upload_adopt(struct srv_upload *u, const char *path, uint64_t size, struct lode_err *err)
{
    struct srv_upload_file *f;
    int r = lode_path_check(path, strlen(path), err);
    r = r < 0 ? r : make_file(u, path, &f, err);
    if (r < 0)
        return r;
    file_forget(f);
    f->rehash = true;
    f->mode = 0644;
    r = digest_file(u, f, size, err);
    f->complete = r == 0;
    return r;
}

/* ---- looking ---- */

static int parts_json(struct srv_upload_file *f, json_t **out, struct lode_err *err)
{
    struct lode_store_part *parts;
    size_t n;
    int r = lode_store_write_parts(f->write, &parts, &n, err);
    if (r < 0)
        return r;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:I, s:I}", "number", (json_int_t)parts[i].number,
                                              "size", (json_int_t)parts[i].len));
    lode_store_free(parts);
    *out = json_pack("{s:I, s:I, s:o}", "part_size", (json_int_t)f->part_size, "started_ms",
                     (json_int_t)f->started_ms, "parts", list);
    return *out ? 0 : lode_err_nomem(err, "a list of parts");
}

/* A resumed upload knows its unfinished writes once it is asked for them: the part size is the
 * client's to say, and this server tells all clients the same one. */
static int open_unfinished(struct srv_upload *u, const char *path, struct srv_upload_file **out,
                           struct lode_err *err)
{
    struct lode_store_write_opts opts = {.size = UINT64_MAX, .part_size = SRV_UPLOAD_PART};
    _cleanup_free_ char *key = key_of(u, path), *id = NULL;
    *out = find_file(u, path);
    if (*out && ((*out)->write || (*out)->complete || (*out)->completing))
        return 0;
    int r = !key         ? lode_err_nomem(err, "a key")
            : u->resumed ? find_unfinished(u, key, &id, err)
                         : 0;
    if (r < 0 || !id)
        return r;
    r = make_file(u, path, out, err);
    return r < 0 ? r : begin_write(u, *out, &opts, err);
}

int srv_upload_parts(struct srv_upload *u, const char *path, json_t **out, struct lode_err *err)
{
    struct srv_upload_file *f = NULL;
    pthread_mutex_lock(&u->lock);
    int r = check_open(u, err);
    r = r < 0 ? r : open_unfinished(u, path, &f, err);
    if (r == 0 && (!f || !f->write))
        r = lode_err_set(err, LODE_NOT_FOUND, "nothing of %s was begun", lode_q(path));
    r = r < 0 ? r : parts_json(f, out, err);
    pthread_mutex_unlock(&u->lock);
    return r;
}

int srv_upload_drop(struct srv_upload *u, const char *path, struct lode_err *err)
{
    struct srv_upload_file *f = NULL;
    pthread_mutex_lock(&u->lock);
    int r = check_open(u, err);
    r = r < 0 ? r : open_unfinished(u, path, &f, err);
    while (r == 0 && f && f->running) {
        pthread_cond_wait(&u->moved, &u->lock);
        r = check_open(u, err);
    }
    if (r == 0 && (!f || !f->write))
        r = lode_err_set(err, LODE_NOT_FOUND, "nothing of %s was begun", lode_q(path));
    if (r == 0) {
        lode_store_write_abort(lode_steal(f->write), false);
        file_restart(f);
    }
    pthread_mutex_unlock(&u->lock);
    return r;
}

static void add_unfinished(json_t *list, const char *path, int64_t started_ms)
{
    json_array_append_new(
        list, json_pack("{s:s, s:I}", "key", path, "started_ms", (json_int_t)started_ms));
}

/* What an earlier life left and this one has not begun to write. */
static int unfinished_before(struct srv_upload *u, json_t *list, struct lode_err *err)
{
    const struct lode_place *place = place_of(u);
    struct lode_store_unfinished_list found = {0};
    if (!u->resumed || !(lode_store_caps(place->store) & LODE_STORE_RESUME))
        return 0;
    int r = lode_store_unfinished(place->store, place->prefix, &found, err);
    size_t skip = place->prefix[0] ? strlen(place->prefix) + 1 : 0;
    for (size_t i = 0; r == 0 && i < found.n; i++) {
        if (strlen(found.items[i].key) <= skip)
            continue;
        struct srv_upload_file *f = find_file(u, found.items[i].key + skip);
        if (!f || (!f->write && !f->complete))
            add_unfinished(list, found.items[i].key + skip, found.items[i].started_ms);
    }
    lode_store_unfinished_release(&found);
    return r == LODE_NOT_FOUND ? 0 : r;
}

int srv_upload_unfinished(struct srv_upload *u, json_t **out, struct lode_err *err)
{
    json_t *list = json_array();
    pthread_mutex_lock(&u->lock);
    int r = check_open(u, err);
    for (const struct srv_upload_file *f = r == 0 ? u->files : NULL; f; f = f->next_file)
        if (f->write)
            add_unfinished(list, f->path, f->started_ms);
    r = r < 0 ? r : unfinished_before(u, list, err);
    pthread_mutex_unlock(&u->lock);
    if (r < 0) {
        json_decref(list);
        return r;
    }
    *out = json_pack("{s:o}", "unfinished", list);
    return *out ? 0 : lode_err_nomem(err, "a list");
}

int srv_upload_stat(struct srv_upload *u, const char *path, uint64_t *size, struct lode_err *err)
{
    struct lode_store_stat stat;
    pthread_mutex_lock(&u->lock);
    int r = check_open(u, err);
    _cleanup_free_ char *key = r == 0 ? key_of(u, path) : NULL;
    if (r == 0)
        r = key ? lode_store_stat(place_of(u)->store, key, &stat, err)
                : lode_err_nomem(err, "a key");
    pthread_mutex_unlock(&u->lock);
    if (r == 0 && stat.kind != LODE_STORE_OBJECT)
        r = lode_err_set(err, LODE_NOT_FOUND, "%s is a directory", lode_q(path));
    if (r == 0)
        *size = stat.size;
    return r;
}
