/* Bytes checked block by block against the digests of a manifest. */
#pragma once
#include "model/manifest.h"
#include "store/store.h"

/* The bytes [offset, offset + len) of a file, `data`, against the XXH3-128 of its blocks. offset
 * lies on a block's start, the end on a block's or on the file's. CORRUPT names file, block and
 * bytes; `where` says from where they came (a store's URL, a directory). Thread-safe. */
int lode_blocks_check(const struct lode_manifest_file *file, uint32_t block_size, uint64_t offset,
                      const void *data, size_t len, const char *where,
                      struct lode_err *err) lode_must_use;

/* Which block is the first that does not match, or SIZE_MAX. Arguments as above. */
size_t lode_blocks_first_bad(const struct lode_manifest_file *file, uint32_t block_size,
                             uint64_t offset, const void *data, size_t len);

/* Reads and checks such bytes of the object `key`. */
int lode_blocks_read(struct lode_store *store, const char *key,
                     const struct lode_manifest_file *file, uint32_t block_size, uint64_t offset,
                     void *into, size_t len, struct lode_err *err) lode_must_use;
