/* The configuration file: named contexts, so that a company's roots have short names.
 *
 *     {"current": "prod", "contexts": {"prod": {"url": "https://models.example", "token": "...",
 * "cacert": "..."}, "big": {"store": "hdfs://ns/models", "coord": "etcd://h1:2379"}}}
 *
 * It is $LODE_CONFIG, else $XDG_CONFIG_HOME/lode/config.json, else ~/.config/lode/config.json. It
 * may hold tokens, so it is written with mode 0600. An absent file is an empty one. Not
 * thread-safe; writers replace it in one rename.
 */
#pragma once
#include "base/err.h"
#include "base/json.h"

#define LODE_CONFIG_MAX (1u << 20) /* bytes of the file */

struct lode_config {
    json_t *doc; /* always an object with "contexts" */
    char *path;  /* owned */
};

/* A context's fields: borrowed from the configuration; NULL where not set. */
struct lode_context {
    const char *name;
    const char *url, *store, *coord, *token, *cacert;
};

/* INVALID (with the file and what is wrong in it) when it cannot be meant. */
int lode_config_load(struct lode_config *out, struct lode_err *err) lode_must_use;
int lode_config_save(const struct lode_config *self, struct lode_err *err) lode_must_use;
void lode_config_release(struct lode_config *self);

/* The context of a name, NULL: the current one. NOT_FOUND lists what there is; with name NULL and
 * no current one `out` is all NULL. */
int lode_config_context(const struct lode_config *self, const char *name, struct lode_context *out,
                        struct lode_err *err) lode_must_use;

/* Adds or replaces a context; its fields that are NULL are left out. The first one made becomes the
 * current one. */
int lode_config_set(struct lode_config *self, const struct lode_context *context,
                    struct lode_err *err) lode_must_use;
int lode_config_remove(struct lode_config *self, const char *name,
                       struct lode_err *err) lode_must_use;
int lode_config_use(struct lode_config *self, const char *name, struct lode_err *err) lode_must_use;

#define _cleanup_config_ __attribute__((cleanup(lode_config_release)))
