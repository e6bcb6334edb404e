/* The mem store: opening, looking, directories, and its table of operations. See store/mem.h for
 * the design. */
#include "store/mem.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "store/util.h"

static int not_there(const struct mem_store *self, const char *key, struct lode_err *err)
{
    return lode_err_set(err, LODE_NOT_FOUND, "%s is not in %s", lode_q(key), self->base.url);
}

static void fill_stat(const struct mem_node *node, struct lode_store_stat *out)
{
    *out = (struct lode_store_stat){.kind = LODE_STORE_DIR};
    if (node && node->blob)
        *out = (struct lode_store_stat){.kind = LODE_STORE_OBJECT,
                                        .size = node->blob->size,
                                        .inode = node->blob->inode,
                                        .mtime_ns = node->blob->made_ns,
                                        .ctime_ns = node->blob->made_ns};
}

static int mem_stat(struct lode_store *store, const char *key, struct lode_store_stat *out,
                    struct lode_err *err)
{
    struct mem_store *self = mem_of(store);
    pthread_mutex_lock(&self->tree->lock);
    const struct mem_node *node = mem_find(self->tree, key);
    bool there = node || !*key;
    if (there)
        fill_stat(node, out);
    pthread_mutex_unlock(&self->tree->lock);
    return there ? 0 : not_there(self, key, err);
}

/* ---- list ---- */

/* The name that a node has directly in `dir`, or NULL. */
static const char *child_name(const char *key, const char *dir)
{
    if (!lode_key_beneath(key, dir) || strcmp(key, dir) == 0)
        return NULL;
    const char *name = *dir ? key + strlen(dir) + 1 : key;
    return strchr(name, '/') ? NULL : name;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct lode_store_entry *)a)->name,
                  ((const struct lode_store_entry *)b)->name);
}

/* All of the directory, sorted; the keys' own order is another one ("a-b" stands before "a/b"). */
static int gather(struct mem_tree *tree, const char *dir, const char *after,
                  struct lode_store_page *page, struct lode_err *err)
{
    size_t cap = 0;
    for (size_t at = mem_lower(tree, dir);
         at < tree->n && strncmp(tree->nodes[at].key, dir, strlen(dir)) == 0; at++) {
        const char *name = child_name(tree->nodes[at].key, dir);
        if (!name || (after && strcmp(name, after) <= 0))
            continue;
        if (lode_grow((void **)&page->entries, &cap, page->n + 1, sizeof *page->entries) < 0)
            return lode_err_nomem(err, "a list");
        struct lode_store_entry *entry = &page->entries[page->n];
        entry->name = lode_strdup(name);
        if (!entry->name)
            return lode_err_nomem(err, "a list");
        fill_stat(&tree->nodes[at], &entry->stat);
        page->n++;
    }
    return 0;
}

static int cut_page(struct lode_store_page *page, size_t limit, struct lode_err *err)
{
    if (page->n > 0)
        qsort(page->entries, page->n, sizeof *page->entries, by_name);
    if (page->n <= limit)
        return 0;
    while (page->n > limit)
        lode_free(page->entries[--page->n].name);
    page->next = lode_strdup(page->entries[limit - 1].name);
    return page->next ? 0 : lode_err_nomem(err, "a list");
}

static int list_locked(struct mem_store *self, const char *dir, const char *after,
                       struct lode_store_page *page, struct lode_err *err)
{
    const struct mem_node *node = mem_find(self->tree, dir);
    if (*dir && (!node || node->blob))
        return not_there(self, dir, err);
    return gather(self->tree, dir, after, page, err);
}

static int mem_list(struct lode_store *store, const char *dir, const char *after, size_t limit,
                    struct lode_store_page *out, struct lode_err *err)
{
    struct mem_store *self = mem_of(store);
    struct lode_store_page page = {0};
    pthread_mutex_lock(&self->tree->lock);
    int r = list_locked(self, dir, after, &page, err);
    pthread_mutex_unlock(&self->tree->lock);
    if (r == 0)
        r = cut_page(&page, limit, err);
    if (r < 0)
        lode_store_page_release(&page);
    else
        *out = page;
    return r;
}

/* ---- remove, rename ---- */

static int mem_remove(struct lode_store *store, const char *key, struct lode_err *err)
{
    struct mem_store *self = mem_of(store);
    int r = lode_store_may_write(store, key, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&self->tree->lock);
    struct mem_node *node = mem_find(self->tree, key);
    if (!node)
        r = not_there(self, key, err);
    else if (!node->blob && !mem_is_empty(self->tree, key))
        r = lode_err_set(err, LODE_EXISTS, "cannot remove %s: it is not empty", lode_q(key));
    else
        mem_delete(self->tree, node);
    pthread_mutex_unlock(&self->tree->lock);
    return r;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct mem_node *)a)->key, ((const struct mem_node *)b)->key);
}

/* New keys are all made before the first node changes, so that a failure changes nothing. */
static int move_nodes(struct mem_tree *tree, const char *from, const char *to, struct lode_err *err)
{
    _cleanup_free_ char **keys = lode_calloc(tree->n, sizeof *keys);
    int r = keys ? 0 : lode_err_nomem(err, "a rename");
    for (size_t i = 0; r == 0 && i < tree->n; i++) {
        if (!lode_key_beneath(tree->nodes[i].key, from))
            continue;
        keys[i] = lode_asprintf("%s%s", to, tree->nodes[i].key + strlen(from));
        if (!keys[i])
            r = lode_err_nomem(err, "a rename");
    }
    for (size_t i = 0; keys && i < tree->n; i++) {
        if (r == 0 && keys[i]) {
            lode_free(tree->nodes[i].key);
            tree->nodes[i].key = lode_steal(keys[i]);
        }
        lode_free(keys[i]);
    }
    if (r == 0)
        qsort(tree->nodes, tree->n, sizeof *tree->nodes, by_key);
    return r;
}

static int rename_locked(struct mem_store *self, const char *from, const char *to,
                         struct lode_err *err)
{
    const struct mem_node *node = mem_find(self->tree, from);
    if (!node || node->blob)
        return not_there(self, from, err);
    if (mem_find(self->tree, to))
        return lode_err_set(err, LODE_EXISTS, "cannot rename %s: %s is already there", lode_q(from),
                            lode_q(to));
    if (lode_key_beneath(to, from))
        return lode_err_set(err, LODE_INVALID,
                            "cannot rename %s to %s: a directory cannot move into itself",
                            lode_q(from), lode_q(to));
    int r = mem_make_parents(self->tree, to, err);
    return r < 0 ? r : move_nodes(self->tree, from, to, err);
}

static int mem_rename_dir(struct lode_store *store, const char *from, const char *to,
                          struct lode_err *err)
{
    struct mem_store *self = mem_of(store);
    int r = lode_store_may_write(store, from, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&self->tree->lock);
    r = rename_locked(self, from, to, err);
    pthread_mutex_unlock(&self->tree->lock);
    return r;
}

/* ---- the rest ---- */

static int mem_open_local(struct lode_store *self, const char *key, int *fd, struct lode_err *err)
{
    return lode_store_unsupported(self, "open a local file", err);
}

static int mem_placement(struct lode_store *self, const char *key, struct lode_store_placement *out,
                         struct lode_err *err)
{
    return lode_store_unsupported(self, "say where bytes lie", err);
}

static int mem_space(struct lode_store *self, struct lode_store_space *out, struct lode_err *err)
{
    return lode_store_unsupported(self, "say how much space is left", err);
}

static void mem_close(struct lode_store *store)
{
    struct mem_store *self = mem_of(store);
    mem_scramble_free(self->scramble);
    if (self->tree)
        mem_tree_close(self->tree);
    lode_free(self->base.url);
    lode_free(self);
}

static int mem_open(const struct lode_store_config *config, struct lode_store **out,
                    struct lode_err *err)
{
    struct mem_store *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a store");
    self->base.ops = &lode_store_mem_ops;
    self->base.caps = LODE_STORE_IF_ABSENT | LODE_STORE_RENAME_DIR | LODE_STORE_LIST |
                      LODE_STORE_RESUME | (config->read_only ? LODE_STORE_READ_ONLY : 0);
    self->base.url = lode_strdup(config->url);
    self->tree = mem_tree_open(config->url + strlen("mem:"));
    const char *seed = lode_store_option(config, "scramble");
    int r = self->base.url && self->tree ? 0 : lode_err_nomem(err, "a store");
    if (r == 0 && seed)
        r = mem_scramble_new(strtoull(seed, NULL, 10), &self->scramble, err);
    if (r < 0) {
        mem_close((struct lode_store *)(void *)self);
        return r;
    }
    *out = (struct lode_store *)(void *)self;
    return 0;
}

const struct lode_store_ops lode_store_mem_ops = {
    .abi = LODE_STORE_ABI,
    .scheme = "mem",
    .open = mem_open,
    .close = mem_close,
    .stat = mem_stat,
    .read = mem_read,
    .read_wait = mem_read_wait,
    .read_cancel = mem_read_cancel,
    .write_begin = mem_write_begin,
    .write_parts = mem_write_parts,
    .write_part = mem_write_part,
    .write_complete = mem_write_complete,
    .write_abort = mem_write_abort,
    .unfinished = mem_unfinished,
    .discard = mem_discard,
    .open_local = mem_open_local,
    .list = mem_list,
    .remove = mem_remove,
    .rename_dir = mem_rename_dir,
    .copy = mem_copy,
    .placement = mem_placement,
    .space = mem_space,
};
