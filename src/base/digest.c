/* Digests: see base/digest.h. */
#include "base/digest.h"
#include <isa-l/crc.h>
#include <openssl/evp.h>
#include <string.h>
#include <xxhash.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/size.h"

struct lode_sha256_ctx {
    EVP_MD_CTX *evp;
};

int lode_sha256_new(struct lode_sha256_ctx **out, struct lode_err *err)
{
    struct lode_sha256_ctx *c = lode_zalloc(sizeof *c);
    if (!c)
        return lode_err_nomem(err, "a SHA-256");
    c->evp = EVP_MD_CTX_new();
    if (!c->evp || EVP_DigestInit_ex(c->evp, EVP_sha256(), NULL) != 1) {
        lode_sha256_free(c);
        return lode_err_set(err, LODE_NO_MEMORY, "cannot start a SHA-256");
    }
    *out = c;
    return 0;
}

int lode_sha256_update(struct lode_sha256_ctx *c, const void *p, size_t n, struct lode_err *err)
{
    if (EVP_DigestUpdate(c->evp, p, n) != 1)
        return lode_err_set(err, LODE_INTERNAL, "SHA-256 refused %zu bytes", n);
    return 0;
}

int lode_sha256_final(struct lode_sha256_ctx *c, struct lode_sha256 *out, struct lode_err *err)
{
    if (EVP_DigestFinal_ex(c->evp, out->b, NULL) != 1)
        return lode_err_set(err, LODE_INTERNAL, "SHA-256 did not finish");
    return 0;
}

void lode_sha256_free(struct lode_sha256_ctx *c)
{
    if (!c)
        return;
    EVP_MD_CTX_free(c->evp);
    lode_free(c);
}

int lode_sha256_of(const void *p, size_t n, struct lode_sha256 *out, struct lode_err *err)
{
    if (EVP_Digest(p, n, out->b, NULL, EVP_sha256(), NULL) != 1)
        return lode_err_set(err, LODE_NO_MEMORY, "cannot compute a SHA-256");
    return 0;
}

static struct lode_xxh128 canonical(XXH128_hash_t h)
{
    struct lode_xxh128 out;
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, h);
    memcpy(out.b, c.digest, sizeof out.b);
    return out;
}

struct lode_xxh128 lode_xxh128_of(const void *p, size_t n)
{
    return canonical(XXH3_128bits(p, n));
}

uint32_t lode_crc32c(uint32_t crc, const void *p, size_t n)
{
    /* ISA-L takes an int length and leaves the inversions of RFC 3720 to the caller. */
    const unsigned char *at = p;
    crc = ~crc;
    while (n) {
        int step = (int)lode_min(n, (size_t)1 << 30);
        crc = crc32_iscsi((unsigned char *)(uintptr_t)at, step, crc);
        at += step;
        n -= (size_t)step;
    }
    return ~crc;
}

char *lode_hex(const void *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = 0;
    return out;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool lode_unhex(const char *s, size_t len, void *out, size_t n)
{
    if (len != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = nibble(s[2 * i]), low = nibble(s[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ((uint8_t *)out)[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool lode_sha256_parse(const char *s, struct lode_sha256 *out)
{
    return lode_unhex(s, strlen(s), out->b, sizeof out->b);
}

char *lode_sha256_text(const struct lode_sha256 *d, char out[LODE_SHA256_HEX])
{
    return lode_hex(d->b, sizeof d->b, out);
}

bool lode_digest_equal(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t diff = 0;
    for (size_t i = 0; i < n; i++)
        diff |= x[i] ^ y[i];
    return diff == 0;
}

/* One pass, three digests. The XXH3 state restarts at each block's end. */
struct lode_hasher {
    struct lode_sha256_ctx *sha;
    XXH3_state_t *xxh;
    uint32_t crc;
    uint64_t size;
    struct lode_xxh128 *blocks;
    size_t n_blocks, cap_blocks;
};

int lode_hasher_new(struct lode_hasher **out, struct lode_err *err)
{
    struct lode_hasher *h = lode_zalloc(sizeof *h);
    if (!h)
        return lode_err_nomem(err, "a hasher");
    int r = lode_sha256_new(&h->sha, err);
    if (r == 0 && !(h->xxh = XXH3_createState()))
        r = lode_err_nomem(err, "a hasher");
    if (r < 0) {
        lode_hasher_free(h);
        return r;
    }
    XXH3_128bits_reset(h->xxh);
    *out = h;
    return 0;
}

static int push_block(struct lode_hasher *h, struct lode_xxh128 digest, struct lode_err *err)
{
    if (lode_grow((void **)&h->blocks, &h->cap_blocks, h->n_blocks + 1, sizeof *h->blocks) < 0)
        return lode_err_nomem(err, "block digests");
    h->blocks[h->n_blocks++] = digest;
    return 0;
}

static int update_blocks(struct lode_hasher *h, const uint8_t *p, size_t n, struct lode_err *err)
{
    while (n) {
        size_t filled = (size_t)(h->size % LODE_BLOCK_SIZE);
        size_t step = lode_min(n, LODE_BLOCK_SIZE - filled);
        int r = 0;
        if (step == LODE_BLOCK_SIZE) {
            r = push_block(h, lode_xxh128_of(p, step), err);
        } else {
            XXH3_128bits_update(h->xxh, p, step);
            if (filled + step == LODE_BLOCK_SIZE) {
                r = push_block(h, canonical(XXH3_128bits_digest(h->xxh)), err);
                XXH3_128bits_reset(h->xxh);
            }
        }
        if (r < 0)
            return r;
        h->size += step;
        p += step;
        n -= step;
    }
    return 0;
}

int lode_hasher_update(struct lode_hasher *h, const void *p, size_t n, struct lode_err *err)
{
    int r = update_blocks(h, p, n, err);
    if (r < 0)
        return r;
    h->crc = lode_crc32c(h->crc, p, n);
    return lode_sha256_update(h->sha, p, n, err);
}

int lode_hasher_final(struct lode_hasher *h, struct lode_file_digest *out, struct lode_err *err)
{
    struct lode_sha256 sha;
    int r = 0;
    if (h->size % LODE_BLOCK_SIZE)
        r = push_block(h, canonical(XXH3_128bits_digest(h->xxh)), err);
    if (r == 0)
        r = lode_sha256_final(h->sha, &sha, err);
    if (r < 0)
        return r;
    *out = (struct lode_file_digest){.sha256 = sha,
                                     .crc32c = h->crc,
                                     .size = h->size,
                                     .blocks = lode_steal(h->blocks),
                                     .n_blocks = h->n_blocks};
    h->n_blocks = h->cap_blocks = 0;
    return 0;
}

void lode_hasher_free(struct lode_hasher *h)
{
    if (!h)
        return;
    lode_sha256_free(h->sha);
    XXH3_freeState(h->xxh);
    lode_free(h->blocks);
    lode_free(h);
}

void lode_file_digest_release(struct lode_file_digest *d)
{
    lode_free(d->blocks);
    *d = (struct lode_file_digest){0};
}
