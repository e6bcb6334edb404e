/* $LODE_CACHE: what can be made again at any time. */
#pragma once
#include <stdbool.h>

/* "$LODE_CACHE/<name>", "$XDG_CACHE_HOME/lode/<name>" or "~/.cache/lode/<name>", owned; made, with
 * its parents and mode 0700, when `make`. NULL when there is no such place or it cannot be made:
 * callers do without. */
char *lode_cache_dir(const char *name, bool make);
