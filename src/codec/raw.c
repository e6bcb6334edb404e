/* raw: bytes as they are. */
#include "codec/codecs.h"
#include <string.h>
#include "base/err.h"

static size_t raw_estimate(const void *sample, size_t sample_len, size_t raw_len)
{
    return raw_len;
}

static size_t raw_bound(size_t raw_len)
{
    return raw_len;
}

static int raw_encode(const void *raw, size_t raw_len, void *out, size_t room, size_t *stored_len,
                      struct lode_err *err)
{
    if (room < raw_len)
        return lode_err_set(err, LODE_INVALID, "%zu bytes do not fit into %zu", raw_len, room);
    if (raw_len)
        memcpy(out, raw, raw_len);
    *stored_len = raw_len;
    return 0;
}

static int raw_decode(const void *stored, size_t stored_len, void *out, size_t raw_len,
                      struct lode_err *err)
{
    if (stored_len != raw_len)
        return lode_err_set(err, LODE_CORRUPT, "%zu raw bytes are stored where %zu should be",
                            stored_len, raw_len);
    if (raw_len)
        memcpy(out, stored, raw_len);
    return 0;
}

const struct lode_codec_ops lode_codec_raw = {
    .abi = LODE_CODEC_ABI,
    .name = "raw",
    .estimate = raw_estimate,
    .bound = raw_bound,
    .encode = raw_encode,
    .decode = raw_decode,
};
