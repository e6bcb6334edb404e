/* What the parts of the safetensors parser share; nobody else includes it.
 *
 *     safetensors.c         which file comes next, the length in front, the bytes to ask for
 *     safetensors_header.c  one file's header, token by token, into the index
 *     safetensors_shards.c  a *.safetensors.index.json against the shards that it names
 */
#pragma once
#include <lode/format_ops.h>
#include "base/buf.h"
#include "base/jsontok.h"
#include "base/limits.h"
#include "format/index.h"

/* ---- a header ---- */

struct st_header {
    const struct lode_format_file *file;
    struct lode_index_builder *into;
    uint64_t data;  /* byte of the file where tensor data begin */
    size_t first;   /* tensors in `into` before this file's */
    int state;      /* where in the document the next token stands */
    bool metadata;  /* seen */
    unsigned field; /* the entry's field being read */
    unsigned seen;  /* the entry's fields that came, as bits */
    struct lode_buf name;
    int dtype;
    unsigned rank;
    uint64_t shape[LODE_TENSOR_RANK_MAX];
    unsigned n_offsets;
    uint64_t offsets[2];
};

void st_header_init(struct st_header *h, const struct lode_format_file *file,
                    struct lode_index_builder *into, uint64_t data);
void st_header_release(struct st_header *h);

/* Takes the next token of the header. INVALID, LIMIT, NO_MEMORY; `what` of `json` names the file.
 */
int st_header_token(struct st_header *h, const struct lode_jsontok *json,
                    const struct lode_json_tok *tok, struct lode_err *err);

/* True where the text of the next token is not wanted, so that it may be of any length. */
bool st_header_discards(const struct st_header *h);

/* After the last token: that the tensors fill the file without holes or overlaps. */
int st_header_check(const struct st_header *h, struct lode_err *err);

/* ---- an index of shards ---- */

struct st_shards {
    const struct lode_format_file *index; /* the *.index.json */
    const struct lode_format_file *files; /* all of the parser's */
    size_t n;
    struct lode_index_builder *into;
    uint32_t *by_path; /* file positions, in the order of paths */
    uint32_t *by_name; /* tensors of `into`, in the order of (name, file) */
    size_t n_tensors;
    uint8_t *mapped; /* by tensor: the weight map names it */
    uint8_t *used;   /* by file: the weight map names it */
    int state;
    bool map_seen;
    size_t last_file; /* the file found last: maps come in runs */
    struct lode_buf name;
};

/* All tensors of all files must be in `into` already. NO_MEMORY. */
int st_shards_init(struct st_shards *s, const struct lode_format_file *index,
                   const struct lode_format_file *files, size_t n, struct lode_index_builder *into,
                   struct lode_err *err);
void st_shards_release(struct st_shards *s);
int st_shards_token(struct st_shards *s, const struct lode_jsontok *json,
                    const struct lode_json_tok *tok, struct lode_err *err);

/* As st_header_discards(). */
bool st_shards_discards(const struct st_shards *s);

/* After the last token: that the files named hold no tensor that the map does not name; groups
 * them. */
int st_shards_check(struct st_shards *s, struct lode_err *err);
