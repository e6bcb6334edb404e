/* pull: a version's files into a directory: see <lode/lode.h>.
 *
 *     look at what is there -> enough room? -> fetch spans in parallel, each checked -> flush, name
 *
 * A file is written as ".lode-part-<digest>" beside its place and renamed when all its blocks have
 * matched: under its own name it is whole or not there. After an interruption the part files are
 * looked through block by block and only what does not match is fetched: nothing has to be
 * remembered. Two pulls into one place are kept apart by a lock on the part file.
 *
 * Invariants
 *  1. No byte gets a file's name before its block matched.
 *  2. A file that is there and differs is left alone unless `force`.
 *  3. No symbolic link beneath the destination is followed.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include "base/glob.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/sys.h"
#include "io/direct.h"
#include "io/pool.h"
#include "load/blocks.h"
#include "load/flow.h"
#include "load/spans.h"
#include "registry/beneath.h"
#include "registry/dirs.h"
#include "registry/handle.h"

#define PART_NAME 48

enum there { ABSENT, SAME, DIFFERS };

/* One file; touched by one thread at a time where no lock is named. */
struct pull_file {
    const struct lode_manifest_file *file;
    enum there there; /* what lies under its name; guarded by lock while looking */
    uint64_t left;    /* spans to do; guarded by lock */
    int fd;           /* looking: the file; fetching: the part file. Opened under the lock */
    int direct;       /* the part file past the page cache, or -1 */
    int source, source_direct; /* the store's own local file, where it has one, or -1 */
    int parent;                /* directory of the part file, -1 */
    uint64_t had;              /* bytes that the part file had when it was opened */
    char part[PART_NAME];
};

struct pull {
    struct lode *lode;
    const struct lode_pull_options *options;
    struct lode_version version;
    struct lode_manifest *manifest;
    struct lode_place place;
    char *dest; /* absolute */
    int dir;
    struct pull_file *files;
    const struct lode_manifest_file **table; /* of the files below, for the spans */
    size_t *number;                          /* table position -> position in `files` */
    size_t n;
    pthread_mutex_t lock;
    struct lode_flow flow;
    struct lode_spans spans;
    struct lode_pool *pool;
};

static void close_file(struct pull_file *f)
{
    int *const fds[] = {&f->fd, &f->direct, &f->source, &f->source_direct, &f->parent};
    for (size_t i = 0; i < LODE_ARRAY_LEN(fds); i++) {
        lode_closep(fds[i]);
        *fds[i] = -1;
    }
}

static void pull_release(struct pull *self)
{
    for (size_t i = 0; i < self->n; i++)
        close_file(&self->files[i]);
    lode_closep(&self->dir);
    lode_free(self->files);
    lode_free(self->table);
    lode_free(self->number);
    lode_free(self->dest);
    lode_place_release(&self->place);
    lode_manifest_free(self->manifest);
    lode_version_release(&self->version);
    pthread_mutex_destroy(&self->lock);
}
#define _cleanup_pull_ __attribute__((cleanup(pull_release)))

/* ---- what is wanted ---- */

static bool wanted(const struct lode_pull_options *o, const char *path)
{
    return !o || (lode_glob_any(o->include, o->n_include, path, true, true) &&
                  !lode_glob_any(o->exclude, o->n_exclude, path, true, false));
}

static int choose_files(struct pull *self, struct lode_err *err)
{
    const struct lode_manifest *m = self->manifest;
    self->files = lode_calloc(m->n_files + 1, sizeof *self->files);
    self->table = lode_calloc(m->n_files + 1, sizeof *self->table);
    self->number = lode_calloc(m->n_files + 1, sizeof *self->number);
    if (!self->files || !self->table || !self->number)
        return lode_err_nomem(err, "a list of files");
    for (size_t i = 0; i < m->n_files; i++) {
        if (wanted(self->options, m->files[i].path))
            self->files[self->n++] = (struct pull_file){.file = &m->files[i],
                                                        .fd = -1,
                                                        .direct = -1,
                                                        .source = -1,
                                                        .source_direct = -1,
                                                        .parent = -1};
    }
    if (self->n == 0)
        return lode_err_set(err, LODE_NOT_FOUND,
                            "none of the %zu files of %s@%s is wanted by --include and --exclude",
                            m->n_files, self->version.name, self->version.version);
    return 0;
}

static int open_dest(struct pull *self, const char *dest, struct lode_err *err)
{
    _cleanup_free_ char *usual =
        dest ? NULL : lode_asprintf("./%s-%s", self->version.name, self->version.version);
    if (!dest && !usual)
        return lode_err_nomem(err, "a path");
    int r = lode_dir_absolute(dest ? dest : usual, &self->dest, err);
    if (r == 0)
        r = lode_dir_make(self->dest, 0777, err);
    if (r < 0)
        return r;
    self->dir = lode_sys->openat(AT_FDCWD, self->dest, O_RDONLY | O_DIRECTORY, 0);
    return self->dir < 0 ? lode_err_sys(err, "cannot open %s", lode_q(self->dest)) : 0;
}

/* Lists the files for which `take` holds and cuts them into spans. */
static int plan(struct pull *self, enum there take, const char *stage, struct lode_err *err)
{
    size_t n = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < self->n; i++) {
        if ((self->files[i].there == SAME) != (take == SAME))
            continue;
        self->table[n] = self->files[i].file;
        self->number[n++] = i;
        bytes += self->files[i].file->size;
    }
    int r = lode_spans_init(&self->spans, self->table, n, err);
    if (r < 0)
        return r;
    for (size_t k = 0; k < n; k++)
        self->files[self->number[k]].left = lode_spans_of(&self->spans, k);
    self->flow.stage = stage;
    self->flow.done = self->flow.files_done = 0;
    self->flow.total = bytes;
    self->flow.files_total = n;
    return 0;
}

static int run_spans(struct pull *self, lode_flow_worker *worker, struct lode_err *err)
{
    int r =
        self->spans.n ? lode_flow_run(&self->flow, lode_flow_threads(2, 8), worker, self, err) : 0;
    lode_spans_release(&self->spans);
    return r;
}

/* ---- what is there ---- */

/* A file of the right size may be the one: `there` is SAME until a block says otherwise. */
static int look(struct pull *self, struct pull_file *f, struct lode_err *err)
{
    struct stat st;
    f->fd = lode_sys->open_beneath(self->dir, f->file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (f->fd < 0 && errno == ENOENT)
        return 0;
    f->there = DIFFERS;
    if (f->fd < 0 && (errno == ELOOP || errno == ENOTDIR || errno == ENXIO))
        return 0;
    if (f->fd < 0 || lode_sys->fstat(f->fd, &st) < 0)
        return lode_err_sys(err, "cannot look at %s in %s", lode_q(f->file->path),
                            lode_q(self->dest));
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->file->size)
        f->there = SAME;
    lode_closep(&f->fd); /* many files may be there: opened again when its turn comes */
    f->fd = -1;
    return 0;
}

static void span_done(struct pull *self, struct pull_file *f, size_t len)
{
    pthread_mutex_lock(&self->lock);
    bool last = --f->left == 0;
    int fd = last ? lode_steal_fd(f->fd) : -1;
    pthread_mutex_unlock(&self->lock);
    lode_closep(&fd);
    atomic_fetch_add(&self->flow.done, len);
    atomic_fetch_add(&self->flow.files_done, last);
}

static void mark(struct pull *self, struct pull_file *f, enum there there)
{
    pthread_mutex_lock(&self->lock);
    f->there = there;
    pthread_mutex_unlock(&self->lock);
}

static bool compare_span(struct pull *self, struct pull_file *f, const struct lode_span *span,
                         void *buf)
{
    pthread_mutex_lock(&self->lock);
    if (f->fd < 0)
        f->fd =
            lode_sys->open_beneath(self->dir, f->file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    int fd = f->there == SAME ? f->fd : -1;
    pthread_mutex_unlock(&self->lock);
    return fd >= 0 && (span->len == 0 || lode_pread_full(fd, buf, span->len, span->offset) == 0) &&
           lode_blocks_first_bad(f->file, self->manifest->block_size, span->offset, buf,
                                 span->len) == SIZE_MAX;
}

static void compare_spans(void *arg)
{
    struct pull *self = arg;
    struct lode_span span;
    struct lode_err err;
    void *buf;
    if (lode_pool_get(self->pool, &buf, &err) < 0)
        return;
    while (!lode_flow_stopped(&self->flow) && lode_spans_take(&self->spans, &span)) {
        struct pull_file *f = &self->files[self->number[span.file]];
        if (!compare_span(self, f, &span, buf))
            mark(self, f, DIFFERS);
        span_done(self, f, span.len);
    }
    lode_pool_put(self->pool, buf);
}

static int look_around(struct pull *self, struct lode_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < self->n; i++)
        r = look(self, &self->files[i], err);
    if (r == 0)
        r = plan(self, SAME, "compare", err);
    if (r == 0)
        r = run_spans(self, compare_spans, err);
    for (size_t i = 0; r == 0 && i < self->n; i++) {
        if (self->files[i].there == DIFFERS && !(self->options && self->options->force))
            r = lode_err_set(
                err, LODE_EXISTS,
                "%s is in %s already and differs from the version's; --force replaces it",
                lode_q(self->files[i].file->path), lode_q(self->dest));
    }
    return r;
}

static int check_room(struct pull *self, struct lode_err *err)
{
    struct statvfs vfs;
    char need[LODE_SIZE_TEXT], there[LODE_SIZE_TEXT];
    uint64_t bytes = self->flow.total;
    if (lode_sys->fstatvfs(self->dir, &vfs) < 0)
        return 0;
    for (size_t k = 0; k < self->spans.n; k++) {
        const struct pull_file *f = &self->files[self->number[k]];
        bytes -= lode_min(f->had, f->file->size);
    }
    uint64_t room = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    if (bytes <= room)
        return 0;
    return lode_err_set(err, LODE_NO_SPACE, "the pull needs %s, %s has %s free",
                        lode_size_text(bytes, need), lode_q(self->dest),
                        lode_size_text(room, there));
}

/* ---- fetching ---- */

/* One name for one content at one place, of a length that fits everywhere. */
static int name_part(struct pull_file *f, struct lode_err *err)
{
    _cleanup_free_ char *text =
        lode_asprintf("%s %s", lode_sha256_text(&f->file->sha256, (char[LODE_SHA256_HEX]){0}),
                      lode_beneath_leaf(f->file->path));
    char hex[2 * LODE_XXH128_LEN + 1];
    if (!text)
        return lode_err_nomem(err, "a path");
    struct lode_xxh128 digest = lode_xxh128_of(text, strlen(text));
    snprintf(f->part, sizeof f->part, ".lode-part-%s", lode_hex(digest.b, sizeof digest.b, hex));
    return 0;
}

static void look_at_part(struct pull *self, struct pull_file *f)
{
    struct stat st;
    _cleanup_free_ char *path = NULL;
    const char *leaf = lode_beneath_leaf(f->file->path);
    if (name_part(f, NULL) < 0)
        return;
    path = lode_asprintf("%.*s%s", (int)(leaf - f->file->path), f->file->path, f->part);
    if (path && lode_sys->fstatat(self->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode))
        f->had = (uint64_t)st.st_blocks * 512;
}

/* The part file, locked; made if it is not there. */
static int open_part(struct pull *self, struct pull_file *f, struct lode_err *err)
{
    struct stat st;
    int r = lode_beneath_parent(self->dir, f->file->path, self->dest, &f->parent, err);
    for (int tries = 0; r == 0 && tries < 10; tries++) {
        lode_closep(&f->fd);
        f->fd = lode_sys->open_beneath(f->parent, f->part, O_RDWR | O_CREAT, 0666);
        if (f->fd < 0)
            return lode_err_sys(err, "cannot write in %s", lode_q(self->dest));
        if (lode_sys->flock(f->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
            break;
        if (lode_sys->fstat(f->fd, &st) < 0)
            return lode_err_sys(err, "cannot look at %s in %s", f->part, lode_q(self->dest));
        if (st.st_nlink == 0)
            continue; /* another pull just finished it and took its name away */
        f->had = (uint64_t)st.st_size;
        return 0;
    }
    return r < 0 ? r
                 : lode_err_set(err, LODE_CONFLICT, "another pull is writing %s in %s",
                                lode_q(f->file->path), lode_q(self->dest));
}

/* A store of local files is read by descriptor: past the page cache where the bytes are not in it.
 */
static int open_source(struct pull *self, struct pull_file *f, struct lode_err *err)
{
    uint64_t size = f->file->size;
    bool large = size >= LODE_DIRECT_MIN;
    if (large)
        f->direct = lode_direct_open(f->fd, O_WRONLY);
    if (!(lode_store_caps(self->place.store) & LODE_STORE_OPEN_LOCAL))
        return 0;
    _cleanup_free_ char *key = lode_place_key(&self->place, f->file->path);
    int r = key ? lode_store_open_local(self->place.store, key, &f->source, err)
                : lode_err_nomem(err, "a key");
    if (r == 0 && large && !lode_direct_resident(f->source, size))
        f->source_direct = lode_direct_open(f->source, O_RDONLY);
    return r;
}

static int begin_file(struct pull *self, struct pull_file *f, struct lode_err *err)
{
    int r = 0;
    pthread_mutex_lock(&self->lock);
    if (f->parent < 0) {
        r = open_part(self, f, err);
        if (r == 0)
            r = open_source(self, f, err);
    }
    pthread_mutex_unlock(&self->lock);
    return r;
}

/* What an interrupted pull has brought already is not fetched again. */
static bool span_is_there(const struct pull *self, const struct pull_file *f,
                          const struct lode_span *span, void *buf)
{
    return f->had >= span->offset + span->len &&
           lode_pread_full(f->fd, buf, span->len, span->offset) == 0 &&
           (LODE_PLANTED(pull_part_trusted) ||
            lode_blocks_first_bad(f->file, self->manifest->block_size, span->offset, buf,
                                  span->len) == SIZE_MAX);
}

static int read_span(struct pull *self, struct pull_file *f, const struct lode_span *span,
                     void *buf, struct lode_err *err)
{
    uint32_t block = self->manifest->block_size;
    const char *where = lode_store_url(self->place.store);
    if (f->source >= 0) {
        if (lode_direct_pread(f->source_direct, f->source, buf, span->len, span->offset) == 0)
            return lode_blocks_check(f->file, block, span->offset, buf, span->len, where, err);
        if (errno == ENODATA)
            return lode_err_set(err, LODE_CORRUPT, "%s in %s is cut short", lode_q(f->file->path),
                                where);
        return lode_err_sys(err, "cannot read %s in %s", lode_q(f->file->path), where);
    }
    _cleanup_free_ char *key = lode_place_key(&self->place, f->file->path);
    if (!key)
        return lode_err_nomem(err, "a key");
    return lode_blocks_read(self->place.store, key, f->file, block, span->offset, buf, span->len,
                            err);
}

static int fetch_span(struct pull *self, struct pull_file *f, const struct lode_span *span,
                      void *buf, struct lode_err *err)
{
    if (span->len == 0 || span_is_there(self, f, span, buf))
        return 0;
    int r = read_span(self, f, span, buf, err);
    if (r < 0)
        return r;
    if (lode_direct_pwrite(f->direct, f->fd, buf, span->len, span->offset) < 0)
        return lode_err_sys(err, "cannot write %s in %s", lode_q(f->file->path),
                            lode_q(self->dest));
    return 0;
}

/* All blocks have matched: flushed, then named. */
static int finish_file(struct pull *self, struct pull_file *f, struct lode_err *err)
{
    const char *leaf = lode_beneath_leaf(f->file->path);
    bool force = self->options && self->options->force;
    if (lode_sys->ftruncate(f->fd, (off_t)f->file->size) < 0 || lode_sys->fdatasync(f->fd) < 0)
        return lode_err_sys(err, "cannot write %s in %s", lode_q(f->file->path),
                            lode_q(self->dest));
    if (f->file->mode & 0100)
        lode_sys->fchmod(f->fd, 0755);
    if (lode_sys->renameat2(f->parent, f->part, f->parent, leaf, force ? 0 : RENAME_NOREPLACE) <
        0) {
        if (errno == EINVAL && lode_sys->renameat2(f->parent, f->part, f->parent, leaf, 0) == 0)
            return 0; /* a file system without RENAME_NOREPLACE; that nothing is there was seen
                         before */
        return lode_err_sys(err, "cannot give %s its name in %s", lode_q(f->file->path),
                            lode_q(self->dest));
    }
    return 0;
}

static int end_span(struct pull *self, struct pull_file *f, size_t len, struct lode_err *err)
{
    pthread_mutex_lock(&self->lock);
    bool last = --f->left == 0;
    pthread_mutex_unlock(&self->lock);
    atomic_fetch_add(&self->flow.done, len);
    if (!last)
        return 0;
    int r = finish_file(self, f, err);
    close_file(f);
    atomic_fetch_add(&self->flow.files_done, 1);
    return r;
}

static void fetch_spans(void *arg)
{
    struct pull *self = arg;
    struct lode_span span;
    struct lode_err err;
    void *buf;
    if (lode_pool_get(self->pool, &buf, &err) < 0)
        return;
    while (!lode_flow_stopped(&self->flow) && lode_spans_take(&self->spans, &span)) {
        struct pull_file *f = &self->files[self->number[span.file]];
        int r = begin_file(self, f, &err);
        if (r == 0)
            r = fetch_span(self, f, &span, buf, &err);
        if (r == 0)
            r = end_span(self, f, span.len, &err);
        if (r < 0)
            lode_flow_fail(&self->flow, &err);
    }
    lode_pool_put(self->pool, buf);
}

static int fetch(struct pull *self, struct lode_err *err)
{
    int r = plan(self, ABSENT, "download", err);
    if (r < 0)
        return r;
    for (size_t k = 0; k < self->spans.n; k++)
        look_at_part(self, &self->files[self->number[k]]);
    r = check_room(self, err);
    if (r < 0) {
        lode_spans_release(&self->spans);
        return r;
    }
    r = run_spans(self, fetch_spans, err);
    for (size_t i = 0; r == 0 && i < self->n; i++) {
        if (self->files[i].there != SAME)
            r = lode_beneath_sync(self->dir, self->files[i].file->path, self->dest, err);
    }
    return r;
}

static int run(struct pull *self, const char *ref, const char *dest, struct lode_err *err)
{
    int r = lode_handle_resolve(self->lode, ref, &self->version, err);
    if (r == 0)
        r = lode_handle_ops(self->lode)
                ->manifest(self->lode->catalog, &self->version, &self->manifest, err);
    if (r == 0)
        r = choose_files(self, err);
    if (r == 0)
        r = lode_handle_ops(self->lode)
                ->place(self->lode->catalog, &self->version, &self->place, err);
    if (r == 0)
        r = open_dest(self, dest, err);
    if (r == 0)
        r = lode_flow_init(&self->flow, "download", self->options ? self->options->call : NULL,
                           err);
    if (r < 0)
        return r;
    r = lode_pool_new(LODE_SPAN, LODE_TRANSFER_MEMORY, false, NULL, &self->pool, err);
    if (r == 0)
        r = look_around(self, err);
    if (r == 0)
        r = fetch(self, err);
    lode_pool_free(self->pool);
    lode_flow_release(&self->flow);
    return r;
}

int lode_pull(struct lode *lode, const char *ref, const char *dest,
              const struct lode_pull_options *options, char **path, struct lode_version *out,
              struct lode_err *err)
{
    _cleanup_pull_ struct pull self = {
        .lode = lode, .options = options, .dir = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
    int r = run(&self, ref, dest, err);
    if (r < 0)
        return r;
    if (path)
        *path = lode_steal(self.dest);
    if (out) {
        *out = self.version;
        self.version = (struct lode_version){0};
    }
    return 0;
}
