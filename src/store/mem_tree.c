/* The mem store's nodes, and the process's list of named trees: see store/mem.h. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "store/mem.h"
#include "store/util.h"

/* Named trees are found by all that open them: state of the process by its meaning, like files
 * are. */
static pthread_mutex_t trees_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mem_tree *trees;

struct mem_blob *mem_blob_new(size_t size, struct lode_err *err)
{
    struct mem_blob *blob = lode_zalloc(sizeof *blob);
    char *data = lode_alloc(size);
    if (!blob || !data) {
        lode_free(blob);
        lode_free(data);
        lode_err_nomem(err, "an object");
        return NULL;
    }
    blob->refs = 1;
    blob->size = size;
    blob->data = data;
    blob->made_ns = lode_now_ms() * 1000000;
    return blob;
}

struct mem_blob *mem_blob_ref(struct mem_blob *blob)
{
    if (blob)
        atomic_fetch_add(&blob->refs, 1);
    return blob;
}

void mem_blob_unref(struct mem_blob *blob)
{
    if (!blob || atomic_fetch_sub(&blob->refs, 1) != 1)
        return;
    lode_free(blob->data);
    lode_free(blob);
}

size_t mem_lower(const struct mem_tree *tree, const char *key)
{
    size_t low = 0, high = tree->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(tree->nodes[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct mem_node *mem_find(struct mem_tree *tree, const char *key)
{
    size_t at = mem_lower(tree, key);
    return at < tree->n && strcmp(tree->nodes[at].key, key) == 0 ? &tree->nodes[at] : NULL;
}

int mem_insert(struct mem_tree *tree, const char *key, struct mem_blob *blob, struct lode_err *err)
{
    char *own = lode_strdup(key);
    if (!own ||
        lode_grow((void **)&tree->nodes, &tree->cap, tree->n + 1, sizeof *tree->nodes) < 0) {
        lode_free(own);
        return lode_err_nomem(err, "an object's name");
    }
    size_t at = mem_lower(tree, key);
    memmove(&tree->nodes[at + 1], &tree->nodes[at], (tree->n - at) * sizeof *tree->nodes);
    tree->nodes[at] = (struct mem_node){own, mem_blob_ref(blob)};
    tree->n++;
    return 0;
}

void mem_delete(struct mem_tree *tree, struct mem_node *node)
{
    size_t at = (size_t)(node - tree->nodes);
    lode_free(node->key);
    mem_blob_unref(node->blob);
    memmove(node, node + 1, (tree->n - at - 1) * sizeof *node);
    tree->n--;
}

int mem_make_parents(struct mem_tree *tree, const char *key, struct lode_err *err)
{
    size_t n = lode_key_parent(key);
    if (n == 0)
        return 0;
    _cleanup_free_ char *dir = lode_strndup(key, n);
    if (!dir)
        return lode_err_nomem(err, "a path");
    struct mem_node *node = mem_find(tree, dir);
    if (node && node->blob)
        return lode_err_set(err, LODE_EXISTS,
                            "cannot make the directory %s: an object has that name", lode_q(dir));
    if (node)
        return 0;
    int r = mem_make_parents(tree, dir, err);
    return r < 0 ? r : mem_insert(tree, dir, NULL, err);
}

bool mem_is_empty(struct mem_tree *tree, const char *dir)
{
    for (size_t at = mem_lower(tree, dir) + 1;
         at < tree->n && strncmp(tree->nodes[at].key, dir, strlen(dir)) == 0; at++) {
        if (tree->nodes[at].key[strlen(dir)] == '/')
            return false;
    }
    return true;
}

static struct mem_tree *tree_new(const char *name)
{
    struct mem_tree *tree = lode_zalloc(sizeof *tree);
    char *own = lode_strdup(name);
    if (!tree || !own) {
        lode_free(tree);
        lode_free(own);
        return NULL;
    }
    pthread_mutex_init(&tree->lock, NULL);
    tree->name = own;
    tree->refs = 1;
    return tree;
}

struct mem_tree *mem_tree_open(const char *name)
{
    pthread_mutex_lock(&trees_lock);
    struct mem_tree *tree = *name ? trees : NULL;
    while (tree && strcmp(tree->name, name) != 0)
        tree = tree->next;
    if (tree) {
        tree->refs++;
    } else if ((tree = tree_new(name)) && *name) {
        tree->next = trees;
        trees = tree;
    }
    pthread_mutex_unlock(&trees_lock);
    return tree;
}

static void unlink_tree(struct mem_tree *tree)
{
    for (struct mem_tree **at = &trees; *at; at = &(*at)->next) {
        if (*at == tree) {
            *at = tree->next;
            return;
        }
    }
}

void mem_tree_close(struct mem_tree *tree)
{
    pthread_mutex_lock(&trees_lock);
    bool last = --tree->refs == 0;
    if (last)
        unlink_tree(tree);
    pthread_mutex_unlock(&trees_lock);
    if (!last)
        return;
    while (tree->n > 0)
        mem_delete(tree, &tree->nodes[tree->n - 1]);
    mem_unfinished_free(tree);
    pthread_mutex_destroy(&tree->lock);
    lode_free(tree->nodes);
    lode_free(tree->name);
    lode_free(tree);
}
