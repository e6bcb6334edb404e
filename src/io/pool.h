/* A bounded pool of equal, page-aligned buffers that are used again and again: fresh memory costs
 * more to touch first than to fill. One mapping holds all; pages come with their first use, or at
 * once with `prefault`. What was given back last is handed out first, for it is warm. Thread-safe.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "io/engine.h"

struct lode_pool;

/* Buffers of `size` bytes (rounded up to pages), as many as fit into `total` bytes, at least one.
 * With an engine the memory is registered with it (a hint). Releases with lode_pool_free().
 * NO_MEMORY, LIMIT (sizes overflow). */
int lode_pool_new(size_t size, size_t total, bool prefault, struct lode_io *io,
                  struct lode_pool **out, struct lode_err *err) lode_must_use;

/* A buffer; waits until one is free. CANCELLED after lode_pool_cancel(). */
int lode_pool_get(struct lode_pool *p, void **out, struct lode_err *err) lode_must_use;

/* A buffer, or NULL where none is free now. */
void *lode_pool_try_get(struct lode_pool *p);

/* Gives a buffer back. NULL is fine. */
void lode_pool_put(struct lode_pool *p, void *buf);

/* Those who wait and all who come later are answered CANCELLED. */
void lode_pool_cancel(struct lode_pool *p);

size_t lode_pool_size(const struct lode_pool *p);  /* bytes of a buffer */
size_t lode_pool_count(const struct lode_pool *p); /* buffers in all */

/* All buffers have been given back. NULL is fine. */
void lode_pool_free(struct lode_pool *p);

LODE_DEFINE_CLEANUP(struct lode_pool *, lode_pool_freep, lode_pool_free)
#define _cleanup_pool_ lode_cleanup(lode_pool_freep)
