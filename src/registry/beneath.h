/* Writing files beneath a directory that others may also write to: no symbolic link inside it is
 * ever followed. */
#pragma once
#include "base/err.h"

/* Opens the directory that holds `path` beneath `dir`, making what is missing, and answers it in
 * *parent; the file's own name is what lode_beneath_leaf() tells. `shown` names `dir` in messages.
 */
int lode_beneath_parent(int dir, const char *path, const char *shown, int *parent,
                        struct lode_err *err) lode_must_use;

/* The last part of a path. Borrowed. */
const char *lode_beneath_leaf(const char *path);

/* Flushes the directory that holds `path` and all those between it and `dir`, `dir` included. */
int lode_beneath_sync(int dir, const char *path, const char *shown,
                      struct lode_err *err) lode_must_use;
