/* Where Lode keeps things for a user (the cache apart: base/cache_dir.h), read from the environment
 * at each call. All answers are absolute paths, owned by the caller; INVALID when neither the
 * variable nor HOME tells. */
#pragma once
#include "base/err.h"

int lode_dir_home(char **out, struct lode_err *err)
    lode_must_use; /* $LODE_HOME, else ~/.lode: the default root */
int lode_dir_config(char **out, struct lode_err *err) lode_must_use; /* the configuration file */

/* An absolute path: '~' and the current directory put in front, no slash at the end, "file://"
 * taken off. */
int lode_dir_absolute(const char *path, char **out, struct lode_err *err) lode_must_use;

/* mkdir -p with `mode` for what is made. An existing directory is success. */
int lode_dir_make(const char *path, unsigned mode, struct lode_err *err) lode_must_use;

/* The same for all directories above `path`. */
int lode_dir_make_above(const char *path, unsigned mode, struct lode_err *err) lode_must_use;
