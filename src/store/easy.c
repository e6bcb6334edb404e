/* Conveniences over the wrappers that several verbs need: see store/store.h. */
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "store/store.h"
#include "store/util.h"

/* What one page of a walk or a removal holds; bounds its memory. */
#define WALK_PAGE 1024

static void nothing(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                    const struct lode_err *err)
{
}

int lode_store_pread(struct lode_store *self, const char *key, void *into, size_t len,
                     uint64_t offset, struct lode_err *err)
{
    struct lode_store_range range = {.key = key, .offset = offset, .len = len, .into = into};
    struct lode_store_read *read;
    int r = lode_store_read(self, &range, 1, nothing, NULL, &read, err);
    return r < 0 ? r : lode_store_read_wait(read, err);
}

int lode_store_get(struct lode_store *self, const char *key, struct lode_buf *out,
                   struct lode_err *err)
{
    struct lode_store_stat st;
    int r = lode_store_stat(self, key, &st, err);
    if (r < 0)
        return r;
    if (st.kind != LODE_STORE_OBJECT)
        return lode_err_set(err, LODE_NOT_FOUND, "%s is a directory of %s, not an object",
                            lode_q(key), lode_store_url(self));
    if (st.size > out->max - lode_min(out->len, out->max))
        return lode_err_set(err, LODE_LIMIT, "%s in %s has %llu bytes; at most %zu are read",
                            lode_q(key), lode_store_url(self), (unsigned long long)st.size,
                            out->max);
    if (st.size == 0)
        return 0;
    void *room = lode_buf_reserve(out, (size_t)st.size);
    if (!room)
        return lode_buf_check(out, key, err);
    r = lode_store_pread(self, key, room, (size_t)st.size, 0, err);
    if (r < 0)
        return r;
    out->len += (size_t)st.size;
    out->data[out->len] = 0;
    return 0;
}

int lode_store_put(struct lode_store *self, const char *key, const void *data, size_t len,
                   bool if_absent, struct lode_err *err)
{
    struct lode_store_write_opts opts = {.size = len, .part_size = lode_max(len, (size_t)1)};
    struct lode_store_write *write;
    int r = lode_store_write_begin(self, key, &opts, &write, err);
    if (r < 0)
        return r;
    if (len > 0)
        r = lode_store_write_part(write, 0, data, len, err);
    if (r < 0) {
        lode_store_write_abort(write, false);
        return r;
    }
    return lode_store_write_complete(write, len, if_absent, err);
}

/* One page of a directory at a time; a directory is entered where it stands in the order. */
static int walk_page(struct lode_store *self, const char *dir, const struct lode_store_page *page,
                     lode_store_walk_fn *fn, void *arg, struct lode_err *err)
{
    for (size_t i = 0; i < page->n; i++) {
        const struct lode_store_entry *entry = &page->entries[i];
        _cleanup_free_ char *key = lode_key_join(dir, entry->name);
        if (!key)
            return lode_err_nomem(err, "a walk");
        int r = entry->stat.kind == LODE_STORE_DIR ? lode_store_walk(self, key, fn, arg, err)
                                                   : fn(arg, key, &entry->stat, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int lode_store_walk(struct lode_store *self, const char *dir, lode_store_walk_fn *fn, void *arg,
                    struct lode_err *err)
{
    _cleanup_free_ char *after = NULL;
    for (;;) {
        struct lode_store_page page = {0};
        int r = lode_store_list(self, dir, after, WALK_PAGE, &page, err);
        if (r < 0)
            return r;
        lode_free(after);
        after = lode_steal(page.next);
        r = walk_page(self, dir, &page, fn, arg, err);
        lode_store_page_release(&page);
        if (r < 0 || !after)
            return r;
    }
}

static int discard_all(struct lode_store *self, const char *dir, struct lode_err *err)
{
    if (!(lode_store_caps(self) & LODE_STORE_RESUME))
        return 0;
    struct lode_store_unfinished_list list = {0};
    int r = lode_store_unfinished(self, dir, &list, err);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        r = lode_store_discard(self, list.items[i].key, list.items[i].id, err);
        if (r == LODE_NOT_FOUND)
            r = 0;
    }
    lode_store_unfinished_release(&list);
    return r;
}

static int remove_level(struct lode_store *self, const char *dir, uint64_t *freed,
                        struct lode_err *err);

static int remove_entry(struct lode_store *self, const char *dir,
                        const struct lode_store_entry *entry, uint64_t *freed, struct lode_err *err)
{
    _cleanup_free_ char *key = lode_key_join(dir, entry->name);
    if (!key)
        return lode_err_nomem(err, "a removal");
    if (entry->stat.kind == LODE_STORE_DIR)
        return remove_level(self, key, freed, err);
    int r = lode_store_remove(self, key, err);
    if (r == 0)
        *freed += entry->stat.size;
    return r == LODE_NOT_FOUND ? 0 : r;
}

/* Each page starts anew: what the page before named is gone. */
static int remove_level(struct lode_store *self, const char *dir, uint64_t *freed,
                        struct lode_err *err)
{
    for (bool more = true; more;) {
        struct lode_store_page page = {0};
        int r = lode_store_list(self, dir, NULL, WALK_PAGE, &page, err);
        for (size_t i = 0; r == 0 && i < page.n; i++)
            r = remove_entry(self, dir, &page.entries[i], freed, err);
        more = page.next && page.n > 0;
        lode_store_page_release(&page);
        if (r < 0)
            return r == LODE_NOT_FOUND ? 0 : r;
    }
    int r = *dir ? lode_store_remove(self, dir, err) : 0;
    return r == LODE_NOT_FOUND ? 0 : r;
}

int lode_store_remove_tree(struct lode_store *self, const char *dir, uint64_t *freed,
                           struct lode_err *err)
{
    uint64_t bytes = 0;
    int r = discard_all(self, dir, err);
    if (r == 0)
        r = remove_level(self, dir, &bytes, err);
    if (r == 0)
        lode_err_clear(err);
    if (freed)
        *freed = bytes;
    return r;
}
