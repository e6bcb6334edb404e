/* Writing of the mem store: see store/mem.h. An unfinished write that nobody holds lies in the
 * tree's list. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/size.h"
#include "store/mem.h"
#include "store/util.h"

struct mem_parts {
    struct mem_parts *next;
    char *key;
    char id[24];
    int64_t started_ms;
    size_t part_size;
    struct mem_blob **parts; /* each owned; NULL where a part is not there */
    size_t n, cap;
};

struct mem_write {
    const struct lode_store_ops *ops;
    struct mem_tree *tree;
    pthread_mutex_t lock; /* guards `parts` while several threads write */
    struct mem_parts *parts;
};

static struct mem_write *write_of(struct lode_store_write *write)
{
    return (struct mem_write *)(void *)write;
}

static void parts_free(struct mem_parts *parts)
{
    for (size_t i = 0; i < parts->n; i++)
        mem_blob_unref(parts->parts[i]);
    lode_free(parts->parts);
    lode_free(parts->key);
    lode_free(parts);
}

void mem_unfinished_free(struct mem_tree *tree)
{
    while (tree->unfinished) {
        struct mem_parts *parts = tree->unfinished;
        tree->unfinished = parts->next;
        parts_free(parts);
    }
}

/* Takes an unfinished write out of the tree's list; the caller holds the lock. */
static struct mem_parts *take(struct mem_tree *tree, const char *key, const char *id)
{
    for (struct mem_parts **at = &tree->unfinished; *at; at = &(*at)->next) {
        struct mem_parts *parts = *at;
        if (strcmp(parts->id, id) == 0 && strcmp(parts->key, key) == 0) {
            *at = parts->next;
            return parts;
        }
    }
    return NULL;
}

static struct mem_parts *parts_new(struct mem_tree *tree, const char *key, size_t part_size)
{
    struct mem_parts *parts = lode_zalloc(sizeof *parts);
    char *own = lode_strdup(key);
    if (!parts || !own) {
        lode_free(parts);
        lode_free(own);
        return NULL;
    }
    parts->key = own;
    parts->part_size = part_size;
    parts->started_ms = lode_now_ms();
    snprintf(parts->id, sizeof parts->id, "%" PRIx64, ++tree->next_id);
    return parts;
}

static int begin_locked(struct mem_write *self, const char *key,
                        const struct lode_store_write_opts *opts, struct lode_err *err)
{
    if (!opts->resume) {
        self->parts = parts_new(self->tree, key, opts->part_size);
        return self->parts ? 0 : lode_err_nomem(err, "a write");
    }
    self->parts = take(self->tree, key, opts->resume);
    if (!self->parts)
        return lode_err_set(err, LODE_NOT_FOUND, "no unfinished write %s of %s",
                            lode_q(opts->resume), lode_q(key));
    if (self->parts->part_size == opts->part_size)
        return 0;
    self->parts->next = self->tree->unfinished;
    self->tree->unfinished = self->parts;
    return lode_err_set(err, LODE_INVALID, "the unfinished write %s of %s has parts of %zu bytes",
                        opts->resume, lode_q(key), self->parts->part_size);
}

int mem_write_begin(struct lode_store *store, const char *key,
                    const struct lode_store_write_opts *opts, struct lode_store_write **out,
                    struct lode_err *err)
{
    int r = lode_store_may_write(store, key, err);
    if (r < 0)
        return r;
    struct mem_write *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a write");
    self->ops = &lode_store_mem_ops;
    self->tree = mem_of(store)->tree;
    pthread_mutex_lock(&self->tree->lock);
    r = begin_locked(self, key, opts, err);
    pthread_mutex_unlock(&self->tree->lock);
    if (r < 0) {
        lode_free(self);
        return r;
    }
    pthread_mutex_init(&self->lock, NULL);
    *out = (struct lode_store_write *)(void *)self;
    return 0;
}

int mem_write_parts(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                    struct lode_err *err)
{
    struct mem_write *self = write_of(write);
    size_t count = 0;
    pthread_mutex_lock(&self->lock);
    struct lode_store_part *list = lode_calloc(self->parts->n, sizeof *list);
    for (size_t i = 0; list && i < self->parts->n; i++) {
        if (self->parts->parts[i])
            list[count++] = (struct lode_store_part){(uint32_t)i, self->parts->parts[i]->size};
    }
    pthread_mutex_unlock(&self->lock);
    if (!list)
        return lode_err_nomem(err, "a list of parts");
    *parts = list;
    *n = count;
    return 0;
}

static int put_part(struct mem_parts *parts, uint32_t number, struct mem_blob *blob,
                    struct lode_err *err)
{
    size_t want = (size_t)number + 1;
    if (lode_grow((void **)&parts->parts, &parts->cap, want, sizeof *parts->parts) < 0)
        return lode_err_nomem(err, "a list of parts");
    for (; parts->n < want; parts->n++)
        parts->parts[parts->n] = NULL;
    mem_blob_unref(parts->parts[number]);
    parts->parts[number] = blob;
    return 0;
}

int mem_write_part(struct lode_store_write *write, uint32_t number, const void *data, size_t len,
                   struct lode_err *err)
{
    struct mem_write *self = write_of(write);
    if (len > self->parts->part_size || number >= LODE_STORE_PARTS_MAX)
        return lode_err_set(
            err, LODE_INVALID,
            "part %u of %s with %zu bytes: parts have at most %zu bytes and numbers "
            "below %u",
            number, lode_q(self->parts->key), len, self->parts->part_size, LODE_STORE_PARTS_MAX);
    if (len == 0)
        return 0;
    struct mem_blob *blob = mem_blob_new(len, err);
    if (!blob)
        return LODE_NO_MEMORY;
    memcpy(blob->data, data, len);
    pthread_mutex_lock(&self->lock);
    int r = put_part(self->parts, number, blob, err);
    pthread_mutex_unlock(&self->lock);
    if (r < 0)
        mem_blob_unref(blob);
    return r;
}

/* ---- complete ---- */

static int join_parts(const struct mem_parts *parts, uint64_t size, struct mem_blob **out,
                      struct lode_err *err)
{
    uint64_t count = lode_div_up(size, parts->part_size);
    for (uint64_t i = 0; i < lode_max(count, (uint64_t)parts->n); i++) {
        uint64_t want =
            i >= count ? 0 : lode_min((uint64_t)parts->part_size, size - i * parts->part_size);
        uint64_t have = i < parts->n && parts->parts[i] ? parts->parts[i]->size : 0;
        if (have != want)
            return lode_err_set(err, LODE_INVALID,
                                "cannot complete %s with %" PRIu64 " bytes: part %" PRIu64
                                " is missing or has another length",
                                lode_q(parts->key), size, i);
    }
    struct mem_blob *blob = mem_blob_new((size_t)size, err);
    if (!blob)
        return LODE_NO_MEMORY;
    for (size_t i = 0; i < (size_t)count; i++)
        memcpy(blob->data + i * parts->part_size, parts->parts[i]->data, parts->parts[i]->size);
    *out = blob;
    return 0;
}

/* Gives the blob its name; the caller holds the lock. Takes a reference of its own. */
static int name_blob(struct mem_tree *tree, const char *key, struct mem_blob *blob, bool if_absent,
                     struct lode_err *err)
{
    struct mem_node *node = mem_find(tree, key);
    if (node && !node->blob)
        return lode_err_set(err, LODE_EXISTS, "%s is a directory", lode_q(key));
    if (node && if_absent && !LODE_PLANTED(store_mem_if_absent_ignored))
        return lode_err_set(err, LODE_EXISTS, "%s is already there", lode_q(key));
    blob->inode = ++tree->next_inode;
    if (node) {
        mem_blob_unref(node->blob);
        node->blob = mem_blob_ref(blob);
        return 0;
    }
    int r = mem_make_parents(tree, key, err);
    return r < 0 ? r : mem_insert(tree, key, blob, err);
}

static void write_free(struct mem_write *self)
{
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

int mem_write_complete(struct lode_store_write *write, uint64_t size, bool if_absent,
                       struct lode_err *err)
{
    struct mem_write *self = write_of(write);
    struct mem_blob *blob = NULL;
    int r = join_parts(self->parts, size, &blob, err);
    if (r < 0) {
        mem_write_abort(write, true);
        return r;
    }
    pthread_mutex_lock(&self->tree->lock);
    r = name_blob(self->tree, self->parts->key, blob, if_absent, err);
    pthread_mutex_unlock(&self->tree->lock);
    mem_blob_unref(blob);
    parts_free(self->parts);
    write_free(self);
    return r;
}

void mem_write_abort(struct lode_store_write *write, bool keep)
{
    struct mem_write *self = write_of(write);
    if (keep) {
        pthread_mutex_lock(&self->tree->lock);
        self->parts->next = self->tree->unfinished;
        self->tree->unfinished = self->parts;
        pthread_mutex_unlock(&self->tree->lock);
    } else {
        parts_free(self->parts);
    }
    write_free(self);
}

/* ---- unfinished ---- */

static int add_unfinished(const struct mem_parts *parts, struct lode_store_unfinished_list *list,
                          size_t *cap, struct lode_err *err)
{
    if (lode_grow((void **)&list->items, cap, list->n + 1, sizeof *list->items) < 0)
        return lode_err_nomem(err, "a list");
    struct lode_store_unfinished *item = &list->items[list->n++];
    *item = (struct lode_store_unfinished){lode_strdup(parts->key), lode_strdup(parts->id),
                                           parts->started_ms};
    return item->key && item->id ? 0 : lode_err_nomem(err, "a list");
}

int mem_unfinished(struct lode_store *store, const char *dir,
                   struct lode_store_unfinished_list *out, struct lode_err *err)
{
    struct mem_tree *tree = mem_of(store)->tree;
    struct lode_store_unfinished_list list = {0};
    size_t cap = 0;
    int r = 0;
    pthread_mutex_lock(&tree->lock);
    for (const struct mem_parts *at = tree->unfinished; r == 0 && at; at = at->next) {
        if (lode_key_beneath(at->key, dir))
            r = add_unfinished(at, &list, &cap, err);
    }
    pthread_mutex_unlock(&tree->lock);
    if (r < 0)
        lode_store_unfinished_release(&list);
    else
        *out = list;
    return r;
}

int mem_discard(struct lode_store *store, const char *key, const char *id, struct lode_err *err)
{
    struct mem_tree *tree = mem_of(store)->tree;
    int r = lode_store_may_write(store, key, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&tree->lock);
    struct mem_parts *parts = take(tree, key, id);
    pthread_mutex_unlock(&tree->lock);
    if (!parts)
        return lode_err_set(err, LODE_NOT_FOUND, "no unfinished write %s of %s", lode_q(id),
                            lode_q(key));
    parts_free(parts);
    return 0;
}

/* ---- copy: the new name gets bytes and an inode of its own ---- */

int mem_copy(struct lode_store *store, const char *from, const char *to, bool if_absent,
             struct lode_err *err)
{
    struct mem_tree *tree = mem_of(store)->tree;
    int r = lode_store_may_write(store, to, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&tree->lock);
    const struct mem_node *node = mem_find(tree, from);
    struct mem_blob *blob = NULL;
    if (!node || !node->blob)
        r = lode_err_set(err, LODE_NOT_FOUND, "%s is not there", lode_q(from));
    else if (!(blob = mem_blob_new(node->blob->size, err)))
        r = LODE_NO_MEMORY;
    if (r == 0) {
        memcpy(blob->data, node->blob->data, blob->size);
        r = name_blob(tree, to, blob, if_absent, err);
    }
    pthread_mutex_unlock(&tree->lock);
    mem_blob_unref(blob);
    return r;
}
