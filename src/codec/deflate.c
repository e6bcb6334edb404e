/* deflate: raw deflate streams (RFC 1951) as zip members hold them. It only reads: what Lode
 * compresses itself uses better codecs. */
#include "codec/codecs.h"
#include <limits.h>
#include <zlib.h>
#include "base/err.h"
#include "base/attr.h"
#include "base/mem.h"

static size_t deflate_estimate(const void *sample, size_t sample_len, size_t raw_len)
{
    return raw_len;
}

static size_t deflate_bound(size_t raw_len)
{
    return raw_len;
}

static int deflate_encode(const void *raw, size_t raw_len, void *out, size_t room,
                          size_t *stored_len, struct lode_err *err)
{
    return lode_err_set(err, LODE_UNSUPPORTED, "the codec deflate only reads");
}

static void *z_alloc(void *opaque, unsigned n, unsigned size)
{
    return lode_calloc(n, size);
}

static void z_free(void *opaque, void *p)
{
    lode_free(p);
}

/* zlib counts in unsigned: both sides go in turns of at most UINT_MAX. Returns zlib's last answer.
 */
static int unpack(z_stream *z, size_t stored_len, size_t raw_len)
{
    size_t in = stored_len, out = raw_len;
    int r;
    do {
        unsigned in_turn = (unsigned)lode_min(in, (size_t)UINT_MAX),
                 out_turn = (unsigned)lode_min(out, (size_t)UINT_MAX);
        z->avail_in = in_turn;
        z->avail_out = out_turn;
        r = inflate(z, Z_NO_FLUSH);
        in -= in_turn - z->avail_in;
        out -= out_turn - z->avail_out;
    } while (r == Z_OK && (in || out));
    return r == Z_STREAM_END && (in || out) ? Z_DATA_ERROR : r;
}

static int deflate_decode(const void *stored, size_t stored_len, void *out, size_t raw_len,
                          struct lode_err *err)
{
    unsigned char nothing;
    z_stream z = {.zalloc = z_alloc,
                  .zfree = z_free,
                  .next_in = (Bytef *)(uintptr_t)stored,
                  .next_out = raw_len ? out : &nothing};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return lode_err_nomem(err, "unpacking");
    int r = unpack(&z, stored_len, raw_len);
    const char *why = z.msg ? z.msg : "it makes more or fewer bytes than it should";
    inflateEnd(&z);
    if (r == Z_MEM_ERROR)
        return lode_err_nomem(err, "unpacking");
    if (r != Z_STREAM_END)
        return lode_err_set(err, LODE_CORRUPT,
                            "a deflated extent of %zu bytes cannot be unpacked: %s", stored_len,
                            why);
    return 0;
}

const struct lode_codec_ops lode_codec_deflate = {
    .abi = LODE_CODEC_ABI,
    .name = "deflate",
    .estimate = deflate_estimate,
    .bound = deflate_bound,
    .encode = deflate_encode,
    .decode = deflate_decode,
};
