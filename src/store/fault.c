/* The fault decorator: for tests. Fails, delays, corrupts, or loses the reply of chosen
 * operations.
 *
 * A lost reply means: it was done, but is told as failed; for operations that only look it is a
 * plain failure. A corruption flips one bit of what is read or written; elsewhere it does
 * nothing.
 */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "store/util.h"
#include "store/wrap.h"

struct fault_store {
    struct lode_wrap wrap;
    lode_fault_fn *decide;
    void *arg;
};

struct fault_write {
    struct lode_wrap_write wrap;
    struct fault_store *store;
    char *key;
};

struct fault_read {
    const struct lode_store_ops *ops;
    struct lode_relay relay;
    struct lode_store_read *inner;
    struct lode_store_range *ranges; /* those that are passed on */
    size_t *origin;                  /* their place in the caller's */
    struct lode_fault *faults;       /* of each range of the caller's */
    size_t n;
};

static const struct lode_store_ops fault_ops;

static struct fault_store *fault_of(struct lode_store *self)
{
    return (struct fault_store *)(void *)self;
}

static int told(int code, const char *op, const char *key, struct lode_err *err)
{
    return lode_err_set(err, code, "fault: %s of %s", op, lode_q(key));
}

/* Asks what is to happen; waits if that is it. */
static struct lode_fault ask(struct fault_store *self, const char *op, const char *key)
{
    struct lode_fault fault = self->decide(self->arg, op, key);
    if (fault.kind == LODE_FAULT_DELAY)
        lode_sleep_ms(fault.delay_ms);
    return fault;
}

/* For operations that only look. */
static int looks(struct lode_store *store, const char *op, const char *key, struct lode_err *err)
{
    struct lode_fault fault = ask(fault_of(store), op, key);
    bool fails = fault.kind == LODE_FAULT_FAIL || fault.kind == LODE_FAULT_LOST_REPLY;
    return fails ? told(fault.code, op, key, err) : 0;
}

/* For operations that change something: before and after. */
static int before(const struct lode_fault *fault, const char *op, const char *key,
                  struct lode_err *err)
{
    return fault->kind == LODE_FAULT_FAIL ? told(fault->code, op, key, err) : 0;
}

static int after(const struct lode_fault *fault, int r, const char *op, const char *key,
                 struct lode_err *err)
{
    return r == 0 && fault->kind == LODE_FAULT_LOST_REPLY ? told(fault->code, op, key, err) : r;
}

static int fault_stat(struct lode_store *self, const char *key, struct lode_store_stat *out,
                      struct lode_err *err)
{
    int r = looks(self, "stat", key, err);
    return r < 0 ? r : lode_wrap_stat(self, key, out, err);
}

static int fault_list(struct lode_store *self, const char *dir, const char *from, size_t limit,
                      struct lode_store_page *out, struct lode_err *err)
{
    int r = looks(self, "list", dir, err);
    return r < 0 ? r : lode_wrap_list(self, dir, from, limit, out, err);
}

static int fault_unfinished(struct lode_store *self, const char *dir,
                            struct lode_store_unfinished_list *out, struct lode_err *err)
{
    int r = looks(self, "unfinished", dir, err);
    return r < 0 ? r : lode_wrap_unfinished(self, dir, out, err);
}

static int fault_open_local(struct lode_store *self, const char *key, int *fd, struct lode_err *err)
{
    int r = looks(self, "open_local", key, err);
    return r < 0 ? r : lode_wrap_open_local(self, key, fd, err);
}

static int fault_placement(struct lode_store *self, const char *key,
                           struct lode_store_placement *out, struct lode_err *err)
{
    int r = looks(self, "placement", key, err);
    return r < 0 ? r : lode_wrap_placement(self, key, out, err);
}

static int fault_space(struct lode_store *self, struct lode_store_space *out, struct lode_err *err)
{
    int r = looks(self, "space", "", err);
    return r < 0 ? r : lode_wrap_space(self, out, err);
}

static int fault_discard(struct lode_store *self, const char *key, const char *id,
                         struct lode_err *err)
{
    struct lode_fault fault = ask(fault_of(self), "discard", key);
    int r = before(&fault, "discard", key, err);
    return r < 0 ? r : after(&fault, lode_wrap_discard(self, key, id, err), "discard", key, err);
}

static int fault_remove(struct lode_store *self, const char *key, struct lode_err *err)
{
    struct lode_fault fault = ask(fault_of(self), "remove", key);
    int r = before(&fault, "remove", key, err);
    return r < 0 ? r : after(&fault, lode_wrap_remove(self, key, err), "remove", key, err);
}

static int fault_rename_dir(struct lode_store *self, const char *from, const char *to,
                            struct lode_err *err)
{
    struct lode_fault fault = ask(fault_of(self), "rename_dir", from);
    int r = before(&fault, "rename_dir", from, err);
    return r < 0
               ? r
               : after(&fault, lode_wrap_rename_dir(self, from, to, err), "rename_dir", from, err);
}

static int fault_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
                      struct lode_err *err)
{
    struct lode_fault fault = ask(fault_of(self), "copy", from);
    int r = before(&fault, "copy", from, err);
    return r < 0 ? r
                 : after(&fault, lode_wrap_copy(self, from, to, if_absent, err), "copy", from, err);
}

/* ---- write ---- */

static int fault_write_begin(struct lode_store *self, const char *key,
                             const struct lode_store_write_opts *opts,
                             struct lode_store_write **out, struct lode_err *err)
{
    int r = looks(self, "write_begin", key, err);
    if (r < 0)
        return r;
    struct fault_write *write = lode_zalloc(sizeof *write);
    char *own = lode_strdup(key);
    r = write && own ? lode_wrap_write_begin(self, key, opts, &write->wrap.inner, err)
                     : lode_err_nomem(err, "a write");
    if (r < 0) {
        lode_free(write);
        lode_free(own);
        return r;
    }
    write->wrap.ops = &fault_ops;
    write->store = fault_of(self);
    write->key = own;
    *out = (struct lode_store_write *)(void *)write;
    return 0;
}

static int write_corrupted(struct fault_write *write, uint32_t number, const void *data, size_t len,
                           struct lode_err *err)
{
    _cleanup_free_ char *copy = lode_memdup(data, len);
    if (!copy)
        return lode_err_nomem(err, "a part");
    if (len > 0)
        copy[len / 2] ^= 0x10;
    return lode_store_write_part(write->wrap.inner, number, copy, len, err);
}

static int fault_write_part(struct lode_store_write *handle, uint32_t number, const void *data,
                            size_t len, struct lode_err *err)
{
    struct fault_write *write = (struct fault_write *)(void *)handle;
    struct lode_fault fault = ask(write->store, "write_part", write->key);
    int r = before(&fault, "write_part", write->key, err);
    if (r < 0)
        return r;
    r = fault.kind == LODE_FAULT_CORRUPT
            ? write_corrupted(write, number, data, len, err)
            : lode_store_write_part(write->wrap.inner, number, data, len, err);
    return after(&fault, r, "write_part", write->key, err);
}

static void write_free(struct fault_write *write)
{
    lode_free(write->key);
    lode_free(write);
}

static int fault_write_complete(struct lode_store_write *handle, uint64_t size, bool if_absent,
                                struct lode_err *err)
{
    struct fault_write *write = (struct fault_write *)(void *)handle;
    struct lode_fault fault = ask(write->store, "write_complete", write->key);
    int r = before(&fault, "write_complete", write->key, err);
    if (r < 0)
        lode_store_write_abort(write->wrap.inner, true);
    else
        r = after(&fault, lode_store_write_complete(write->wrap.inner, size, if_absent, err),
                  "write_complete", write->key, err);
    write_free(write);
    return r;
}

static void fault_write_abort(struct lode_store_write *handle, bool keep)
{
    struct fault_write *write = (struct fault_write *)(void *)handle;
    lode_store_write_abort(write->wrap.inner, keep);
    write_free(write);
}

/* ---- read ---- */

static void arrived(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                    const struct lode_err *failure)
{
    struct fault_read *read = arg;
    size_t i = read->origin[range - read->ranges];
    const struct lode_fault *fault = &read->faults[i];
    struct lode_err lost = {0};
    if (fault->kind == LODE_FAULT_CORRUPT && !failure && from <= range->len / 2 &&
        range->len / 2 - from < len)
        ((char *)range->into)[range->len / 2] ^= 0x10;
    if (fault->kind == LODE_FAULT_LOST_REPLY && !failure) {
        told(fault->code, "read", range->key, &lost);
        failure = &lost;
    }
    if (!failure)
        lode_relay_ok(&read->relay, i, from, len);
    else if (failure == &lost)
        lode_relay_fail(&read->relay, i, len, failure);
    else
        lode_relay_fail_rest(&read->relay, i, failure);
}

static void read_free(struct fault_read *read)
{
    if (read->relay.state)
        lode_relay_release(&read->relay);
    lode_free(read->ranges);
    lode_free(read->origin);
    lode_free(read->faults);
    lode_free(read);
}

static int read_new(const struct lode_store_range *ranges, size_t n, lode_store_read_done *done,
                    void *arg, struct fault_read **out, struct lode_err *err)
{
    struct fault_read *read = lode_zalloc(sizeof *read);
    if (!read)
        return lode_err_nomem(err, "a read");
    read->ops = &fault_ops;
    read->ranges = lode_calloc(n, sizeof *read->ranges);
    read->origin = lode_calloc(n, sizeof *read->origin);
    read->faults = lode_calloc(n, sizeof *read->faults);
    int r = read->ranges && read->origin && read->faults
                ? lode_relay_init(&read->relay, ranges, n, done, arg, err)
                : lode_err_nomem(err, "a read");
    if (r < 0) {
        read_free(read);
        return r;
    }
    *out = read;
    return 0;
}

static int fault_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
                      lode_store_read_done *done, void *arg, struct lode_store_read **out,
                      struct lode_err *err)
{
    struct fault_read *read = NULL;
    int r = read_new(ranges, n, done, arg, &read, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct lode_err failure = {0};
        read->faults[i] = ask(fault_of(store), "read", ranges[i].key);
        if (before(&read->faults[i], "read", ranges[i].key, &failure) < 0) {
            lode_relay_fail(&read->relay, i, ranges[i].len, &failure);
            continue;
        }
        read->ranges[read->n] = ranges[i];
        read->origin[read->n++] = i;
    }
    r = lode_wrap_read(store, read->ranges, read->n, arrived, read, &read->inner, err);
    if (r < 0) {
        read_free(read);
        return r;
    }
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

static int fault_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct fault_read *read = (struct fault_read *)(void *)handle;
    int inner = lode_store_read_wait(read->inner, NULL);
    int r = lode_relay_result(&read->relay, err);
    (void)inner; /* every failure of it came through the relay */
    read_free(read);
    return r;
}

static void fault_read_cancel(struct lode_store_read *handle)
{
    struct fault_read *read = (struct fault_read *)(void *)handle;
    lode_store_read_cancel(read->inner);
    read_free(read);
}

static void fault_close(struct lode_store *self)
{
    lode_wrap_release(&fault_of(self)->wrap);
    lode_free(self);
}

int lode_store_fault(struct lode_store *inner, lode_fault_fn *decide, void *arg,
                     struct lode_store **out, struct lode_err *err)
{
    struct fault_store *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a store");
    self->decide = decide;
    self->arg = arg;
    int r = lode_wrap_init(&self->wrap, &fault_ops, inner, err);
    if (r < 0) {
        lode_free(self);
        return r;
    }
    *out = (struct lode_store *)(void *)self;
    return 0;
}

static const struct lode_store_ops fault_ops = {
    .abi = LODE_STORE_ABI,
    .scheme = "fault",
    .close = fault_close,
    .stat = fault_stat,
    .read = fault_read,
    .read_wait = fault_read_wait,
    .read_cancel = fault_read_cancel,
    .write_begin = fault_write_begin,
    .write_parts = lode_wrap_write_parts,
    .write_part = fault_write_part,
    .write_complete = fault_write_complete,
    .write_abort = fault_write_abort,
    .unfinished = fault_unfinished,
    .discard = fault_discard,
    .open_local = fault_open_local,
    .list = fault_list,
    .remove = fault_remove,
    .rename_dir = fault_rename_dir,
    .copy = fault_copy,
    .placement = fault_placement,
    .space = fault_space,
};
