/* How bytes are kept: blocks in, blocks out.
 *
 * A codec turns a whole extent of known raw length into stored bytes and back. The raw length is
 * always known to the caller and bounds the output: a codec never writes, nor allocates, more.
 * Codecs are named in manifests and in the tensor index's extents. Thread-safe, no state between
 * calls.
 */
#pragma once
#include <lode/codec_ops.h>
#include "base/err.h"

/* The codec of a name, or NULL. For a name that is not built in, the plug-ins are loaded first; one
 * that cannot be is told in the log. */
const struct lode_codec_ops *lode_codec_find(const char *name);

/* All codecs, NULL-ended: the built-in ones, then the registered. */
const struct lode_codec_ops *const *lode_codecs(void);

/* Adds a plug-in's codec. Any thread. INVALID for another ABI or an incomplete
 * table, EXISTS for a name that is taken, LIMIT above LODE_CODECS_MAX. */
int lode_codec_register(const struct lode_codec_ops *ops, struct lode_err *err) lode_must_use;
