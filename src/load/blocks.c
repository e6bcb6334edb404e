/* Checking blocks: see load/blocks.h. */
#include "load/blocks.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "base/name.h"
#include "base/plant.h"

size_t lode_blocks_first_bad(const struct lode_manifest_file *file, uint32_t block_size,
                             uint64_t offset, const void *data, size_t len)
{
    const uint8_t *at = data;
    assert(offset % block_size == 0);
    for (size_t block = (size_t)(offset / block_size); len > 0; block++) {
        size_t n = lode_min(len, (size_t)block_size);
        struct lode_xxh128 digest = lode_xxh128_of(at, n);
        assert(block < file->n_blocks);
        if (memcmp(&digest, &file->blocks[block], sizeof digest) != 0)
            return block;
        at += n;
        len -= n;
    }
    return SIZE_MAX;
}

int lode_blocks_check(const struct lode_manifest_file *file, uint32_t block_size, uint64_t offset,
                      const void *data, size_t len, const char *where, struct lode_err *err)
{
    size_t bad = lode_blocks_first_bad(file, block_size, offset, data, len);
    if (bad == SIZE_MAX || LODE_PLANTED(read_unchecked))
        return 0;
    uint64_t from = (uint64_t)bad * block_size;
    return lode_err_set(
        err, LODE_CORRUPT,
        "block %zu of %s (bytes %" PRIu64 " to %" PRIu64 ") in %s does not match its digest", bad,
        lode_q(file->path), from, lode_min(from + block_size, file->size), where);
}

int lode_blocks_read(struct lode_store *store, const char *key,
                     const struct lode_manifest_file *file, uint32_t block_size, uint64_t offset,
                     void *into, size_t len, struct lode_err *err)
{
    int r = len ? lode_store_pread(store, key, into, len, offset, err) : 0;
    return r < 0
               ? r
               : lode_blocks_check(file, block_size, offset, into, len, lode_store_url(store), err);
}
