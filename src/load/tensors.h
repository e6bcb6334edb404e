/* One tensor's bytes at a time: for those that are not simply a range of a file, and for comparing.
 */
#pragma once
#include "load/bytes.h"

/* Reads and decodes tensor `i` whole into `into` (its len bytes). CORRUPT names tensor and file. */
int lode_tensor_decode(struct lode_bytes *bytes, size_t i, void *into,
                       struct lode_err *err) lode_must_use;

/* Random access; of a tensor that has to be decoded the last one stays decoded. One thread at a
 * time. */
struct lode_tensor_reader;
int lode_tensor_reader_new(struct lode_store *store, const char *prefix,
                           const struct lode_manifest *manifest, struct lode_tensor_reader **out,
                           struct lode_err *err) lode_must_use;
int lode_tensor_read(struct lode_tensor_reader *self, size_t i, uint64_t at, void *into, size_t len,
                     struct lode_err *err) lode_must_use;
void lode_tensor_reader_free(struct lode_tensor_reader *self); /* NULL is safe */
