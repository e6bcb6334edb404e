/* A store in memory; shared by the mem_*.c files, private to them.
 *
 * For tests, and as the second back end that proves the interface. `mem:name` is shared by all
 * that open it in this process and lives while one of them has it open; `mem:` alone is private.
 * With the option "scramble"="seed" reads are split, shuffled, delayed and delivered by several
 * threads, in ways the contract allows and slow networks do.
 *
 * Invariants
 *  1. `tree->lock` guards the nodes; it is never held while a callback runs.
 *  2. A blob's bytes never change while they can be read: writers fill a private one.
 */
#pragma once
#include <lode/store_ops.h>
#include <pthread.h>
#include <stdatomic.h>
#include "base/err.h"

struct mem_blob {
    _Atomic unsigned refs;
    size_t size;
    uint64_t inode; /* of its own, so that a replaced object shows */
    int64_t made_ns;
    char *data;
};

struct mem_node {
    char *key;             /* owned */
    struct mem_blob *blob; /* NULL for a directory */
};

struct mem_parts; /* an unfinished write that nobody holds */

struct mem_tree {
    struct mem_tree *next; /* in the process's list, if it has a name */
    char *name;
    unsigned refs; /* guarded by the list's lock */
    pthread_mutex_t lock;
    struct mem_node *nodes; /* sorted by key, bytewise */
    size_t n, cap;
    struct mem_parts *unfinished;
    uint64_t next_inode;
    uint64_t next_id;
};

struct mem_scramble; /* the threads that deliver scrambled reads */

struct mem_store {
    struct lode_store_base base;
    struct mem_tree *tree;
    struct mem_scramble *scramble; /* NULL: reads are done before read() returns */
};

extern const struct lode_store_ops lode_store_mem_ops;

static inline struct mem_store *mem_of(struct lode_store *self)
{
    return (struct mem_store *)(void *)self;
}

struct mem_blob *mem_blob_new(size_t size, struct lode_err *err);
struct mem_blob *mem_blob_ref(struct mem_blob *blob);
void mem_blob_unref(struct mem_blob *blob);

/* ---- mem_tree.c; the caller holds tree->lock ---- */

struct mem_node *mem_find(struct mem_tree *tree, const char *key);
/* index of the first node with a key >= key */
size_t mem_lower(const struct mem_tree *tree, const char *key);
/* takes a ref */
int mem_insert(struct mem_tree *tree, const char *key, struct mem_blob *blob, struct lode_err *err);
int mem_make_parents(struct mem_tree *tree, const char *key, struct lode_err *err);
void mem_delete(struct mem_tree *tree, struct mem_node *node);
bool mem_is_empty(struct mem_tree *tree, const char *dir);

/* takes no lock of the caller's */
struct mem_tree *mem_tree_open(const char *name);
void mem_tree_close(struct mem_tree *tree);

/* ---- the other files' operations ---- */

int mem_scramble_new(uint64_t seed, struct mem_scramble **out, struct lode_err *err);
void mem_scramble_free(struct mem_scramble *self);
int mem_read(struct lode_store *self, const struct lode_store_range *ranges, size_t n,
             lode_store_read_done *done, void *arg, struct lode_store_read **out,
             struct lode_err *err);
int mem_read_wait(struct lode_store_read *read, struct lode_err *err);
void mem_read_cancel(struct lode_store_read *read);
int mem_write_begin(struct lode_store *self, const char *key,
                    const struct lode_store_write_opts *opts, struct lode_store_write **out,
                    struct lode_err *err);
int mem_write_parts(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                    struct lode_err *err);
int mem_write_part(struct lode_store_write *write, uint32_t number, const void *data, size_t len,
                   struct lode_err *err);
int mem_write_complete(struct lode_store_write *write, uint64_t size, bool if_absent,
                       struct lode_err *err);
void mem_write_abort(struct lode_store_write *write, bool keep);
int mem_unfinished(struct lode_store *self, const char *dir, struct lode_store_unfinished_list *out,
                   struct lode_err *err);
int mem_discard(struct lode_store *self, const char *key, const char *id, struct lode_err *err);
int mem_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
             struct lode_err *err);
void mem_unfinished_free(struct mem_tree *tree);
