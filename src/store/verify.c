/* The verify decorator: what is read is checked against digests of blocks.
 *
 * A range is fetched as whole blocks: those that lie wholly inside it go straight to the
 * caller's memory, the cut ones at its ends into a buffer of their own. A block is checked when
 * its last byte has come, in the thread that brought it, and its part of the range is told at
 * once. So bytes that are not checked may lie in the caller's memory, but they are never told as
 * read.
 *
 * The descriptor of a local file would go round the check: this store has no
 * LODE_STORE_OPEN_LOCAL.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/size.h"
#include "store/util.h"
#include "store/wrap.h"

struct verify_store {
    struct lode_wrap wrap;
    const struct lode_verify_table *table; /* borrowed */
};

/* A run of blocks that is fetched as one range of the inner store. */
struct run {
    size_t i;                              /* the caller's range */
    const struct lode_verify_entry *entry; /* NULL: passes unchecked */
    size_t first;                          /* block */
    size_t n_blocks;
    _Atomic size_t *got; /* bytes that came, of each block; owned by the read */
    char *room;          /* for a cut block, owned; NULL: the caller's memory */
};

struct verify_read {
    const struct lode_store_ops *ops;
    struct verify_store *store;
    struct lode_relay relay;
    struct lode_store_read *inner;
    struct run *runs;
    struct lode_store_range *ranges; /* of the inner store, one a run */
    size_t n, cap, ranges_cap;
};

static const struct lode_store_ops verify_ops;

static struct verify_store *verify_of(struct lode_store *self)
{
    return (struct verify_store *)(void *)self;
}

static int by_key(const void *key, const void *entry)
{
    return strcmp(key, ((const struct lode_verify_entry *)entry)->key);
}

static const struct lode_verify_entry *find(const struct lode_verify_table *table, const char *key)
{
    return table->n == 0 ? NULL
                         : bsearch(key, table->entries, table->n, sizeof *table->entries, by_key);
}

/* ---- checking ---- */

static size_t block_len(const struct verify_store *self, const struct run *run, size_t block)
{
    uint64_t size = self->table->block_size, at = block * size;
    return (size_t)lode_min(size, run->entry->size - at);
}

static int check_block(const struct verify_store *self, const struct run *run, size_t block,
                       const void *bytes, struct lode_err *err)
{
    size_t len = block_len(self, run, block);
    const uint8_t *want = (const uint8_t *)run->entry->blocks + block * LODE_XXH128_LEN;
    if (LODE_PLANTED(store_verify_off_by_one) && block > 0)
        want -= LODE_XXH128_LEN;
    struct lode_xxh128 have = lode_xxh128_of(bytes, len);
    if (memcmp(have.b, want, LODE_XXH128_LEN) == 0 ||
        (LODE_PLANTED(store_verify_skips_last) && block + 1 == run->entry->n_blocks))
        return 0;
    uint64_t at = (uint64_t)block * self->table->block_size;
    return lode_err_set(err, LODE_CORRUPT,
                        "%s in %s is damaged: block %zu, bytes %" PRIu64 " to %" PRIu64
                        ", does not match its digest",
                        lode_q(run->entry->key), self->wrap.base.url, block, at, at + len - 1);
}

/* A whole block has come: checks it, then tells the caller's part of it. */
static void block_done(struct verify_read *read, const struct run *run, size_t block)
{
    const struct lode_store_range *outer = &read->relay.ranges[run->i];
    uint64_t start = (uint64_t)block * read->store->table->block_size;
    uint64_t end = start + block_len(read->store, run, block);
    uint64_t low = lode_max(start, outer->offset), high = lode_min(end, outer->offset + outer->len);
    char *mine = (char *)outer->into + (low - outer->offset);
    const char *bytes = run->room ? run->room : mine;
    struct lode_err failure = {0};
    if (check_block(read->store, run, block, bytes, &failure) < 0) {
        lode_relay_fail(&read->relay, run->i, (size_t)(high - low), &failure);
        return;
    }
    if (run->room)
        memcpy(mine, run->room + (low - start), (size_t)(high - low));
    lode_relay_ok(&read->relay, run->i, (size_t)(low - outer->offset), (size_t)(high - low));
}

/* The caller's bytes in the blocks of a failed run that are not complete. */
static size_t bytes_missing(struct verify_read *read, struct run *run)
{
    const struct lode_store_range *outer = &read->relay.ranges[run->i];
    size_t missing = 0;
    for (size_t k = 0; k < run->n_blocks; k++) {
        size_t len = block_len(read->store, run, run->first + k);
        uint64_t start = (uint64_t)(run->first + k) * read->store->table->block_size;
        uint64_t low = lode_max(start, outer->offset),
                 high = lode_min(start + len, outer->offset + outer->len);
        if (atomic_load(&run->got[k]) < len)
            missing += (size_t)(high - low);
    }
    return missing;
}

static void arrived(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                    const struct lode_err *failure)
{
    struct verify_read *read = arg;
    struct run *run = &read->runs[range - read->ranges];
    if (!run->entry) {
        if (failure)
            lode_relay_fail_rest(&read->relay, run->i, failure);
        else
            lode_relay_ok(&read->relay, run->i, from, len);
        return;
    }
    if (failure) {
        lode_relay_fail(&read->relay, run->i, bytes_missing(read, run), failure);
        return;
    }
    size_t size = read->store->table->block_size;
    while (len > 0) {
        size_t k = from / size, whole = block_len(read->store, run, run->first + k);
        size_t some = lode_min(len, whole - from % size);
        if (atomic_fetch_add(&run->got[k], some) + some == whole)
            block_done(read, run, run->first + k);
        from += some;
        len -= some;
    }
}

/* ---- planning ---- */

static int add_run(struct verify_read *read, struct run run, struct lode_store_range range,
                   struct lode_err *err)
{
    if (run.entry)
        run.got = lode_calloc(run.n_blocks, sizeof *run.got);
    if ((run.entry && !run.got) ||
        lode_grow((void **)&read->runs, &read->cap, read->n + 1, sizeof *read->runs) < 0 ||
        lode_grow((void **)&read->ranges, &read->ranges_cap, read->n + 1, sizeof *read->ranges) <
            0) {
        lode_free(run.got);
        lode_free(run.room);
        return lode_err_nomem(err, "a checked read");
    }
    read->runs[read->n] = run;
    read->ranges[read->n++] = range;
    return 0;
}

/* One block that the range cuts: into a buffer. */
static int add_cut(struct verify_read *read, size_t i, const struct lode_verify_entry *entry,
                   size_t block, struct lode_err *err)
{
    struct run run = {.i = i, .entry = entry, .first = block, .n_blocks = 1};
    size_t len = block_len(read->store, &run, block);
    run.room = lode_alloc(len);
    if (!run.room)
        return lode_err_nomem(err, "a block");
    uint64_t at = (uint64_t)block * read->store->table->block_size;
    return add_run(read, run, (struct lode_store_range){entry->key, at, len, run.room}, err);
}

/* Whole blocks: straight to the caller's memory. */
static int add_whole(struct verify_read *read, size_t i, const struct lode_verify_entry *entry,
                     size_t first, size_t end, struct lode_err *err)
{
    const struct lode_store_range *outer = &read->relay.ranges[i];
    uint64_t at = (uint64_t)first * read->store->table->block_size;
    uint64_t stop = lode_min((uint64_t)end * read->store->table->block_size, entry->size);
    struct run run = {.i = i, .entry = entry, .first = first, .n_blocks = end - first};
    struct lode_store_range range = {entry->key, at, (size_t)(stop - at),
                                     (char *)outer->into + (at - outer->offset)};
    return add_run(read, run, range, err);
}

static int plan_checked(struct verify_read *read, size_t i, const struct lode_verify_entry *entry,
                        struct lode_err *err)
{
    const struct lode_store_range *outer = &read->relay.ranges[i];
    uint64_t size = read->store->table->block_size, stop = outer->offset + outer->len;
    size_t first = (size_t)(outer->offset / size), end = (size_t)lode_div_up(stop, size);
    int r = 0;
    if (outer->offset % size != 0)
        r = add_cut(read, i, entry, first++, err);
    bool cut_end = stop % size != 0 && stop != entry->size && end > first;
    size_t whole_end = cut_end ? end - 1 : end;
    if (r == 0 && whole_end > first)
        r = add_whole(read, i, entry, first, whole_end, err);
    return r == 0 && cut_end ? add_cut(read, i, entry, end - 1, err) : r;
}

static int plan(struct verify_read *read, size_t i, struct lode_err *err)
{
    const struct lode_store_range *outer = &read->relay.ranges[i];
    const struct lode_verify_entry *entry = find(read->store->table, outer->key);
    struct lode_err failure = {0};
    if (!entry && read->store->table->allow_unknown)
        return add_run(read, (struct run){.i = i}, *outer, err);
    if (!entry)
        lode_err_set(&failure, LODE_CORRUPT, "%s in %s has no digest to be checked against",
                     lode_q(outer->key), read->store->wrap.base.url);
    else if (outer->len > entry->size || outer->offset > entry->size - outer->len)
        lode_err_set(&failure, LODE_IO,
                     "cannot read %zu bytes at %" PRIu64 " of %s: it has %" PRIu64 " bytes",
                     outer->len, outer->offset, lode_q(outer->key), entry->size);
    else
        return plan_checked(read, i, entry, err);
    lode_relay_fail_rest(&read->relay, i, &failure);
    return 0;
}

/* ---- operations ---- */

static void read_free(struct verify_read *read)
{
    for (size_t i = 0; i < read->n; i++) {
        lode_free(read->runs[i].got);
        lode_free(read->runs[i].room);
    }
    lode_free(read->runs);
    lode_free(read->ranges);
    lode_relay_release(&read->relay);
    lode_free(read);
}

static int verify_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
                       lode_store_read_done *done, void *arg, struct lode_store_read **out,
                       struct lode_err *err)
{
    struct verify_read *read = lode_zalloc(sizeof *read);
    if (!read)
        return lode_err_nomem(err, "a read");
    read->ops = &verify_ops;
    read->store = verify_of(store);
    int r = lode_relay_init(&read->relay, ranges, n, done, arg, err);
    if (r < 0) {
        lode_free(read);
        return r;
    }
    for (size_t i = 0; r == 0 && i < n; i++)
        r = plan(read, i, err);
    if (r == 0)
        r = lode_wrap_read(store, read->ranges, read->n, arrived, read, &read->inner, err);
    if (r < 0) {
        read_free(read);
        return r;
    }
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

static int verify_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct verify_read *read = (struct verify_read *)(void *)handle;
    int inner = lode_store_read_wait(read->inner, NULL);
    (void)inner; /* every failure of it came through the relay */
    int r = lode_relay_result(&read->relay, err);
    read_free(read);
    return r;
}

static void verify_read_cancel(struct lode_store_read *handle)
{
    struct verify_read *read = (struct verify_read *)(void *)handle;
    lode_store_read_cancel(read->inner);
    read_free(read);
}

static int verify_open_local(struct lode_store *self, const char *key, int *fd,
                             struct lode_err *err)
{
    return lode_store_unsupported(self, "open a local file while it checks what is read", err);
}

static void verify_close(struct lode_store *self)
{
    lode_wrap_release(&verify_of(self)->wrap);
    lode_free(self);
}

static int check_table(const struct lode_verify_table *table, struct lode_err *err)
{
    if (table->block_size == 0)
        return lode_err_set(err, LODE_INVALID, "a table of digests with blocks of 0 bytes");
    for (size_t i = 0; i < table->n; i++) {
        const struct lode_verify_entry *entry = &table->entries[i];
        if (entry->n_blocks != lode_div_up(entry->size, table->block_size))
            return lode_err_set(
                err, LODE_INVALID, "the table of digests has %zu blocks for %s, not %" PRIu64,
                entry->n_blocks, lode_q(entry->key), lode_div_up(entry->size, table->block_size));
        if (i > 0 && strcmp(table->entries[i - 1].key, entry->key) >= 0)
            return lode_err_set(err, LODE_INVALID, "the table of digests is not sorted at %s",
                                lode_q(entry->key));
    }
    return 0;
}

int lode_store_verify(struct lode_store *inner, const struct lode_verify_table *table,
                      struct lode_store **out, struct lode_err *err)
{
    int r = check_table(table, err);
    if (r < 0)
        return r;
    struct verify_store *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a store");
    self->table = table;
    r = lode_wrap_init(&self->wrap, &verify_ops, inner, err);
    if (r < 0) {
        lode_free(self);
        return r;
    }
    self->wrap.base.caps &= ~(uint32_t)LODE_STORE_OPEN_LOCAL;
    *out = (struct lode_store *)(void *)self;
    return 0;
}

static const struct lode_store_ops verify_ops = {
    .abi = LODE_STORE_ABI,
    .scheme = "verify",
    .close = verify_close,
    .stat = lode_wrap_stat,
    .read = verify_read,
    .read_wait = verify_read_wait,
    .read_cancel = verify_read_cancel,
    .write_begin = lode_wrap_write_begin,
    .unfinished = lode_wrap_unfinished,
    .discard = lode_wrap_discard,
    .open_local = verify_open_local,
    .list = lode_wrap_list,
    .remove = lode_wrap_remove,
    .rename_dir = lode_wrap_rename_dir,
    .copy = lode_wrap_copy,
    .placement = lode_wrap_placement,
    .space = lode_wrap_space,
};
