/* Files cut into spans that any thread may take: whole blocks of up to LODE_SPAN bytes, file by
 * file, in order. A file without bytes is one empty span, so that each file is seen. */
#pragma once
#include <stdatomic.h>
#include "model/manifest.h"

#define LODE_SPAN (4u << 20) /* bytes; a multiple of every block size */

struct lode_spans {
    uint64_t *first; /* number of each file's first span; first[n] is the count of all */
    const struct lode_manifest_file *const *files;
    size_t n;
    _Atomic uint64_t next;
};

struct lode_span {
    size_t file;     /* position in `files` */
    uint64_t offset; /* bytes */
    size_t len;      /* bytes */
};

/* Borrows `files` until release. */
int lode_spans_init(struct lode_spans *self, const struct lode_manifest_file *const *files,
                    size_t n, struct lode_err *err) lode_must_use;
void lode_spans_release(struct lode_spans *self);

/* The next span not taken; false at the end. Thread-safe. */
bool lode_spans_take(struct lode_spans *self, struct lode_span *out);

/* Spans of file i. */
static inline uint64_t lode_spans_of(const struct lode_spans *self, size_t i)
{
    return self->first[i + 1] - self->first[i];
}
#define _cleanup_spans_ __attribute__((cleanup(lode_spans_release)))
