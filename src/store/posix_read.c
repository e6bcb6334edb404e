/* Reading of the posix store. */
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "store/posix.h"
#include "store/util.h"
#include <errno.h>
#include <string.h>

struct posix_read {
    const struct lode_store_ops *ops;
    struct lode_err first;
};

/* Ranges of one key mostly come together: its descriptor is kept until another key comes. */
struct open_object {
    const char *key;
    int fd;
};

static int open_next(struct posix_store *self, struct open_object *at, const char *key, struct lode_err *err)
{
    if (at->fd >= 0 && strcmp(at->key, key) == 0)
        return 0;
    lode_closep(&at->fd);
    at->fd = -1;
    at->key = key;
    struct stat st;
    int r = posix_check_key(self, key, err);
    return r < 0 ? r : posix_open_object(self, key, &st, &at->fd, err);
}

static int read_range(struct posix_store *self, struct open_object *at, const struct lode_store_range *range,
                      struct lode_err *err)
{
    int r = open_next(self, at, range->key, err);
    if (r < 0)
        return r;
    if (lode_pread_full(at->fd, range->into, range->len, range->offset) == 0)
        return 0;
    return lode_err_sys(err, "cannot read %zu bytes at %llu of %s in %s", range->len,
                        (unsigned long long)range->offset, lode_q(range->key), self->base.url);
}

int posix_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n, lode_store_read_done *done,
               void *arg, struct lode_store_read **out, struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    struct posix_read *read = lode_zalloc(sizeof *read);
    if (!read)
        return lode_err_nomem(err, "a read");
    read->ops = self->base.ops;
    struct open_object at = {.fd = -1};
    for (size_t i = 0; i < n; i++) {
        struct lode_err failure = {0};
        int r = read_range(self, &at, &ranges[i], &failure);
        lode_err_keep_first(&read->first, &failure);
        done(arg, &ranges[i], 0, ranges[i].len, r < 0 ? &failure : NULL);
    }
    lode_closep(&at.fd);
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

int posix_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct posix_read *read = (struct posix_read *)(void *)handle;
    int r = read->first.code;
    if (r < 0 && err)
        *err = read->first;
    lode_free(read);
    return r;
}

void posix_read_cancel(struct lode_store_read *handle)
{
    lode_free(handle);
}
