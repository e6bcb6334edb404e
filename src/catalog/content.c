/* See catalog/content.h. */
#include "catalog/content.h"
#include <stdio.h>
#include <string.h>

int lode_manifest_content(const struct lode_manifest *m, char out[LODE_SHA256_HEX],
                          struct lode_err *err)
{
    struct lode_sha256_ctx *ctx;
    struct lode_sha256 digest;
    int r = lode_sha256_new(&ctx, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < m->n_files && r == 0; i++) {
        char hex[LODE_SHA256_HEX], line[LODE_SHA256_HEX + 32];
        int n =
            snprintf(line, sizeof(line), "%c%llu %s\n", '\0', (unsigned long long)m->files[i].size,
                     lode_sha256_text(&m->files[i].sha256, hex));
        r = lode_sha256_update(ctx, m->files[i].path, strlen(m->files[i].path), err);
        r = r < 0 ? r : lode_sha256_update(ctx, line, (size_t)n, err);
    }
    r = r < 0 ? r : lode_sha256_final(ctx, &digest, err);
    lode_sha256_free(ctx);
    if (r == 0)
        lode_sha256_text(&digest, out);
    return r;
}
