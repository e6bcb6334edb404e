/* Request paths and queries' escapes: what splits holds no slash, no NUL and valid UTF-8 in any
 * part, decoded exactly once: a part encoded again and split again is the same part. */
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "fuzz/fuzz.h"
#include "server/srv.h"

static void put_encoded(struct lode_buf *out, const struct srv_request *r)
{
    for (size_t i = 0; i < r->n_parts; i++) {
        lode_buf_addc(out, '/');
        for (size_t k = 0; k < r->part_len[i]; k++)
            lode_buf_addf(out, "%%%02x", (unsigned char)r->parts[i][k]);
    }
}

static void split_again(const struct srv_request *first)
{
    struct srv_request *again = calloc(1, sizeof *again);
    struct lode_buf url = LODE_BUF_INIT(1 << 20);
    put_encoded(&url, first);
    must(again && srv_path_split(again, lode_buf_str(&url), NULL) == 0 &&
         again->n_parts == first->n_parts);
    for (size_t i = 0; i < first->n_parts; i++) {
        must(again->part_len[i] == first->part_len[i]);
        must(memcmp(again->parts[i], first->parts[i], first->part_len[i]) == 0);
    }
    lode_buf_release(&url);
    lode_free(again->text);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char url[4096];
    struct srv_request *r = calloc(1, sizeof *r);
    must(r != NULL);
    if (size + 2 <= sizeof url) {
        url[0] = '/';
        if (size)
            memcpy(url + 1, data, size);
        url[size + 1] = 0;
        if (srv_path_split(r, url, NULL) == 0) {
            must(r->n_parts >= 1 && r->n_parts <= SRV_PARTS_MAX);
            for (size_t i = 0; i < r->n_parts; i++) {
                must(strlen(r->parts[i]) == r->part_len[i] && !strchr(r->parts[i], '/'));
                must(lode_utf8_valid(r->parts[i], r->part_len[i]) == r->part_len[i]);
            }
            split_again(r);
            lode_free(srv_path_join(r, 0));
        }
    }
    lode_free(r->text);
    free(r);
    return 0;
}
