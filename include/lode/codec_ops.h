/* How a codec is taught to Lode, also by plug-ins (LODE_PLUGINS). */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <lode/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LODE_CODEC_ABI 1

struct lode_codec_ops {
    unsigned abi;     /* LODE_CODEC_ABI */
    const char *name; /* at most 31 bytes: "raw", "deflate" */

    /* A cheap estimate, from a sample, of the stored bytes of `raw_len` raw ones; raw_len where it
     * will not pay. */
    size_t (*estimate)(const void *sample, size_t sample_len, size_t raw_len);

    /* The most that encode() can write for raw_len bytes; 0 on overflow. */
    size_t (*bound)(size_t raw_len);

    /* Encodes raw_len bytes into `out` (room >= bound(raw_len)); *stored_len on success.
     * UNSUPPORTED for a codec that only reads. */
    int (*encode)(const void *raw, size_t raw_len, void *out, size_t room, size_t *stored_len,
                  struct lode_err *err);

    /* Decodes into exactly raw_len bytes of `out`. CORRUPT when the stored bytes make more, fewer,
     * or no sense. */
    int (*decode)(const void *stored, size_t stored_len, void *out, size_t raw_len,
                  struct lode_err *err);
};

/* A plug-in exports this function under the name `lode_plugin_codec`; the table that it answers
 * ends with NULL and lives as long as the process. NULL where it has none for this ABI. */
typedef const struct lode_codec_ops *const *lode_plugin_codec_fn(uint32_t abi);

#ifdef __cplusplus
}
#endif
