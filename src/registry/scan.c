/* Finding the files to store: see lode_sources_find() in registry/source.h.
 *
 * Symbolic links are followed where they stay inside the directory that was named, and in a
 * snapshot of a Hugging Face cache (P/snapshots/R) where they lead into its own P/blobs. Where a
 * link leads is asked of the opened descriptor, not of its text, so that nothing can be exchanged
 * between the look and the use. What the user named himself may be a link to anywhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/size.h"
#include "base/sys.h"
#include "registry/source.h"

#define DEPTH_MAX (LODE_PATH_PARTS_MAX + 8)
#define TICK_NS 20000000 /* the coarsest clock tick that stamps a file */

/* One directory that was named. */
struct walk {
    struct lode_sources *into;
    char *top;   /* its real path */
    char *blobs; /* of the cache that it is a snapshot of, or NULL */
    bool follow_links;
};

/* Directories from the top down to here, to find loops of links. */
struct level {
    const struct level *above;
    dev_t device;
    ino_t inode;
    const char *path; /* inside the version, "" at the top */
    unsigned depth;
};

/* The real path of an open descriptor, owned. */
static int real_path(int fd, const char *shown, char **out, struct lode_err *err)
{
    char link[64], path[LODE_PATH_MAX + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = lode_sys->readlinkat(AT_FDCWD, link, path, sizeof path);
    if (n < 0)
        return lode_err_sys(err, "cannot tell where %s is", lode_q(shown));
    if ((size_t)n >= sizeof path)
        return lode_err_set(err, LODE_LIMIT, "the real path of %s is longer than %d bytes",
                            lode_q(shown), LODE_PATH_MAX);
    path[n] = 0;
    *out = lode_strdup(path);
    return *out ? 0 : lode_err_nomem(err, "a path");
}

static bool beneath(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || (n == 1 && dir[0] == '/'));
}

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A write right after a look may leave the same time stamp where the clock ticks coarsely. Reading
 * begins a tick after the newest stamp that was seen, so that any later write shows. */
static void settle(const struct lode_sources *s)
{
    int64_t now = lode_now_ms() * 1000000, newest = 0;
    for (size_t i = 0; i < s->n; i++)
        newest = lode_max(newest, lode_max(s->items[i].mtime_ns, s->items[i].ctime_ns));
    if (newest <= now + TICK_NS && newest > now - TICK_NS)
        lode_sleep_ms(2 * TICK_NS / 1000000);
}

/* Readable now? Told before anything is written. */
static int check_readable(int fd, const char *shown, struct lode_err *err)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    _cleanup_close_ int readable =
        lode_sys->openat(AT_FDCWD, link, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    return readable < 0 ? lode_err_sys(err, "cannot read %s", lode_q(shown)) : 0;
}

static int add_file(struct lode_sources *into, const char *path, const char *shown, int fd,
                    const struct stat *st, struct lode_err *err)
{
    struct lode_source f = {0};
    int r = lode_path_check(path, strlen(path), err);
    if (r < 0)
        return lode_err_prefix(err, "cannot store %s", lode_q(shown));
    if (into->n == LODE_VERSION_FILES_MAX)
        return lode_err_set(err, LODE_LIMIT, "a version has at most %d files; %s would be one more",
                            LODE_VERSION_FILES_MAX, lode_q(shown));
    r = check_readable(fd, shown, err);
    if (r == 0)
        r = real_path(fd, shown, &f.from, err);
    if (r < 0)
        return r;
    f.size = (uint64_t)st->st_size;
    f.mode = st->st_mode & S_IXUSR ? 0755 : 0644;
    f.device = st->st_dev;
    f.inode = st->st_ino;
    f.mtime_ns = nanoseconds(st->st_mtim);
    f.ctime_ns = nanoseconds(st->st_ctim);
    f.path = lode_strdup(path);
    if (!f.path || lode_grow((void **)&into->items, &into->cap, into->n + 1, sizeof f) < 0) {
        lode_free(f.path);
        lode_free(f.from);
        return lode_err_nomem(err, "a list of files");
    }
    into->items[into->n++] = f;
    if (!lode_add_u64(into->bytes, f.size, &into->bytes))
        return lode_err_set(err, LODE_LIMIT, "the files have more bytes than can be counted");
    return 0;
}

static const char *kind_of(mode_t mode)
{
    return S_ISFIFO(mode)                   ? "a pipe"
           : S_ISSOCK(mode)                 ? "a socket"
           : S_ISBLK(mode) || S_ISCHR(mode) ? "a device"
                                            : "no file";
}

static int scan_dir(struct walk *w, int fd, const struct level *level, const char *shown,
                    struct lode_err *err);

static int enter(struct walk *w, int fd, const struct stat *st, const struct level *above,
                 const char *path, const char *shown, struct lode_err *err)
{
    struct level level = {above, st->st_dev, st->st_ino, path, above ? above->depth + 1 : 0};
    for (const struct level *l = above; l; l = l->above) {
        if (l->device == st->st_dev && l->inode == st->st_ino)
            return lode_err_set(err, LODE_INVALID, "%s leads back to a directory that it is in",
                                lode_q(shown));
    }
    if (level.depth > DEPTH_MAX)
        return lode_err_set(err, LODE_LIMIT, "%s is nested deeper than %d directories",
                            lode_q(shown), DEPTH_MAX);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    _cleanup_close_ int dir = lode_sys->openat(AT_FDCWD, link, O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0)
        return lode_err_sys(err, "cannot read the directory %s", lode_q(shown));
    return scan_dir(w, lode_steal_fd(dir), &level, shown, err);
}

static int add_open(struct walk *w, int fd, const struct level *level, const char *path,
                    const char *shown, struct lode_err *err)
{
    struct stat st;
    if (lode_sys->fstat(fd, &st) < 0)
        return lode_err_sys(err, "cannot look at %s", lode_q(shown));
    if (S_ISREG(st.st_mode))
        return add_file(w->into, path, shown, fd, &st, err);
    if (S_ISDIR(st.st_mode))
        return enter(w, fd, &st, level, path, shown, err);
    return lode_err_set(err, LODE_INVALID, "%s is %s; only files can be stored", lode_q(shown),
                        kind_of(st.st_mode));
}

static int check_link(const struct walk *w, int fd, const char *shown, struct lode_err *err)
{
    _cleanup_free_ char *target = NULL;
    int r = w->follow_links ? 0 : real_path(fd, shown, &target, err);
    if (r < 0 || w->follow_links || beneath(target, w->top) ||
        (w->blobs && beneath(target, w->blobs)))
        return r;
    return lode_err_set(
        err, LODE_INVALID,
        "the link %s leads to %s, outside of %s; to store what it leads to, say --follow-links",
        lode_q(shown), lode_q(target), lode_q(w->top));
}

static int scan_entry(struct walk *w, int dir, const struct level *level, const char *name,
                      const char *above, struct lode_err *err)
{
    _cleanup_free_ char *path = lode_asprintf("%s%s%s", level->path, *level->path ? "/" : "", name);
    _cleanup_free_ char *shown = lode_asprintf("%s/%s", above, name);
    struct stat st;
    if (!path || !shown)
        return lode_err_nomem(err, "a path");
    if (lode_sys->fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return lode_err_sys(err, "cannot look at %s", lode_q(shown));
    bool link = S_ISLNK(st.st_mode);
    _cleanup_close_ int fd = lode_sys->openat(dir, name, O_PATH | (link ? 0 : O_NOFOLLOW), 0);
    if (fd < 0 && link)
        return lode_err_sys(err, "the link %s leads nowhere", lode_q(shown));
    if (fd < 0)
        return lode_err_sys(err, "cannot open %s", lode_q(shown));
    int r = link ? check_link(w, fd, shown, err) : 0;
    return r < 0 ? r : add_open(w, fd, level, path, shown, err);
}

/* Takes `fd`. */
static int scan_dir(struct walk *w, int fd, const struct level *level, const char *shown,
                    struct lode_err *err)
{
    DIR *dir = lode_sys->fdopendir(fd);
    struct dirent *entry;
    int r = 0;
    if (!dir) {
        lode_sys->close(fd);
        return lode_err_sys(err, "cannot read the directory %s", lode_q(shown));
    }
    for (errno = 0; r == 0 && (entry = lode_sys->readdir(dir)); errno = 0) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = scan_entry(w, fd, level, entry->d_name, shown, err);
    }
    if (r == 0 && errno != 0)
        r = lode_err_sys(err, "cannot read the directory %s", lode_q(shown));
    lode_sys->closedir(dir);
    return r;
}

/* "P/blobs" for a top of P/snapshots/R or a directory in it, owned; NULL for any other. */
static char *blobs_of(const char *top)
{
    const char *at = NULL;
    for (const char *p = top; (p = strstr(p, "/snapshots/")); p++)
        at = p;
    return at && at[strlen("/snapshots/")] ? lode_asprintf("%.*s/blobs", (int)(at - top), top)
                                           : NULL;
}

/* The last part of what the user wrote, or of where it leads for "." and the like. */
static const char *own_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int scan_named(struct lode_sources *into, const char *path, bool follow_links,
                      struct lode_err *err)
{
    _cleanup_close_ int fd = lode_sys->openat(AT_FDCWD, path, O_PATH, 0);
    struct stat st;
    if (fd < 0 || lode_sys->fstat(fd, &st) < 0)
        return lode_err_sys(err, "cannot open %s", lode_q(path));
    struct walk w = {.into = into, .follow_links = follow_links};
    int r = real_path(fd, path, &w.top, err);
    if (r < 0)
        return r;
    w.blobs = blobs_of(w.top);
    size_t before = into->n;
    if (S_ISDIR(st.st_mode))
        r = enter(&w, fd, &st, NULL, "", path, err);
    else
        r = add_open(&w, fd, NULL, own_name(path), path, err);
    if (r == 0 && into->n == before)
        r = lode_err_set(err, LODE_INVALID, "there is no file in the directory %s", lode_q(path));
    lode_free(w.top);
    lode_free(w.blobs);
    return r;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct lode_source *)a)->path, ((const struct lode_source *)b)->path);
}

/* Two paths that were named may hold the same name, or a file where the other has a directory. */
static int check_unique(const struct lode_sources *s, struct lode_err *err)
{
    for (size_t i = 0; i + 1 < s->n; i++) {
        const struct lode_source *a = &s->items[i], *b = &s->items[i + 1];
        if (strcmp(a->path, b->path) == 0)
            return lode_err_set(err, LODE_INVALID, "%s and %s would both be stored as %s",
                                lode_q(a->from), lode_q(b->from), lode_q(a->path));
    }
    for (size_t i = 0; i < s->n; i++) {
        for (const char *slash = strchr(s->items[i].path, '/'); slash;
             slash = strchr(slash + 1, '/')) {
            _cleanup_free_ char *dir =
                lode_strndup(s->items[i].path, (size_t)(slash - s->items[i].path));
            if (!dir)
                return lode_err_nomem(err, "a path");
            struct lode_source key = {.path = dir};
            if (bsearch(&key, s->items, s->n, sizeof key, by_path))
                return lode_err_set(err, LODE_INVALID, "%s would be a file and a directory",
                                    lode_q(dir));
        }
    }
    return 0;
}

int lode_sources_find(const char *const *paths, size_t n, bool follow_links,
                      struct lode_sources *out, struct lode_err *err)
{
    struct lode_sources found = {0};
    int r = n ? 0 : lode_err_set(err, LODE_INVALID, "nothing to store was named");
    for (size_t i = 0; r == 0 && i < n; i++)
        r = scan_named(&found, paths[i], follow_links, err);
    if (r == 0) {
        qsort(found.items, found.n, sizeof *found.items, by_path);
        r = check_unique(&found, err);
    }
    if (r < 0) {
        lode_sources_release(&found);
        return r;
    }
    settle(&found);
    *out = found;
    return 0;
}
