/* Identity of local files: see registry/source.h. */
#include "registry/source.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/sys.h"

void lode_sources_release(struct lode_sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        lode_free(s->items[i].path);
        lode_free(s->items[i].from);
    }
    lode_free(s->items);
    *s = (struct lode_sources){0};
}

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int changed(const struct lode_source *self, const char *how, struct lode_err *err)
{
    return lode_err_set(err, LODE_CHANGED,
                        "%s %s while it was read; push again when nobody writes to it",
                        lode_q(self->from), how);
}

int lode_source_check(const struct lode_source *self, int fd, struct lode_err *err)
{
    struct stat st;
    if (lode_sys->fstat(fd, &st) < 0)
        return lode_err_sys(err, "cannot look at %s", lode_q(self->from));
    if (LODE_PLANTED(source_change_unseen))
        return 0;
    if ((uint64_t)st.st_ino != self->inode || (uint64_t)st.st_dev != self->device)
        return changed(self, "was replaced", err);
    if ((uint64_t)st.st_size != self->size)
        return changed(self, "changed its size", err);
    if (nanoseconds(st.st_mtim) != self->mtime_ns || nanoseconds(st.st_ctim) != self->ctime_ns)
        return changed(self, "was written to", err);
    return 0;
}

int lode_source_open(const struct lode_source *self, int *fd, struct lode_err *err)
{
    _cleanup_close_ int at =
        lode_sys->openat(AT_FDCWD, self->from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (at < 0 && (errno == ENOENT || errno == ELOOP))
        return changed(self, "was removed", err);
    if (at < 0)
        return lode_err_sys(err, "cannot open %s", lode_q(self->from));
    int r = lode_source_check(self, at, err);
    if (r == 0)
        *fd = lode_steal_fd(at);
    return r;
}

int lode_sources_fingerprint(const struct lode_sources *s, struct lode_sha256 *out,
                             struct lode_err *err)
{
    struct lode_sha256_ctx *sha;
    int r = lode_sha256_new(&sha, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < s->n; i++) {
        const struct lode_source *f = &s->items[i];
        char line[256];
        int n = snprintf(
            line, sizeof line, "%c%" PRIu64 " %o %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 "%c",
            0, f->size, (unsigned)f->mode, f->device, f->inode, f->mtime_ns, f->ctime_ns, 0);
        r = lode_sha256_update(sha, f->path, strlen(f->path), err);
        if (r == 0)
            r = lode_sha256_update(sha, line, (size_t)n, err);
    }
    if (r == 0)
        r = lode_sha256_final(sha, out, err);
    lode_sha256_free(sha);
    return r;
}
