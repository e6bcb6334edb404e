/* A model in memory; private to this room. */
#pragma once
#include <lode/lode.h>
#include "model/manifest.h"

struct lode_memory { /* one mapping: of a file, or anonymous */
    void *base;
    size_t len; /* bytes; 0: none */
};

struct lode_model {
    struct lode_manifest *manifest; /* owned: names, shapes, paths */
    struct lode_version version;
    bool has_version;
    size_t *chosen;    /* positions in the index, ascending: name order */
    const void **data; /* of each chosen tensor */
    size_t n;
    struct lode_memory *memory; /* owned */
    size_t n_memory, cap_memory;
    void **own; /* owned: memory of single tensors, by position in `chosen`; NULL elsewhere */
    struct lode_load_stats stats;
};

struct lode_model *lode_model_new(void); /* NULL when out of memory */

/* Keeps a mapping until the model is freed; on failure it stays the caller's. */
int lode_model_keep(struct lode_model *self, void *base, size_t len,
                    struct lode_err *err) lode_must_use;
