/* Remembered checks: see load/checks.h. */
#include "load/checks.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/sys.h"

#define RECORDS_MAX 65536   /* of the file; then the newer half stays */
#define FRESH_NS 2000000000 /* younger files are not remembered */

struct record {
    struct lode_sha256 key; /* of everything that the check is bound to */
};

struct lode_checks {
    char *path;           /* NULL: nothing is kept */
    struct record *items; /* those of the file first. Guarded by lock */
    size_t n, cap;
    size_t n_file; /* of these: already in the file */
    pthread_mutex_t lock;
};

/* Somebody else's file, or one that others may write, proves nothing. */
static bool trusted(int fd, struct stat *st)
{
    return lode_sys->fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_uid == geteuid() &&
           (st->st_mode & 022) == 0;
}

static void read_file(struct lode_checks *self)
{
    struct stat st;
    _cleanup_close_ int fd = lode_sys->openat(AT_FDCWD, self->path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 || !trusted(fd, &st))
        return;
    if ((size_t)st.st_size % sizeof(struct record) !=
        0) { /* a kill cut a record: what follows would be out of step */
        lode_sys->unlinkat(AT_FDCWD, self->path, 0);
        return;
    }
    size_t n = (size_t)st.st_size / sizeof(struct record),
           skip = n > RECORDS_MAX ? n - RECORDS_MAX : 0;
    if (lode_grow((void **)&self->items, &self->cap, n - skip + 1, sizeof *self->items) < 0)
        return;
    if (lode_pread_full(fd, self->items, (n - skip) * sizeof *self->items,
                        skip * sizeof *self->items) == 0)
        self->n = self->n_file = n - skip;
}

struct lode_checks *lode_checks_open(const char *dir)
{
    struct lode_checks *self = lode_zalloc(sizeof *self);
    if (!self)
        return NULL;
    pthread_mutex_init(&self->lock, NULL);
    self->path = dir ? lode_asprintf("%s/checks", dir) : NULL;
    if (self->path)
        read_file(self);
    return self;
}

static void append(struct lode_checks *self)
{
    _cleanup_close_ int fd =
        lode_sys->openat(AT_FDCWD, self->path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600);
    struct stat st;
    if (fd >= 0 && trusted(fd, &st))
        (void)lode_write_full(fd, self->items + self->n_file,
                              (self->n - self->n_file) * sizeof *self->items);
}

static void rewrite(struct lode_checks *self)
{
    _cleanup_free_ char *temp = lode_asprintf("%s.%ld", self->path, (long)getpid());
    _cleanup_close_ int fd =
        temp ? lode_sys->openat(AT_FDCWD, temp, O_WRONLY | O_CREAT | O_EXCL, 0600) : -1;
    size_t keep = lode_min(self->n, (size_t)RECORDS_MAX / 2);
    if (fd < 0)
        return;
    if (lode_write_full(fd, self->items + self->n - keep, keep * sizeof *self->items) < 0 ||
        lode_sys->renameat2(AT_FDCWD, temp, AT_FDCWD, self->path, 0) < 0)
        lode_sys->unlinkat(AT_FDCWD, temp, 0);
}

void lode_checks_close(struct lode_checks *self)
{
    if (!self)
        return;
    if (self->path && self->n > self->n_file) {
        if (self->n > RECORDS_MAX)
            rewrite(self);
        else
            append(self);
    }
    pthread_mutex_destroy(&self->lock);
    lode_free(self->items);
    lode_free(self->path);
    lode_free(self);
}

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool key_of(const struct lode_check *check, struct lode_sha256 *out)
{
    char text[320], hex[LODE_SHA256_HEX];
    const struct stat *st = check->st;
    int64_t ctime_ns = LODE_PLANTED(check_ignores_ctime) ? 0 : nanoseconds(st->st_ctim);
    int n = snprintf(
        text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %.64s %s",
        (uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size, nanoseconds(st->st_mtim),
        ctime_ns, check->manifest_digest, lode_sha256_text(check->file_digest, hex));
    return lode_sha256_of(text, (size_t)n, out, NULL) == 0;
}

bool lode_checks_has(struct lode_checks *self, const struct lode_check *check)
{
    struct lode_sha256 key;
    bool found = false;
    if (!self || !key_of(check, &key))
        return false;
    pthread_mutex_lock(&self->lock);
    for (size_t i = self->n; !found && i > 0; i--)
        found = memcmp(&self->items[i - 1].key, &key, sizeof key) == 0;
    pthread_mutex_unlock(&self->lock);
    return found;
}

static bool too_fresh(const struct stat *st)
{
    int64_t now = lode_now_ms() * 1000000;
    int64_t changed = lode_max(nanoseconds(st->st_mtim), nanoseconds(st->st_ctim));
    return now - changed < FRESH_NS && !LODE_PLANTED(check_fresh_file);
}

void lode_checks_add(struct lode_checks *self, const struct lode_check *check)
{
    struct lode_sha256 key;
    if (!self || too_fresh(check->st) || !key_of(check, &key))
        return;
    pthread_mutex_lock(&self->lock);
    if (lode_grow((void **)&self->items, &self->cap, self->n + 1, sizeof *self->items) == 0)
        self->items[self->n++].key = key;
    pthread_mutex_unlock(&self->lock);
}

size_t lode_checks_count(const struct lode_checks *self)
{
    return self ? self->n : 0;
}
