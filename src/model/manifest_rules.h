/* What the writer and the reader of manifests share: the layout's numbers and the rules about
 * contents. */
#pragma once
#include "model/manifest.h"

#define LODE_MANIFEST_MAGIC "LODEMF\r\n" /* 8 bytes; a transfer in text mode would spoil them */
#define LODE_MANIFEST_PREAMBLE                                                                     \
    32 /* magic, schema u32, zero u32, head length u64, table length u64 */

/* The bytes of a tensor's name, and of any other text in the head. */
#define LODE_MANIFEST_TEXT_MAX (1u << 20)

/* Names, files sorted and sound, block counts, sums that fit. INVALID says which file. Tensors are
 * not looked at. */
int lode_manifest_check(const struct lode_manifest *m, struct lode_err *err) lode_must_use;
