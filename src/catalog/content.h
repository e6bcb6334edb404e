/* One digest over what a version consists of, so that a client and a server can tell that they mean
 * the same bytes. */
#pragma once
#include "model/manifest.h"

/* SHA-256 over "path NUL size SP sha256 LF" of all files in order of their paths, as hex. */
int lode_manifest_content(const struct lode_manifest *m, char out[LODE_SHA256_HEX],
                          struct lode_err *err) lode_must_use;
