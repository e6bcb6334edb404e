/* What lies in a store that belongs to no record. */
#pragma once
#include "registry/handle.h"

/* Appends {"key": ..., "bytes": n} for every file or directory that no version, attempt or garbage
 * record names. Never more than FOREIGN_MAX entries; nothing is touched. */
#define FOREIGN_MAX 1000
int lode_foreign_find(struct lode *lode, json_t *into, struct lode_err *err) lode_must_use;
