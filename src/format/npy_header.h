/* The header of an .npy: magic, version, length, and a Python dict literal, which is read and never
 * evaluated. */
#pragma once
#include <lode/tensor.h>
#include "base/err.h"
#include "base/limits.h"

#define NPY_PRELUDE_MAX 12 /* bytes that tell how long the header is */

struct npy_header {
    enum lode_dtype dtype;
    bool fortran_order;
    unsigned rank;
    uint64_t shape[LODE_TENSOR_RANK_MAX];
    uint64_t len;   /* bytes of the array */
    uint64_t total; /* bytes in front of the array */
};

bool npy_is_magic(const uint8_t *b, size_t n);

/* From the first bytes (at least NPY_PRELUDE_MAX, or all there are) the length of prelude and
 * header together. `what` is the file, for messages. INVALID, LIMIT. */
int npy_prelude(const uint8_t *b, size_t n, const char *what, size_t *total,
                struct lode_err *err) lode_must_use;

/* Parses the whole header, b[0, total). INVALID: malformed, or an array of Python objects (that
 * would be a pickle); UNSUPPORTED: an array that is no plain tensor (structured, text, dates,
 * big-endian ...); LIMIT. */
int npy_parse(const uint8_t *b, size_t total, const char *what, struct npy_header *out,
              struct lode_err *err) lode_must_use;
