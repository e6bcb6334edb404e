/* The tensor index: which tensors a version has, and where their bytes lie.
 *
 * It is compact, because a legal header can name millions of tensors: 32 bytes of record a tensor,
 * all names in one pool, all dimensions in another (equal shapes that follow each other closely are
 * stored once), and an extra table only for tensors that are not one raw extent. Nothing is
 * allocated a tensor.
 *
 * A builder collects tensors in any order; finishing sorts them by name (bytewise) and makes an
 * immutable index, which any number of threads may read.
 *
 * Names are unique. Within one group of files (a file alone, or the shards of one set) a name that
 * comes twice is an error. Where two groups share a name, all tensors of both are called
 * "<label>:<name>", the label being the file's path (for shards, the path that the whole set would
 * have).
 */
#pragma once
#include <lode/format_ops.h>
#include <lode/tensor.h>
#include "base/err.h"

struct lode_tensor_index;
struct lode_index_builder;

/* ---- reading ---- */

/* Tensors in the index. */
size_t lode_index_count(const struct lode_tensor_index *self);

/* The i-th tensor in name order; i < count. The view lives as long as the index. */
struct lode_tensor lode_index_get(const struct lode_tensor_index *self, size_t i);

/* The tensor called `name`; false when there is none (`at` and `out` are left alone; both may be
 * NULL). */
bool lode_index_find(const struct lode_tensor_index *self, const char *name, size_t *at,
                     struct lode_tensor *out);

/* Extents of tensor i (1 or more; a direct tensor has one), and the k-th of them. */
size_t lode_index_extents(const struct lode_tensor_index *self, size_t i);
struct lode_extent lode_index_extent(const struct lode_tensor_index *self, size_t i, size_t k);

/* Sum of all elements: the number of parameters. */
uint64_t lode_index_parameters(const struct lode_tensor_index *self);

/* Sum of the tensors' bytes in memory. */
uint64_t lode_index_bytes(const struct lode_tensor_index *self);

/* Bytes of memory that the index itself holds. */
size_t lode_index_footprint(const struct lode_tensor_index *self);

/* Elements of a shape: the product, 1 for rank 0; false on overflow. */
bool lode_shape_elements(const uint64_t *shape, unsigned rank, uint64_t *out);

struct lode_tensor_index *lode_index_ref(struct lode_tensor_index *self);
void lode_index_unref(struct lode_tensor_index *self); /* NULL is safe */
LODE_DEFINE_CLEANUP(struct lode_tensor_index *, lode_index_unrefp, lode_index_unref)
#define _cleanup_index_ lode_cleanup(lode_index_unrefp)

/* ---- building (one thread at a time) ---- */

struct lode_index_builder *lode_index_builder_new(void); /* NULL when out of memory */
void lode_index_builder_free(struct lode_index_builder *self);
LODE_DEFINE_CLEANUP(struct lode_index_builder *, lode_index_builder_freep, lode_index_builder_free)
#define _cleanup_index_builder_ lode_cleanup(lode_index_builder_freep)

/* lode_index_add(), lode_index_add_extents(), lode_index_builder_group(): parsers outside the tree
 * use them too, so they stand in <lode/format_ops.h>. */

/* Says that `file` was taken for what it looks like, not for its name: where its tensors have names
 * that another group has, it alone takes the longer ones. */
int lode_index_builder_yield(struct lode_index_builder *self, unsigned file,
                             struct lode_err *err) lode_must_use;

/* Tensors added so far. */
size_t lode_index_builder_count(const struct lode_index_builder *self);

/* The i-th tensor added; `name` and `shape` are valid until the next is. */
struct lode_tensor lode_index_builder_get(const struct lode_index_builder *self, size_t i);

/* Forgets all tensors added since the count was `count`. */
void lode_index_builder_rewind(struct lode_index_builder *self, size_t count);

/* Sorts, finds duplicates and makes the index; the builder is empty afterwards. `paths` (n of them,
 * by file number) give messages and labels; with NULL any name that comes twice is an error.
 * INVALID on duplicates. */
int lode_index_builder_finish(struct lode_index_builder *self, const char *const *paths, size_t n,
                              struct lode_tensor_index **out, struct lode_err *err) lode_must_use;
