/* Knobs of a direct catalog that its users rarely turn: tests, and roots on slow coords. */
#pragma once
#include "catalog/catalog.h"

/* How long a claim outlives its process, in milliseconds (LODE_LEASE_TTL_MS by default). Before the
 * first stage. */
void lode_catalog_direct_set_ttl(struct lode_catalog *direct, int64_t ttl_ms);

enum lode_root_change { LODE_ROOT_SEAL, LODE_ROOT_UNSEAL, LODE_ROOT_MOVE };
/* Seals the root against every change (a copy of the rest can be made), opens it again, or says
 * where it lives now. */
int lode_catalog_direct_set_root(struct lode_catalog *direct, enum lode_root_change change,
                                 const char *moved_to, struct lode_err *err) lode_must_use;
