/* Calling a store: the checked wrappers of store/store.h.
 *
 * Each wrapper checks its keys before the back end sees them, and names the store and the key in
 * a failure whose message does not.
 */
#include "store/store.h"
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "store/util.h"

#define READ_OPS(read) (*(const struct lode_store_ops *const *)(const void *)(read))
#define WRITE_OPS(write) (*(const struct lode_store_ops *const *)(const void *)(write))

static int check_key(const char *key, bool allow_empty, struct lode_err *err)
{
    if (LODE_PLANTED(store_key_check_skipped))
        return 0;
    return lode_key_check(key, strlen(key), allow_empty, err);
}

/* `r`, with the store and the key told where the message does not. */
static int told(const struct lode_store *self, const char *what, const char *key, int r,
                struct lode_err *err)
{
    if (r >= 0 || !err || err->code == 0 || (*key && strstr(err->text, key)))
        return r;
    lode_err_prefix(err, "cannot %s %s in %s", what, lode_q(key), lode_store_url(self));
    return r;
}

void lode_store_close(struct lode_store *self)
{
    if (self)
        lode_store_ops_of(self)->close(self);
}

int lode_store_stat(struct lode_store *self, const char *key, struct lode_store_stat *out,
                    struct lode_err *err)
{
    int r = check_key(key, true, err);
    return r < 0 ? r
                 : told(self, "look at", key, lode_store_ops_of(self)->stat(self, key, out, err),
                        err);
}

int lode_store_read(struct lode_store *self, const struct lode_store_range *ranges, size_t n,
                    lode_store_read_done *done, void *arg, struct lode_store_read **out,
                    struct lode_err *err)
{
    for (size_t i = 0; i < n; i++) {
        int r = check_key(ranges[i].key, false, err);
        if (r < 0)
            return r;
        if (ranges[i].len == 0 || ranges[i].offset > INT64_MAX - ranges[i].len)
            return lode_err_set(
                err, LODE_INVALID, "cannot read %zu bytes at %llu of %s: not a range of a file",
                ranges[i].len, (unsigned long long)ranges[i].offset, lode_q(ranges[i].key));
    }
    return lode_store_ops_of(self)->read(self, ranges, n, done, arg, out, err);
}

int lode_store_read_wait(struct lode_store_read *read, struct lode_err *err)
{
    return READ_OPS(read)->read_wait(read, err);
}

void lode_store_read_cancel(struct lode_store_read *read)
{
    if (read)
        READ_OPS(read)->read_cancel(read);
}

int lode_store_write_begin(struct lode_store *self, const char *key,
                           const struct lode_store_write_opts *opts, struct lode_store_write **out,
                           struct lode_err *err)
{
    int r = check_key(key, false, err);
    if (r < 0)
        return r;
    if (opts->part_size == 0)
        return lode_err_set(err, LODE_INVALID, "cannot write %s: a part size of 0", lode_q(key));
    return told(self, "write", key, lode_store_ops_of(self)->write_begin(self, key, opts, out, err),
                err);
}

int lode_store_write_parts(struct lode_store_write *write, struct lode_store_part **parts,
                           size_t *n, struct lode_err *err)
{
    return WRITE_OPS(write)->write_parts(write, parts, n, err);
}

int lode_store_write_part(struct lode_store_write *write, uint32_t number, const void *data,
                          size_t len, struct lode_err *err)
{
    return WRITE_OPS(write)->write_part(write, number, data, len, err);
}

int lode_store_write_complete(struct lode_store_write *write, uint64_t size, bool if_absent,
                              struct lode_err *err)
{
    return WRITE_OPS(write)->write_complete(write, size, if_absent, err);
}

void lode_store_write_abort(struct lode_store_write *write, bool keep)
{
    if (write)
        WRITE_OPS(write)->write_abort(write, keep);
}

int lode_store_unfinished(struct lode_store *self, const char *dir,
                          struct lode_store_unfinished_list *out, struct lode_err *err)
{
    int r = check_key(dir, true, err);
    return r < 0 ? r
                 : told(self, "list unfinished writes in", dir,
                        lode_store_ops_of(self)->unfinished(self, dir, out, err), err);
}

int lode_store_discard(struct lode_store *self, const char *key, const char *id,
                       struct lode_err *err)
{
    int r = check_key(key, false, err);
    return r < 0 ? r
                 : told(self, "discard an unfinished write of", key,
                        lode_store_ops_of(self)->discard(self, key, id, err), err);
}

int lode_store_open_local(struct lode_store *self, const char *key, int *fd, struct lode_err *err)
{
    int r = check_key(key, false, err);
    return r < 0 ? r
                 : told(self, "open", key, lode_store_ops_of(self)->open_local(self, key, fd, err),
                        err);
}

int lode_store_list(struct lode_store *self, const char *dir, const char *after, size_t limit,
                    struct lode_store_page *out, struct lode_err *err)
{
    int r = check_key(dir, true, err);
    if (r < 0)
        return r;
    if (limit == 0)
        return lode_err_set(err, LODE_INVALID, "cannot list %s: a page of 0 entries", lode_q(dir));
    return told(self, "list", dir, lode_store_ops_of(self)->list(self, dir, after, limit, out, err),
                err);
}

int lode_store_remove(struct lode_store *self, const char *key, struct lode_err *err)
{
    int r = check_key(key, false, err);
    return r < 0 ? r
                 : told(self, "remove", key, lode_store_ops_of(self)->remove(self, key, err), err);
}

int lode_store_rename_dir(struct lode_store *self, const char *from, const char *to,
                          struct lode_err *err)
{
    int r = check_key(from, false, err);
    if (r == 0)
        r = check_key(to, false, err);
    if (r < 0)
        return r;
    return told(self, "rename", from, lode_store_ops_of(self)->rename_dir(self, from, to, err),
                err);
}

int lode_store_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
                    struct lode_err *err)
{
    int r = check_key(from, false, err);
    if (r == 0)
        r = check_key(to, false, err);
    return r < 0 ? r
                 : told(self, "copy", from,
                        lode_store_ops_of(self)->copy(self, from, to, if_absent, err), err);
}

int lode_store_placement(struct lode_store *self, const char *key, struct lode_store_placement *out,
                         struct lode_err *err)
{
    int r = check_key(key, false, err);
    return r < 0 ? r
                 : told(self, "place", key, lode_store_ops_of(self)->placement(self, key, out, err),
                        err);
}

int lode_store_space(struct lode_store *self, struct lode_store_space *out, struct lode_err *err)
{
    return told(self, "ask the space of", "", lode_store_ops_of(self)->space(self, out, err), err);
}
