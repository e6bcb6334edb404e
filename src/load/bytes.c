/* Bytes of a version's files: see load/bytes.h. */
#include "load/bytes.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "load/blocks.h"

int lode_bytes_init(struct lode_bytes *self, struct lode_err *err)
{
    pthread_mutex_init(&self->lock, NULL);
    self->fds = lode_calloc(self->manifest->n_files + 1, sizeof *self->fds);
    if (!self->fds)
        return lode_err_nomem(err, "a list of files");
    for (size_t i = 0; i < self->manifest->n_files; i++)
        self->fds[i] = -1;
    return 0;
}

void lode_bytes_release(struct lode_bytes *self)
{
    for (size_t i = 0; self->fds && i < self->manifest->n_files; i++)
        lode_closep(&self->fds[i]);
    lode_free(self->fds);
    self->fds = NULL;
    pthread_mutex_destroy(&self->lock);
}

static char *key_of(const struct lode_bytes *self, unsigned file)
{
    return lode_asprintf("%s%s%s", self->prefix, *self->prefix ? "/" : "",
                         self->manifest->files[file].path);
}

char *lode_bytes_where(const struct lode_bytes *self, unsigned file)
{
    const char *path = self->manifest->files[file].path;
    return self->store
               ? lode_asprintf("%s in %s/%s", path, lode_store_url(self->store), self->prefix)
               : lode_strdup(path);
}

bool lode_bytes_checked(const struct lode_bytes *self, unsigned file)
{
    const struct lode_manifest_file *f = &self->manifest->files[file];
    return self->verify && (f->n_blocks > 0 || f->size == 0);
}

static int open_local(struct lode_bytes *self, unsigned file, int *fd, struct lode_err *err)
{
    if (!self->store)
        return self->open(self->arg, file, fd, err);
    if (!(lode_store_caps(self->store) & LODE_STORE_OPEN_LOCAL))
        return lode_err_set(err, LODE_UNSUPPORTED, "%s has no local files",
                            lode_store_url(self->store));
    _cleanup_free_ char *key = key_of(self, file);
    return key ? lode_store_open_local(self->store, key, fd, err) : lode_err_nomem(err, "a key");
}

int lode_bytes_local(struct lode_bytes *self, unsigned file, int *fd, struct lode_err *err)
{
    int r = 0;
    pthread_mutex_lock(&self->lock);
    if (self->fds[file] < 0)
        r = open_local(self, file, &self->fds[file], err);
    *fd = self->fds[file];
    pthread_mutex_unlock(&self->lock);
    return r;
}

static int read_local(struct lode_bytes *self, unsigned file, uint64_t offset, void *into,
                      size_t len, struct lode_err *err)
{
    int fd;
    int r = lode_bytes_local(self, file, &fd, err);
    if (r < 0 || lode_pread_full(fd, into, len, offset) == 0)
        return r;
    const char *path = self->manifest->files[file].path;
    if (errno == ENODATA)
        return lode_err_set(err, LODE_CHANGED, "%s became shorter while it was read", lode_q(path));
    return lode_err_sys(err, "cannot read %s at byte %" PRIu64, lode_q(path), offset);
}

static int read_raw(struct lode_bytes *self, unsigned file, uint64_t offset, void *into, size_t len,
                    struct lode_err *err)
{
    if (len == 0)
        return 0;
    if (!self->store)
        return read_local(self, file, offset, into, len, err);
    _cleanup_free_ char *key = key_of(self, file);
    return key ? lode_store_pread(self->store, key, into, len, offset, err)
               : lode_err_nomem(err, "a key");
}

int lode_bytes_read_blocks(struct lode_bytes *self, unsigned file, uint64_t offset, void *into,
                           size_t len, struct lode_err *err)
{
    const struct lode_manifest_file *f = &self->manifest->files[file];
    int r = read_raw(self, file, offset, into, len, err);
    if (r < 0 || !lode_bytes_checked(self, file))
        return r;
    return lode_blocks_check(f, self->manifest->block_size, offset, into, len,
                             self->store ? lode_store_url(self->store) : "its directory", err);
}

/* The part of one block that is wanted, through a block of its own. */
static int read_part(struct lode_bytes *self, unsigned file, uint64_t offset, uint8_t *into,
                     size_t len, struct lode_err *err)
{
    uint64_t size = self->manifest->block_size, start = offset / size * size;
    size_t n = (size_t)lode_min(size, self->manifest->files[file].size - start);
    _cleanup_free_ uint8_t *block = lode_alloc(n);
    if (!block)
        return lode_err_nomem(err, "a block");
    int r = lode_bytes_read_blocks(self, file, start, block, n, err);
    if (r == 0)
        memcpy(into, block + (offset - start), len);
    return r;
}

int lode_bytes_read(struct lode_bytes *self, unsigned file, uint64_t offset, void *into, size_t len,
                    struct lode_err *err)
{
    uint64_t size = self->manifest->block_size, end = self->manifest->files[file].size;
    uint8_t *to = into;
    if (!lode_bytes_checked(self, file))
        return read_raw(self, file, offset, into, len, err);
    int r = 0;
    while (r == 0 && len > 0) {
        uint64_t phase = offset % size;
        size_t n = (size_t)lode_min((uint64_t)len, size - phase);
        if (phase == 0 && (len >= size || offset + len == end)) {
            n = offset + len == end ? len : len - (size_t)(len % size);
            r = lode_bytes_read_blocks(self, file, offset, to, n, err);
        } else {
            r = read_part(self, file, offset, to, n, err);
        }
        offset += n;
        to += n;
        len -= n;
    }
    return r;
}
