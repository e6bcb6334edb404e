/* The posix store: opening it, looking at objects, and its table of operations. See
 * store/posix.h for the design. */
#include "store/posix.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "store/util.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY)

/* A file that somebody puts in our way must not make us wait: a FIFO opens at once with
 * O_NONBLOCK. */
#define OBJECT_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY)

void posix_fill_stat(const struct stat *st, struct lode_store_stat *out)
{
    *out = (struct lode_store_stat){
        .kind = S_ISDIR(st->st_mode) ? LODE_STORE_DIR : LODE_STORE_OBJECT,
        .size = S_ISDIR(st->st_mode) ? 0 : (uint64_t)st->st_size,
        .mtime_ns = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec,
        .ctime_ns = st->st_ctim.tv_sec * 1000000000ll + st->st_ctim.tv_nsec,
        .inode = st->st_ino,
        .device = st->st_dev,
    };
}

int posix_check_key(const struct posix_store *self, const char *key, struct lode_err *err)
{
    if (!lode_key_beneath(key, POSIX_PARTS))
        return 0;
    return lode_err_set(err, LODE_INVALID, "%s is the store's own folder in %s", lode_q(key),
                        self->base.url);
}

int posix_open_object(struct posix_store *self, const char *key, struct stat *st, int *fd,
                      struct lode_err *err)
{
    _cleanup_close_ int at = lode_sys->open_beneath(self->dir, key, OBJECT_FLAGS, 0);
    if (at < 0)
        return lode_err_sys(err, "cannot open %s in %s", lode_q(key), self->base.url);
    if (lode_sys->fstat(at, st) < 0)
        return lode_err_sys(err, "cannot look at %s in %s", lode_q(key), self->base.url);
    if (S_ISDIR(st->st_mode))
        return lode_err_set(err, LODE_NOT_FOUND, "%s is a directory of %s, not an object",
                            lode_q(key), self->base.url);
    if (!S_ISREG(st->st_mode))
        return lode_err_set(err, LODE_DENIED, "%s in %s is no regular file", lode_q(key),
                            self->base.url);
    *fd = lode_steal_fd(at);
    return 0;
}

int posix_open_dir(struct posix_store *self, const char *dir, int *fd, struct lode_err *err)
{
    int at = lode_sys->open_beneath(self->dir, dir, DIR_FLAGS, 0);
    if (at < 0)
        return lode_err_sys(err, "cannot open the directory %s in %s", lode_q(dir), self->base.url);
    *fd = at;
    return 0;
}

/* Opens directory `part` of `at`, making it if it is missing. Another may remove it in between:
 * once more then. */
static int enter_or_make(int at, const char *part)
{
    for (int tries = 0;; tries++) {
        int fd = lode_sys->open_beneath(at, part, DIR_FLAGS, 0);
        if (fd >= 0 || errno != ENOENT || tries == 3)
            return fd;
        if (lode_sys->mkdirat(at, part, 0777) < 0 && errno != EEXIST)
            return -1;
    }
}

static int make_failed(const struct posix_store *self, const char *dir, struct lode_err *err)
{
    if (errno == ENOTDIR || errno == EEXIST)
        return lode_err_set(err, LODE_EXISTS,
                            "cannot make the directory %s in %s: a part of it is an object",
                            lode_q(dir), self->base.url);
    return lode_err_sys(err, "cannot make the directory %s in %s", lode_q(dir), self->base.url);
}

int posix_make_dir(struct posix_store *self, const char *dir, int *fd, struct lode_err *err)
{
    int quick = lode_sys->open_beneath(self->dir, dir, DIR_FLAGS, 0);
    _cleanup_free_ char *path = lode_strdup(dir);
    if (quick >= 0) {
        *fd = quick;
        return 0;
    }
    if (!path)
        return lode_err_nomem(err, "a path");
    _cleanup_close_ int at = -1;
    char *rest = path;
    for (char *part; (part = strsep(&rest, "/"));) {
        int next = enter_or_make(at < 0 ? self->dir : at, part);
        if (next < 0)
            return make_failed(self, dir, err);
        lode_closep(&at);
        at = next;
    }
    *fd = lode_steal_fd(at);
    return 0;
}

int posix_engine(struct posix_store *self, struct lode_io **io, struct lode_err *err)
{
    pthread_mutex_lock(&self->lock);
    int r = self->io ? 0 : lode_io_get(&self->io, err);
    *io = self->io;
    pthread_mutex_unlock(&self->lock);
    return r;
}

static int posix_stat(struct lode_store *store, const char *key, struct lode_store_stat *out,
                      struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    int r = posix_check_key(self, key, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = lode_sys->open_beneath(self->dir, key, O_PATH | O_NOFOLLOW, 0);
    struct stat st;
    if (fd < 0 || lode_sys->fstat(fd, &st) < 0)
        return lode_err_sys(err, "cannot look at %s in %s", lode_q(key), self->base.url);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return lode_err_set(err, LODE_DENIED, "%s in %s is neither a file nor a directory",
                            lode_q(key), self->base.url);
    posix_fill_stat(&st, out);
    return 0;
}

static int posix_open_local(struct lode_store *store, const char *key, int *fd,
                            struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    struct stat st;
    int r = posix_check_key(self, key, err);
    return r < 0 ? r : posix_open_object(self, key, &st, fd, err);
}

static int posix_placement(struct lode_store *self, const char *key,
                           struct lode_store_placement *out, struct lode_err *err)
{
    return lode_store_unsupported(self, "say where bytes lie", err);
}

static int posix_space(struct lode_store *store, struct lode_store_space *out, struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    struct statvfs vfs;
    if (lode_sys->fstatvfs(self->dir, &vfs) < 0)
        return lode_err_sys(err, "cannot ask the free space of %s", self->base.url);
    out->free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    out->total = (uint64_t)vfs.f_blocks * vfs.f_frsize;
    return 0;
}

static void posix_close(struct lode_store *store)
{
    struct posix_store *self = posix_of(store);
    if (self->dir >= 0)
        lode_sys->close(self->dir);
    lode_io_unref(self->io);
    pthread_mutex_destroy(&self->lock);
    posix_synced_release(&self->synced);
    lode_free(self->base.url);
    lode_free(self);
}

/* Decodes the percent-encoding of a file: URL, once, in place; false where it is malformed or
 * hides a NUL. */
static bool decode_url(char *s)
{
    char *to = s;
    for (; *s; s++) {
        uint8_t c = (uint8_t)*s;
        if (c == '%') {
            if (!lode_unhex(s + 1, strnlen(s + 1, 2), &c, 1) || c == 0)
                return false;
            s += 2;
        }
        *to++ = (char)c;
    }
    *to = 0;
    return true;
}

/* An absolute path without slashes at its end, owned. */
static int absolute(const char *path, char **out, struct lode_err *err)
{
    char here[LODE_PATH_MAX];
    const char *from = "", *home = getenv("HOME");
    if (path[0] == '~' && (path[1] == 0 || path[1] == '/') && home) {
        from = home;
        path++;
    } else if (path[0] != '/') {
        if (!getcwd(here, sizeof here))
            return lode_err_sys(err, "cannot tell the current directory");
        from = here;
        while (strncmp(path, "./", 2) == 0)
            path += 2;
    }
    char *full = lode_asprintf("%s%s%s", from, *from && *path != '/' ? "/" : "",
                               strcmp(path, ".") == 0 ? "" : path);
    if (!full)
        return lode_err_nomem(err, "a path");
    for (size_t n = strlen(full); n > 1 && full[n - 1] == '/'; n--)
        full[n - 1] = 0;
    *out = full;
    return 0;
}

static int path_of_url(const char *url, char **out, struct lode_err *err)
{
    if (strncmp(url, "file:", 5) != 0)
        return absolute(url, out, err);
    const char *path = url + 5;
    if (strncmp(path, "//localhost/", 12) == 0)
        path += 11;
    else if (strncmp(path, "///", 3) == 0)
        path += 2;
    _cleanup_free_ char *copy = lode_strdup(path);
    if (!copy)
        return lode_err_nomem(err, "a path");
    if (path[0] != '/' || path[1] == '/' || !decode_url(copy))
        return lode_err_set(err, LODE_INVALID,
                            "%s is no URL of a directory; write file:///srv/models or /srv/models",
                            lode_q(url));
    return absolute(copy, out, err);
}

/* mkdir -p of the base, each new name flushed into the directory above it. */
static int make_base(const char *path, struct lode_err *err)
{
    _cleanup_free_ char *part = lode_strdup(path);
    if (!part)
        return lode_err_nomem(err, "a path");
    for (char *slash = part; slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = 0;
        bool made = lode_sys->mkdirat(AT_FDCWD, part, 0777) == 0;
        if (!made && errno != EEXIST && errno != EISDIR && errno != EROFS && errno != EACCES)
            return lode_err_sys(err, "cannot make the directory %s", lode_q(part));
        if (made) {
            _cleanup_free_ char *above = lode_asprintf("%s/..", part);
            _cleanup_close_ int fd = above ? lode_sys->openat(AT_FDCWD, above, DIR_FLAGS, 0) : -1;
            if (fd < 0 || lode_sys->fsync(fd) < 0)
                return lode_err_sys(err, "cannot flush the directory above %s", lode_q(part));
        }
        if (slash)
            *slash = '/';
    }
    return 0;
}

static int open_base(struct posix_store *self, const struct lode_store_config *config,
                     struct lode_err *err)
{
    int r = config->create && !config->read_only ? make_base(self->base.url, err) : 0;
    if (r < 0)
        return r;
    self->dir = lode_sys->openat(AT_FDCWD, self->base.url, DIR_FLAGS, 0);
    if (self->dir < 0 && errno == ENOTDIR)
        return lode_err_set(err, LODE_INVALID, "the store %s is not a directory",
                            lode_q(self->base.url));
    if (self->dir < 0)
        return lode_err_sys(err, "cannot open the store %s", lode_q(self->base.url));
    return 0;
}

static int posix_open(const struct lode_store_config *config, struct lode_store **out,
                      struct lode_err *err)
{
    struct posix_store *self = lode_zalloc(sizeof *self);
    if (!self || posix_synced_init(&self->synced) < 0) {
        lode_free(self);
        return lode_err_nomem(err, "a store");
    }
    pthread_mutex_init(&self->lock, NULL);
    self->dir = -1;
    self->base.ops = &lode_store_posix_ops;
    self->base.caps = LODE_STORE_IF_ABSENT | LODE_STORE_RENAME_DIR | LODE_STORE_OPEN_LOCAL |
                      LODE_STORE_LIST | LODE_STORE_RESUME | LODE_STORE_SPACE |
                      (config->read_only ? LODE_STORE_READ_ONLY : 0);
    int r = path_of_url(config->url, &self->base.url, err);
    if (r == 0)
        r = open_base(self, config, err);
    if (r < 0) {
        posix_close((struct lode_store *)(void *)self);
        return r;
    }
    *out = (struct lode_store *)(void *)self;
    return 0;
}

const struct lode_store_ops lode_store_posix_ops = {
    .abi = LODE_STORE_ABI,
    .scheme = "file",
    .open = posix_open,
    .close = posix_close,
    .stat = posix_stat,
    .read = posix_read,
    .read_wait = posix_read_wait,
    .read_cancel = posix_read_cancel,
    .write_begin = posix_write_begin,
    .write_parts = posix_write_parts,
    .write_part = posix_write_part,
    .write_complete = posix_write_complete,
    .write_abort = posix_write_abort,
    .unfinished = posix_unfinished,
    .discard = posix_discard,
    .open_local = posix_open_local,
    .list = posix_list,
    .remove = posix_remove,
    .rename_dir = posix_rename_dir,
    .copy = posix_copy,
    .placement = posix_placement,
    .space = posix_space,
};
