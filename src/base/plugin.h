/* Back ends from outside the tree: the shared objects named in LODE_PLUGINS (colon-separated
 * paths).
 *
 * Each is loaded at most once and stays loaded for the life of the process, for the ops tables that
 * it hands out are used until then. Thread-safe.
 */
#pragma once
#include <stdbool.h>
#include "base/err.h"

/* Offered one exported symbol of one plugin; true ends the search. */
typedef bool lode_plugin_offer_fn(void *arg, void *symbol, const char *path);

/* Offers `symbol` (e.g. "lode_plugin_store") of every plugin that exports it, in the order of
 * LODE_PLUGINS. 0 whether or not an offer was taken; INVALID when an object cannot be loaded (the
 * message names it and says why). */
int lode_plugin_each(const char *symbol, lode_plugin_offer_fn *offer, void *arg,
                     struct lode_err *err) lode_must_use;
