/* The manifest: what a version consists of. Written once beside its files as `_lode/manifest`,
 * immutable, its own SHA-256 in the version record. docs/formats/manifest.md describes the bytes: a
 * JSON head (schema, name, version, files with size, mode, SHA-256, CRC32C and format, tensor
 * index) and a binary table with the XXH3-128 of each 1 MiB block of each file. Both are read in a
 * streaming way: memory is proportional to the result, never a document tree.
 */
#pragma once
#include <stdint.h>
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "format/index.h"

#define LODE_MANIFEST_SCHEMA 1
#define LODE_MANIFEST_KEY "_lode/manifest" /* beneath the version's directory */

struct lode_manifest_file {
    char *path;    /* checked (lode_path_check) */
    uint64_t size; /* bytes */
    uint32_t mode; /* permission bits, 0644 or 0755 */
    struct lode_sha256 sha256;
    uint32_t crc32c;
    char *format;               /* "safetensors", "npy", "npz", "opaque" */
    struct lode_xxh128 *blocks; /* lode_div_up(size, block_size) of them */
    size_t n_blocks;
};

struct lode_manifest {
    char *ns, *name, *version;
    int64_t created_ms;
    uint32_t block_size; /* LODE_BLOCK_SIZE */
    struct lode_manifest_file
        *files; /* sorted by path, bytewise, no path twice, none a directory of another */
    size_t n_files;
    struct lode_tensor_index *tensors; /* file numbers are positions in `files`; NULL for none */
    unsigned refs; /* owners besides the first; only lode_manifest_ref and _free touch it */
};

/* The exact bytes, deterministic for equal content. */
int lode_manifest_write(const struct lode_manifest *m, struct lode_buf *out,
                        struct lode_err *err) lode_must_use;

/* Checks everything (schema, names, order, sums, counts, that tensors lie in their files) before it
 * answers. `what` names the version in messages. SCHEMA for a newer one, CORRUPT otherwise. */
int lode_manifest_parse(const void *bytes, size_t len, const char *what, struct lode_manifest **out,
                        struct lode_err *err) lode_must_use;

/* A file by path; NULL if there is none. */
const struct lode_manifest_file *lode_manifest_find(const struct lode_manifest *m,
                                                    const char *path);

/* Sorts the files (moving the tensor index's file numbers along) and checks the rules about paths.
 */
int lode_manifest_sort(struct lode_manifest *m, struct lode_err *err) lode_must_use;

/* Sums over the files, and the formats joined by '+' (owned text, NULL when out of memory). */
uint64_t lode_manifest_bytes(const struct lode_manifest *m);
char *lode_manifest_formats(const struct lode_manifest *m);

/* One more owner: what is shared is not changed any more. Any thread. */
struct lode_manifest *lode_manifest_ref(struct lode_manifest *m);
void lode_manifest_free(struct lode_manifest *m); /* one owner less; NULL is safe */
static inline void lode_manifest_freep(struct lode_manifest **at)
{
    lode_manifest_free(*at);
}
#define _cleanup_manifest_ __attribute__((cleanup(lode_manifest_freep)))
