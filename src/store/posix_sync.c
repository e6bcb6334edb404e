/* Flushing to the device, and remembering what is flushed: see store/posix.h.
 *
 * A name is on disk when its directory was flushed after the name was made, and so for each
 * directory above it. A push of a small model makes few names but would flush each directory
 * many times, so the store remembers names that it saw flushed: (path, device, inode), for a
 * file also its size and mtime, for its bytes are on disk too. Whatever is not remembered is
 * flushed again: forgetting costs time, never safety. A removal forgets all, so that rename_dir
 * flushes the directory from which something was removed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/sys.h"
#include "store/posix.h"
#include "store/util.h"

#define SLOTS 8192 /* a power of two; 128 KiB */

int posix_synced_init(struct posix_synced *set)
{
    set->slots = lode_calloc(SLOTS, sizeof *set->slots);
    if (!set->slots)
        return LODE_NO_MEMORY;
    pthread_mutex_init(&set->lock, NULL);
    return 0;
}

void posix_synced_release(struct posix_synced *set)
{
    if (!set->slots)
        return;
    pthread_mutex_destroy(&set->lock);
    lode_free(set->slots);
    set->slots = NULL;
}

static struct lode_xxh128 digest_of(const char *path, const struct stat *st)
{
    bool file = S_ISREG(st->st_mode);
    struct {
        struct lode_xxh128 path;
        uint64_t device, inode, size, seconds, nanoseconds;
    } name = {
        .path = lode_xxh128_of(path, strlen(path)),
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = file ? (uint64_t)st->st_size : UINT64_MAX,
        .seconds = file ? (uint64_t)st->st_mtim.tv_sec : 0,
        .nanoseconds = file ? (uint64_t)st->st_mtim.tv_nsec : 0,
    };
    return lode_xxh128_of(&name, sizeof name);
}

/* The digest's slot, or the empty one where it belongs. The set is never full. */
static struct lode_xxh128 *slot_of(struct posix_synced *set, const struct lode_xxh128 *digest)
{
    static const struct lode_xxh128 empty;
    uint32_t at;
    memcpy(&at, digest, sizeof at);
    for (;; at++) {
        struct lode_xxh128 *slot = &set->slots[at % SLOTS];
        if (memcmp(slot, digest, sizeof *slot) == 0 || memcmp(slot, &empty, sizeof *slot) == 0)
            return slot;
    }
}

bool posix_synced_has(struct posix_synced *set, const char *path, const struct stat *st)
{
    struct lode_xxh128 digest = digest_of(path, st);
    pthread_mutex_lock(&set->lock);
    bool has = memcmp(slot_of(set, &digest), &digest, sizeof digest) == 0;
    pthread_mutex_unlock(&set->lock);
    return has;
}

unsigned long posix_synced_generation(struct posix_synced *set)
{
    pthread_mutex_lock(&set->lock);
    unsigned long generation = set->generation;
    pthread_mutex_unlock(&set->lock);
    return generation;
}

static void clear(struct posix_synced *set)
{
    memset(set->slots, 0, SLOTS * sizeof *set->slots);
    set->used = 0;
}

void posix_synced_add(struct posix_synced *set, const char *path, const struct stat *st,
                      unsigned long generation)
{
    struct lode_xxh128 digest = digest_of(path, st);
    pthread_mutex_lock(&set->lock);
    if (set->used == SLOTS / 2)
        clear(set);
    struct lode_xxh128 *slot = slot_of(set, &digest);
    if (generation == set->generation && memcmp(slot, &digest, sizeof digest) != 0) {
        *slot = digest;
        set->used++;
    }
    pthread_mutex_unlock(&set->lock);
}

void posix_synced_forget(struct posix_synced *set)
{
    if (LODE_PLANTED(store_synced_never_forgets))
        return;
    pthread_mutex_lock(&set->lock);
    if (set->used > 0)
        clear(set);
    set->generation++;
    pthread_mutex_unlock(&set->lock);
}

int posix_check_poison(struct posix_store *self, const char *key, struct lode_err *err)
{
    if (!atomic_load(&self->poisoned) || LODE_PLANTED(store_poison_ignored))
        return 0;
    return lode_err_set(
        err, LODE_IO,
        "cannot write %s in %s: an earlier flush of a directory failed, so nothing can be called "
        "durable; check the disk, then open the store anew",
        lode_q(key), self->base.url);
}

int posix_sync_fd(struct posix_store *self, int fd, const char *dir, struct lode_err *err)
{
    if (LODE_PLANTED(store_dir_fsync_skipped))
        return 0;
    if (lode_sys->fsync(fd) == 0)
        return 0;
    atomic_store(&self->poisoned, true);
    return lode_err_sys(err, "cannot flush the directory %s in %s", lode_q(dir), self->base.url);
}

/* Makes the name of directory `dir` durable in the directory above it. */
static int sync_name(struct posix_store *self, const char *dir, const struct stat *st,
                     struct lode_err *err)
{
    unsigned long generation = posix_synced_generation(&self->synced);
    _cleanup_free_ char *above = lode_strndup(dir, lode_key_parent(dir));
    _cleanup_close_ int fd = -1;
    if (!above)
        return lode_err_nomem(err, "a path");
    int r = posix_open_dir(self, above, &fd, err);
    if (r == 0)
        r = posix_sync_fd(self, fd, above, err);
    if (r == 0)
        posix_synced_add(&self->synced, dir, st, generation);
    return r;
}

/* From the top down: a name is remembered only after those above it, so a remembered one ends
 * the walk up. */
int posix_sync_names(struct posix_store *self, const char *dir, struct lode_err *err)
{
    if (!*dir)
        return 0;
    struct stat st;
    _cleanup_close_ int fd = -1;
    int r = posix_open_dir(self, dir, &fd, err);
    if (r < 0)
        return r;
    if (lode_sys->fstat(fd, &st) < 0)
        return lode_err_sys(err, "cannot look at the directory %s", lode_q(dir));
    if (posix_synced_has(&self->synced, dir, &st))
        return 0;
    _cleanup_free_ char *above = lode_strndup(dir, lode_key_parent(dir));
    if (!above)
        return lode_err_nomem(err, "a path");
    r = posix_sync_names(self, above, err);
    return r < 0 ? r : sync_name(self, dir, &st, err);
}

int posix_sync_chain(struct posix_store *self, int fd, const char *dir, struct lode_err *err)
{
    int r = posix_sync_fd(self, fd, dir, err);
    return r < 0 ? r : posix_sync_names(self, dir, err);
}

/* ---- a whole tree ---- */

static int sync_file(struct posix_store *self, int dirfd, const char *name, const char *path,
                     struct lode_err *err)
{
    _cleanup_close_ int fd = lode_sys->open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return lode_err_sys(err, "cannot open %s in %s", lode_q(path), self->base.url);
    if (!LODE_PLANTED(store_rename_skips_files) && lode_sys->fsync(fd) < 0)
        return lode_err_sys(err, "cannot flush %s in %s", lode_q(path), self->base.url);
    return 0;
}

/* Flushes what one entry holds; *known stays true if its name is on disk already. */
static int sync_entry(struct posix_store *self, int dirfd, const char *name, const char *path,
                      int depth, bool *known, struct lode_err *err)
{
    struct stat st;
    if (lode_sys->fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return lode_err_sys(err, "cannot look at %s in %s", lode_q(path), self->base.url);
    bool has = posix_synced_has(&self->synced, path, &st);
    *known = *known && has;
    if (S_ISREG(st.st_mode))
        return has ? 0 : sync_file(self, dirfd, name, path, err);
    if (!S_ISDIR(st.st_mode))
        return lode_err_set(err, LODE_DENIED,
                            "%s in %s is neither a file nor a directory: it cannot be published",
                            lode_q(path), self->base.url);
    _cleanup_close_ int fd = lode_sys->open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return lode_err_sys(err, "cannot open the directory %s in %s", lode_q(path),
                            self->base.url);
    return posix_sync_tree(self, fd, path, depth + 1, err);
}

static int sync_entries(struct posix_store *self, int dirfd, DIR *dir, const char *path, int depth,
                        bool *known, struct lode_err *err)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = lode_sys->readdir(dir);
        if (!entry)
            return errno ? lode_err_sys(err, "cannot list %s in %s", lode_q(path), self->base.url)
                         : 0;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        _cleanup_free_ char *child = lode_key_join(path, entry->d_name);
        if (!child)
            return lode_err_nomem(err, "a path");
        int r = sync_entry(self, dirfd, entry->d_name, child, depth, known, err);
        if (r < 0)
            return r;
    }
}

int posix_sync_tree(struct posix_store *self, int fd, const char *path, int depth,
                    struct lode_err *err)
{
    if (depth > POSIX_TREE_DEPTH)
        return lode_err_set(err, LODE_LIMIT, "%s in %s is deeper than %d directories", lode_q(path),
                            self->base.url, POSIX_TREE_DEPTH);
    int again = lode_sys->open_beneath(fd, "", O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = again < 0 ? NULL : lode_sys->fdopendir(again);
    if (!dir) {
        int r = lode_err_sys(err, "cannot list %s in %s", lode_q(path), self->base.url);
        lode_closep(&again);
        return r;
    }
    bool known = true;
    int r = sync_entries(self, fd, dir, path, depth, &known, err);
    lode_sys->closedir(dir);
    return r < 0 || known ? r : posix_sync_fd(self, fd, path, err);
}
