/* Manifests by digest: the last few in memory, all that were read as files in
 * $LODE_CACHE/manifests.
 *
 * What a digest names never changes, so nothing here is ever stale; what a file of the cache holds
 * is compared with its digest before it is used, and a cache that cannot be written is merely
 * slower. Any thread.
 */
#pragma once
#include <lode/types.h>
#include "model/manifest.h"
#include "store/store.h"

struct lode_manifest_cache;

int lode_manifest_cache_new(struct lode_manifest_cache **out, struct lode_err *err) lode_must_use;
void lode_manifest_cache_free(struct lode_manifest_cache *self); /* NULL is safe */

/* The manifest of `version` (its digest, size and directory), shared: it must not be changed.
 * CORRUPT when the bytes in the store do not match the digest. */
int lode_manifest_cache_get(struct lode_manifest_cache *self, struct lode_store *store,
                            const struct lode_version *version, struct lode_manifest **out,
                            struct lode_err *err) lode_must_use;

/* The same with another way to the bytes: `fetch` puts the version's manifest into an empty buffer
 * that takes at most manifest_size + 1 bytes; what it got is compared with the digest here. */
typedef int lode_manifest_fetch(void *arg, const struct lode_version *version,
                                struct lode_buf *into, struct lode_err *err);
int lode_manifest_cache_fetch(struct lode_manifest_cache *self, lode_manifest_fetch *fetch,
                              void *arg, const struct lode_version *version,
                              struct lode_manifest **out, struct lode_err *err) lode_must_use;
