/* Writing of the posix store: begin, parts, complete, abort, copy. See store/posix.h for the
 * design.
 *
 * The bytes go to `_staging/.parts/<id>.data`, each part at its place, from any number of
 * threads. The descriptor holds an exclusive flock, so that no two processes go on with the same
 * write. complete() flushes the file, gives it its name with one rename, then flushes the
 * directories above. After a crash there is an unfinished write, or a name with all its bytes:
 * never a name without them.
 *
 * Large parts go past the page cache, the way of others to the device starts as soon as they are
 * written (io/direct.h): the flush at the end has little left to do.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/size.h"
#include "base/sys.h"
#include "io/direct.h"
#include "store/posix.h"
#include "store/util.h"

/* Below this a reservation costs more than it tells. */
#define RESERVE_MIN (64u << 10)
#define COPY_CHUNK (64u << 20)
#define COPY_BUFFER (1u << 20)

struct posix_write {
    const struct lode_store_ops *ops;
    struct posix_store *store;
    char *key;
    char id[POSIX_ID_HEX + 1];
    int parts_dir;
    int fd;     /* <id>.data */
    int direct; /* the same file past the page cache, or -1 */
    int notes;  /* <id>.parts; -1 for a write of one part */
    uint64_t part_size;
    uint64_t reserved; /* bytes the file has from its reservation or its earlier life */
    pthread_mutex_t lock;
    uint64_t *lens; /* of each part that is there, 0 for none; guarded by lock */
    size_t n, cap;
};

static struct posix_write *write_of(struct lode_store_write *write)
{
    return (struct posix_write *)(void *)write;
}

static void write_free(struct posix_write *self)
{
    lode_closep(&self->fd);
    lode_closep(&self->direct);
    lode_closep(&self->notes);
    lode_closep(&self->parts_dir);
    pthread_mutex_destroy(&self->lock);
    lode_free(self->lens);
    lode_free(self->key);
    lode_free(self);
}

/* Removes what the write left and frees it. */
static void write_drop(struct posix_write *self)
{
    char name[POSIX_ID_HEX + 8];
    if (self->fd >= 0) {
        posix_parts_name(self->id, ".data", name);
        lode_sys->unlinkat(self->parts_dir, name, 0);
    }
    if (self->notes >= 0) {
        posix_parts_name(self->id, ".parts", name);
        lode_sys->unlinkat(self->parts_dir, name, 0);
    }
    write_free(self);
}

/* ---- begin ---- */

static int no_space(const struct posix_write *self, uint64_t size, uint64_t there,
                    struct lode_err *err)
{
    return lode_err_set(err, LODE_NO_SPACE, "%s needs %" PRIu64 " bytes; %s has %" PRIu64 " free",
                        lode_q(self->key), size, self->store->base.url, there);
}

/* Tells a full disk before the bytes travel. File systems that cannot reserve are fine: then
 * writing tells. */
static int reserve(struct posix_write *self, uint64_t size, struct lode_err *err)
{
    struct statvfs vfs;
    if (size == UINT64_MAX || size < RESERVE_MIN)
        return 0;
    if (size > INT64_MAX)
        return lode_err_set(err, LODE_INVALID, "%s cannot have %" PRIu64 " bytes",
                            lode_q(self->key), size);
    uint64_t there = UINT64_MAX;
    if (lode_sys->fstatvfs(self->fd, &vfs) == 0)
        there = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    if (there < size)
        return no_space(self, size, there, err);
    if (lode_sys->fallocate(self->fd, 0, 0, (off_t)size) == 0) {
        self->reserved = size;
        return 0;
    }
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? no_space(self, size, there, err)
                                                                : 0;
}

static int new_id(char id[POSIX_ID_HEX + 1], struct lode_err *err)
{
    uint8_t bytes[POSIX_ID_HEX / 2];
    if (lode_sys->getrandom(bytes, sizeof bytes) != (ssize_t)sizeof bytes)
        return lode_err_sys(err, "cannot make a random name");
    lode_hex(bytes, sizeof bytes, id);
    return 0;
}

#define CREATE_AGAIN 1

/* The new file, locked. CREATE_AGAIN: between making and locking it gc took it for a dead
 * writer's. */
static int create_locked(struct posix_write *self, struct lode_err *err)
{
    char name[POSIX_ID_HEX + 8];
    struct stat st;
    int r = new_id(self->id, err);
    if (r < 0)
        return r;
    lode_closep(&self->fd);
    posix_parts_name(self->id, ".data", name);
    self->fd = lode_sys->openat(self->parts_dir, name, O_RDWR | O_CREAT | O_EXCL, 0666);
    if (self->fd < 0)
        return lode_err_sys(err, "cannot begin %s in %s", lode_q(self->key), self->store->base.url);
    if (lode_sys->flock(self->fd, LOCK_EX | LOCK_NB) < 0 && errno != EOPNOTSUPP && errno != ENOLCK)
        return errno == EWOULDBLOCK
                   ? CREATE_AGAIN
                   : lode_err_sys(err, "cannot lock the new file of %s", lode_q(self->key));
    if (lode_sys->fstat(self->fd, &st) < 0)
        return lode_err_sys(err, "cannot look at the new file of %s", lode_q(self->key));
    return st.st_nlink == 0 ? CREATE_AGAIN : 0;
}

/* A write of several parts may be gone on with later; of one part there is nothing to go on
 * with. */
static int begin_new(struct posix_write *self, const struct lode_store_write_opts *opts,
                     struct lode_err *err)
{
    int r = CREATE_AGAIN;
    for (int tries = 0; r == CREATE_AGAIN && tries < 3; tries++)
        r = create_locked(self, err);
    if (r != 0)
        return r < 0 ? r
                     : lode_err_set(err, LODE_HELD, "the new file of %s is locked by others",
                                    lode_q(self->key));
    if (opts->mode && lode_sys->fchmod(self->fd, opts->mode & 0777) < 0)
        return lode_err_sys(err, "cannot set the mode of %s", lode_q(self->key));
    r = reserve(self, opts->size, err);
    if (opts->size != UINT64_MAX && opts->size >= LODE_DIRECT_MIN)
        self->direct = lode_direct_open(self->fd, O_WRONLY);
    if (r < 0 || opts->size <= opts->part_size)
        return r;
    struct posix_parts_head head = {self->key, opts->part_size, lode_now_ms()};
    return posix_parts_create(self->parts_dir, self->id, &head, &self->notes, err);
}

static int open_resumed(struct posix_write *self, struct lode_err *err)
{
    char name[POSIX_ID_HEX + 8];
    struct stat st;
    posix_parts_name(self->id, ".data", name);
    self->fd = lode_sys->open_beneath(self->parts_dir, name, O_RDWR, 0);
    if (self->fd < 0)
        return lode_err_sys(err, "cannot go on with %s", lode_q(self->key));
    if (lode_sys->flock(self->fd, LOCK_EX | LOCK_NB) < 0 && errno != EOPNOTSUPP && errno != ENOLCK)
        return lode_err_set(err, LODE_HELD, "cannot go on with %s: another writer does",
                            lode_q(self->key));
    if (lode_sys->fstat(self->fd, &st) < 0)
        return lode_err_sys(err, "cannot go on with %s", lode_q(self->key));
    /* Named already, by a link that was not cleaned up: these bytes are somebody's object. */
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
        return lode_err_set(err, LODE_NOT_FOUND, "cannot go on with %s: it was completed",
                            lode_q(self->key));
    self->reserved = (uint64_t)st.st_size;
    if (self->reserved >= LODE_DIRECT_MIN)
        self->direct = lode_direct_open(self->fd, O_WRONLY);
    return 0;
}

static int begin_resumed(struct posix_write *self, const struct lode_store_write_opts *opts,
                         struct lode_err *err)
{
    struct posix_parts_head head = {0};
    uint8_t bytes[POSIX_ID_HEX / 2];
    if (strlen(opts->resume) != POSIX_ID_HEX ||
        !lode_unhex(opts->resume, POSIX_ID_HEX, bytes, sizeof bytes))
        return lode_err_set(err, LODE_NOT_FOUND, "no unfinished write %s of %s",
                            lode_q(opts->resume), lode_q(self->key));
    memcpy(self->id, opts->resume, POSIX_ID_HEX + 1);
    int r = posix_parts_open(self->parts_dir, self->id, &head, &self->notes, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *key = head.key;
    if (strcmp(key, self->key) != 0 || head.part_size != opts->part_size)
        return lode_err_set(
            err, LODE_INVALID,
            "the unfinished write %s is of %s in parts of %" PRIu64 " bytes, not of "
            "%s in parts of %zu",
            self->id, lode_q(key), head.part_size, lode_q(self->key), opts->part_size);
    r = open_resumed(self, err);
    return r < 0 ? r : posix_parts_verify(self->notes, &head, self->fd, &self->lens, &self->n, err);
}

static int begin_in(struct posix_write *self, const struct lode_store_write_opts *opts,
                    struct lode_err *err)
{
    int r = posix_make_dir(self->store, POSIX_PARTS, &self->parts_dir, err);
    if (r < 0)
        return r;
    if (opts->resume) {
        r = begin_resumed(self, opts, err);
        self->cap = self->n;
        return r;
    }
    return begin_new(self, opts, err);
}

int posix_write_begin(struct lode_store *store, const char *key,
                      const struct lode_store_write_opts *opts, struct lode_store_write **out,
                      struct lode_err *err)
{
    struct posix_store *posix = posix_of(store);
    int r = lode_store_may_write(store, key, err);
    if (r == 0)
        r = posix_check_poison(posix, key, err);
    if (r == 0)
        r = posix_check_key(posix, key, err);
    if (r < 0)
        return r;
    struct posix_write *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a write");
    *self = (struct posix_write){.ops = &lode_store_posix_ops,
                                 .store = posix,
                                 .parts_dir = -1,
                                 .fd = -1,
                                 .direct = -1,
                                 .notes = -1,
                                 .part_size = opts->part_size,
                                 .key = lode_strdup(key)};
    pthread_mutex_init(&self->lock, NULL);
    r = self->key ? begin_in(self, opts, err) : lode_err_nomem(err, "a key");
    if (r < 0) {
        if (opts->resume)
            write_free(self);
        else
            write_drop(self);
        return r;
    }
    *out = (struct lode_store_write *)(void *)self;
    return 0;
}

/* ---- parts ---- */

int posix_write_parts(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                      struct lode_err *err)
{
    struct posix_write *self = write_of(write);
    size_t count = 0;
    pthread_mutex_lock(&self->lock);
    struct lode_store_part *list = lode_calloc(self->n, sizeof *list);
    for (size_t i = 0; list && i < self->n; i++) {
        if (self->lens[i] > 0)
            list[count++] = (struct lode_store_part){(uint32_t)i, (size_t)self->lens[i]};
    }
    pthread_mutex_unlock(&self->lock);
    if (!list)
        return lode_err_nomem(err, "a list of parts");
    *parts = list;
    *n = count;
    return 0;
}

/* Notes in memory that a part is there (len > 0) or no longer sure to be (0). */
static int set_len(struct posix_write *self, uint32_t number, uint64_t len, struct lode_err *err)
{
    int r = 0;
    pthread_mutex_lock(&self->lock);
    size_t want = (size_t)number + 1;
    if (lode_grow((void **)&self->lens, &self->cap, want, sizeof *self->lens) < 0) {
        r = lode_err_nomem(err, "a list of parts");
    } else {
        for (; self->n < want; self->n++)
            self->lens[self->n] = 0;
        self->lens[number] = len;
    }
    pthread_mutex_unlock(&self->lock);
    return r;
}

static int check_part(const struct posix_write *self, uint32_t number, size_t len, uint64_t *offset,
                      struct lode_err *err)
{
    uint64_t end;
    if (len > self->part_size || number >= LODE_STORE_PARTS_MAX ||
        !lode_mul_u64(number, self->part_size, offset) || !lode_add_u64(*offset, len, &end) ||
        end > INT64_MAX)
        return lode_err_set(err, LODE_INVALID,
                            "part %u of %s with %zu bytes: parts have at most %" PRIu64
                            " bytes and numbers below %u",
                            number, lode_q(self->key), len, self->part_size, LODE_STORE_PARTS_MAX);
    return 0;
}

int posix_write_part(struct lode_store_write *write, uint32_t number, const void *data, size_t len,
                     struct lode_err *err)
{
    struct posix_write *self = write_of(write);
    uint64_t offset = 0;
    int r = check_part(self, number, len, &offset, err);
    if (r == 0)
        r = set_len(self, number, 0, err);
    if (r < 0 || len == 0)
        return r;
    if (lode_direct_pwrite(self->direct, self->fd, data, len, offset) < 0)
        return lode_err_sys(err, "cannot write part %u of %s in %s", number, lode_q(self->key),
                            self->store->base.url);
    if (self->notes >= 0)
        r = posix_parts_mark(self->notes, strlen(self->key), number, data, len, err);
    return r < 0 ? r : set_len(self, number, len, err);
}

/* ---- complete ---- */

static int missing_part(const struct posix_write *self, size_t number, uint64_t size,
                        struct lode_err *err)
{
    return lode_err_set(err, LODE_INVALID,
                        "cannot complete %s with %" PRIu64 " bytes: part %zu is missing or has "
                        "another length",
                        lode_q(self->key), size, number);
}

/* The parts make exactly `size` bytes. */
static int check_whole(const struct posix_write *self, uint64_t size, struct lode_err *err)
{
    uint64_t count = lode_div_up(size, self->part_size);
    for (uint64_t i = 0; i < lode_max(count, (uint64_t)self->n); i++) {
        uint64_t want = i >= count ? 0 : lode_min(self->part_size, size - i * self->part_size);
        uint64_t have = i < self->n ? self->lens[i] : 0;
        if (have != want)
            return missing_part(self, (size_t)i, size, err);
    }
    return 0;
}

/* The two meanings of completing: a name that must be free, or one that is replaced. link() is
 * for file systems without RENAME_NOREPLACE; its second name is removed at once, and a resume
 * refuses a file that has two. */
static int give_name(const struct posix_write *self, int dirfd, bool if_absent)
{
    char temp[POSIX_ID_HEX + 8];
    const char *leaf = lode_key_leaf(self->key);
    posix_parts_name(self->id, ".data", temp);
    bool free_only = if_absent && !LODE_PLANTED(store_if_absent_ignored);
    if (lode_sys->renameat2(self->parts_dir, temp, dirfd, leaf, free_only ? RENAME_NOREPLACE : 0) ==
        0)
        return 0;
    if (!free_only || (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP))
        return -1;
    if (lode_sys->linkat(self->parts_dir, temp, dirfd, leaf, 0) < 0)
        return -1;
    lode_sys->unlinkat(self->parts_dir, temp, 0);
    return 0;
}

static int name_failed(const struct posix_write *self, bool if_absent, struct lode_err *err)
{
    const char *url = self->store->base.url;
    if (errno == EEXIST && if_absent)
        return lode_err_set(err, LODE_EXISTS, "%s is already there in %s", lode_q(self->key), url);
    if (errno == EEXIST || errno == EISDIR || errno == ENOTEMPTY)
        return lode_err_set(err, LODE_EXISTS, "%s is a directory of %s", lode_q(self->key), url);
    return lode_err_sys(err, "cannot give %s its name in %s", lode_q(self->key), url);
}

/* The name is there but not surely on disk. A new name is taken back, so that nobody relies on
 * it. */
static int flush_name(struct posix_write *self, int dirfd, const char *dir, bool if_absent,
                      struct lode_err *err)
{
    unsigned long generation = posix_synced_generation(&self->store->synced);
    struct stat st;
    int r = posix_sync_chain(self->store, dirfd, dir, err);
    if (r < 0) {
        if (if_absent)
            lode_sys->unlinkat(dirfd, lode_key_leaf(self->key), 0);
        return r;
    }
    if (lode_sys->fstat(self->fd, &st) == 0)
        posix_synced_add(&self->store->synced, self->key, &st, generation);
    return 0;
}

static int publish(struct posix_write *self, bool if_absent, struct lode_err *err)
{
    _cleanup_free_ char *dir = lode_strndup(self->key, lode_key_parent(self->key));
    _cleanup_close_ int dirfd = -1;
    if (!dir)
        return lode_err_nomem(err, "a path");
    int r = posix_make_dir(self->store, dir, &dirfd, err);
    if (r < 0)
        return r;
    if (give_name(self, dirfd, if_absent) < 0)
        return name_failed(self, if_absent, err);
    return flush_name(self, dirfd, dir, if_absent, err);
}

/* After a failed flush the kernel may have dropped the bytes and forgotten it: nothing of them
 * is kept. */
static int flush_bytes(struct posix_write *self, uint64_t size, struct lode_err *err)
{
    if (self->reserved > size && lode_sys->ftruncate(self->fd, (off_t)size) < 0)
        return lode_err_sys(err, "cannot cut %s to its size", lode_q(self->key));
    if (!LODE_PLANTED(store_file_fsync_skipped) && lode_sys->fdatasync(self->fd) < 0)
        return lode_err_sys(err, "cannot flush %s in %s", lode_q(self->key), self->store->base.url);
    return 0;
}

int posix_write_complete(struct lode_store_write *write, uint64_t size, bool if_absent,
                         struct lode_err *err)
{
    struct posix_write *self = write_of(write);
    int r = check_whole(self, size, err);
    if (r == 0)
        r = posix_check_poison(self->store, self->key, err);
    if (r < 0) {
        posix_write_abort(write, true);
        return r;
    }
    r = flush_bytes(self, size, err);
    if (r == 0)
        r = publish(self, if_absent, err);
    /* What was named is no longer there; a write that failed is not worth a second try. */
    write_drop(self);
    return r;
}

void posix_write_abort(struct lode_store_write *write, bool keep)
{
    struct posix_write *self = write_of(write);
    if (keep && self->notes >= 0)
        write_free(self);
    else
        write_drop(self);
}

/* ---- copy ---- */

static int copy_by_hand(struct posix_write *to, int from, uint64_t at, uint64_t end,
                        struct lode_err *err)
{
    _cleanup_free_ char *room = lode_alloc(COPY_BUFFER);
    if (!room)
        return lode_err_nomem(err, "a copy");
    while (at < end) {
        size_t n = (size_t)lode_min(end - at, (uint64_t)COPY_BUFFER);
        if (lode_pread_full(from, room, n, at) < 0 || lode_pwrite_full(to->fd, room, n, at) < 0)
            return lode_err_sys(err, "cannot copy to %s", lode_q(to->key));
        at += n;
    }
    return 0;
}

static int copy_bytes(struct posix_write *to, int from, uint64_t size, struct lode_err *err)
{
    off_t in = 0, out = 0;
    while ((uint64_t)in < size) {
        size_t n = (size_t)lode_min(size - (uint64_t)in, (uint64_t)COPY_CHUNK);
        ssize_t got = lode_sys->copy_file_range(from, &in, to->fd, &out, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == ENOSPC)
            return lode_err_sys(err, "cannot copy to %s", lode_q(to->key));
        if (got <= 0)
            return copy_by_hand(to, from, (uint64_t)in, size, err);
    }
    return 0;
}

int posix_copy(struct lode_store *store, const char *from, const char *to, bool if_absent,
               struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    _cleanup_close_ int fd = -1;
    struct stat st;
    int r = posix_check_key(self, from, err);
    if (r == 0)
        r = posix_open_object(self, from, &st, &fd, err);
    if (r < 0)
        return r;
    uint64_t size = (uint64_t)st.st_size;
    struct lode_store_write_opts opts = {
        .size = size, .part_size = (size_t)lode_max(size, (uint64_t)1), .mode = st.st_mode & 0777};
    struct lode_store_write *write;
    r = posix_write_begin(store, to, &opts, &write, err);
    if (r < 0)
        return r;
    r = copy_bytes(write_of(write), fd, size, err);
    if (r == 0)
        r = set_len(write_of(write), 0, size, err);
    if (r < 0) {
        posix_write_abort(write, false);
        return r;
    }
    return posix_write_complete(write, size, if_absent, err);
}
