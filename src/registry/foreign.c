/* What a store holds and no record names: see registry/foreign.h.
 *
 * Every directory that a record names (of versions in any state, and of garbage) is known, and so
 * is what lies above it. The rest of the tree is walked from the base; what is met and is neither
 * known nor above something known is foreign, and is not entered. Staging is skipped: attempts in
 * it come and go while this looks.
 */
#include "registry/foreign.h"
#include <stdlib.h>
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "catalog/gc_ops.h"
#include "model/record.h"

struct known {
    char **dirs; /* sorted, bytewise */
    size_t n, cap;
};

static void known_release(struct known *k)
{
    for (size_t i = 0; i < k->n; i++)
        lode_free(k->dirs[i]);
    lode_free(k->dirs);
}

static int known_add(struct known *k, const char *dir, struct lode_err *err)
{
    char *copy = lode_strdup(dir ? dir : "");
    if (!copy || lode_grow((void **)&k->dirs, &k->cap, k->n + 1, sizeof *k->dirs) < 0) {
        lode_free(copy);
        return lode_err_nomem(err, "a list of directories");
    }
    k->dirs[k->n++] = copy;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_versions(struct lode *lode, struct known *k, struct lode_err *err)
{
    _cleanup_free_ char *next = NULL;
    for (;;) {
        _cleanup_versions_ struct lode_versions page = {0};
        struct lode_query query = {.limit = LODE_PAGE_MAX, .page = next, .deleted = true};
        int r = lode_handle_ops(lode)->versions(lode->catalog, &query, &page, err);
        for (size_t i = 0; r == 0 && i < page.n; i++)
            r = known_add(k, page.items[i].directory, err);
        if (r < 0 || !page.next)
            return r;
        lode_free(next);
        if (!(next = lode_strdup(page.next)))
            return lode_err_nomem(err, "a page");
    }
}

static int add_garbage(struct lode *lode, struct known *k, struct lode_err *err)
{
    struct lode_garbage_list list = {0};
    int r = lode_catalog_garbage(lode->catalog, 0, &list, err);
    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = known_add(k, list.items[i].directory, err);
    lode_garbage_list_release(&list);
    return r;
}

enum place { FOREIGN, KNOWN, ABOVE };

/* The first directory not below `key` in order is the only one that can be `key` or lie beneath it.
 */
static enum place place_of(const struct known *k, const char *key)
{
    size_t low = 0, high = k->n, len = strlen(key);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(k->dirs[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < k->n && strcmp(k->dirs[low], key) == 0)
        return KNOWN;
    for (size_t i = low; i < k->n && strncmp(k->dirs[i], key, len) == 0; i++) {
        if (k->dirs[i][len] == '/')
            return ABOVE;
    }
    return FOREIGN;
}

static int add_foreign(json_t *into, const char *key, uint64_t bytes, struct lode_err *err)
{
    json_t *item = json_pack("{s:s, s:I}", "key", key, "bytes", (json_int_t)bytes);
    return item && json_array_append_new(into, item) == 0 ? 0 : lode_err_nomem(err, "a report");
}

static int look_in(struct lode *lode, const struct known *k, const char *dir, json_t *into,
                   struct lode_err *err);

static int look_at(struct lode *lode, const struct known *k, const char *dir,
                   const struct lode_store_entry *entry, json_t *into, struct lode_err *err)
{
    _cleanup_free_ char *key = lode_asprintf("%s%s%s", dir, *dir ? "/" : "", entry->name);
    if (!key)
        return lode_err_nomem(err, "a key");
    if (!*dir && (strcmp(key, "_lode") == 0 || strcmp(key, "_staging") == 0))
        return 0;
    enum place place = place_of(k, key);
    if (place == ABOVE && entry->stat.kind == LODE_STORE_DIR)
        return look_in(lode, k, key, into, err);
    return place == FOREIGN ? add_foreign(into, key, entry->stat.size, err) : 0;
}

static int look_in(struct lode *lode, const struct known *k, const char *dir, json_t *into,
                   struct lode_err *err)
{
    _cleanup_free_ char *after = NULL;
    for (;;) {
        struct lode_store_page page = {0};
        int r = lode_store_list(lode->store, dir, after, LODE_PAGE_MAX, &page, err);
        for (size_t i = 0; r == 0 && i < page.n && json_array_size(into) < FOREIGN_MAX; i++)
            r = look_at(lode, k, dir, &page.entries[i], into, err);
        lode_free(after);
        after = lode_steal(page.next);
        lode_store_page_release(&page);
        if (r < 0 || !after || json_array_size(into) >= FOREIGN_MAX)
            return r;
    }
}

int lode_foreign_find(struct lode *lode, json_t *into, struct lode_err *err)
{
    struct known k = {0};
    if (!(lode_store_caps(lode->store) & LODE_STORE_LIST))
        return 0;
    int r = add_versions(lode, &k, err);
    if (r == 0)
        r = add_garbage(lode, &k, err);
    if (r == 0 && k.n)
        qsort(k.dirs, k.n, sizeof *k.dirs, by_name);
    if (r == 0)
        r = look_in(lode, &k, "", into, err);
    if (r == LODE_NOT_FOUND)
        r = 0; /* a directory that went away meanwhile */
    known_release(&k);
    return r;
}
