/* The tensor index as JSON, as it stands in a manifest: an array in name order of
 *
 *     {"name":"w","dtype":"F32","shape":[2,3],"file":0,"offset":8,"len":24}
 *
 * plus "fortran_order":true where it is, and for what is not one raw extent
 *     "extents":[{"codec":"deflate","file":0,"offset":40,"stored_len":99,"raw_len":152,"raw_skip":128}]
 * (then "file" and "offset" are left out).
 */
#pragma once
#include "base/buf.h"
#include "base/jsontok.h"
#include "format/index.h"

/* Appends tensor i as an object, without a comma. */
void lode_index_json_tensor(const struct lode_tensor_index *self, size_t i, struct lode_buf *out);

/* Appends the whole array. Errors are the buffer's sticky ones. */
void lode_index_write_json(const struct lode_tensor_index *self, struct lode_buf *out);

/* Reads the array whose opening mark `tok` is the last token of `t` (whole document fed and ended).
 * Everything is checked again: types, sizes, names in order and unique, `file` below n_files,
 * extents within file_sizes[file] (NULL: unchecked). INVALID, LIMIT. */
int lode_index_read_json(struct lode_jsontok *t, const struct lode_json_tok *tok,
                         const uint64_t *file_sizes, size_t n_files, struct lode_tensor_index **out,
                         struct lode_err *err) lode_must_use;
