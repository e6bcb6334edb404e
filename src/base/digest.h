/* Digests, all made in one pass over the bytes.
 *
 * SHA-256 (FIPS 180-4, OpenSSL) is identity; XXH3-128 (xxHash 0.8, canonical big-endian form) is
 * the check of every load, per 1 MiB block; CRC32C (RFC 3720, ISA-L) compares with what HDFS and S3
 * compute themselves.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define LODE_SHA256_LEN 32
#define LODE_SHA256_HEX 65 /* with its end mark */
#define LODE_XXH128_LEN 16

struct lode_sha256 {
    uint8_t b[LODE_SHA256_LEN];
};
struct lode_xxh128 {
    uint8_t b[LODE_XXH128_LEN]; /* canonical */
};

int lode_sha256_of(const void *p, size_t n, struct lode_sha256 *out,
                   struct lode_err *err) lode_must_use;
struct lode_xxh128 lode_xxh128_of(const void *p, size_t n);
uint32_t lode_crc32c(uint32_t crc, const void *p, size_t n); /* start with 0; chainable */

char *lode_hex(const void *p, size_t n, char *out); /* 2n + 1 bytes of room; returns out */
bool lode_unhex(const char *s, size_t len, void *out,
                size_t n); /* len must be 2n, lower or upper case */
bool lode_sha256_parse(const char *s, struct lode_sha256 *out); /* exactly 64 hex digits */
char *lode_sha256_text(const struct lode_sha256 *d, char out[LODE_SHA256_HEX]);
bool lode_digest_equal(const void *a, const void *b, size_t n); /* constant time */

/* Streaming SHA-256 alone. */
struct lode_sha256_ctx;
int lode_sha256_new(struct lode_sha256_ctx **out, struct lode_err *err) lode_must_use;
int lode_sha256_update(struct lode_sha256_ctx *c, const void *p, size_t n,
                       struct lode_err *err) lode_must_use;
int lode_sha256_final(struct lode_sha256_ctx *c, struct lode_sha256 *out,
                      struct lode_err *err) lode_must_use;
void lode_sha256_free(struct lode_sha256_ctx *c);

/* All digests of one file in one pass: bytes come in order, in any pieces. */
struct lode_file_digest {
    struct lode_sha256 sha256;
    uint32_t crc32c;
    uint64_t size; /* bytes seen */
    struct lode_xxh128
        *blocks;     /* owned; XXH3-128 of each LODE_BLOCK_SIZE block, the last may be shorter */
    size_t n_blocks; /* ceil(size / LODE_BLOCK_SIZE); 0 for an empty file */
};
struct lode_hasher;
int lode_hasher_new(struct lode_hasher **out, struct lode_err *err) lode_must_use;
int lode_hasher_update(struct lode_hasher *h, const void *p, size_t n,
                       struct lode_err *err) lode_must_use;
int lode_hasher_final(struct lode_hasher *h, struct lode_file_digest *out,
                      struct lode_err *err) lode_must_use;
void lode_hasher_free(struct lode_hasher *h);
void lode_file_digest_release(struct lode_file_digest *d);
