/* Tensors into memory: the engine beneath lode_load().
 *
 * For each file the cheapest way is chosen. A local file on a local file system is mapped: if its
 * check is remembered nothing is read at all, else its bytes are read and checked first. What
 * cannot be mapped (another store, a network file system, a private copy wanted) is planned
 * (load/plan.h) and read in parallel straight into one memory, each block checked where it lies.
 * Tensors that are not one aligned raw range (compressed, scattered, unaligned) are read one by one
 * into memory of their own.
 *
 * A file that shrinks under a mapping makes the process get SIGBUS when it touches what is gone:
 * Lode never changes stored files and never maps before it has compared the size, but it cannot
 * keep others from cutting their files. Who must be safe from that asks for a copy.
 */
#pragma once
#include <lode/lode.h>
#include "load/bytes.h"
#include "load/checks.h"

struct lode_load {
    const struct lode_load_options *options; /* may be NULL */
    struct lode_manifest *manifest;          /* taken by the model on success */
    struct lode_bytes *bytes;                /* borrowed */
    const char *digest; /* of the manifest, 64 hex digits; NULL: nothing can be remembered */
    struct lode_checks *checks; /* borrowed; may be NULL */
};

/* The model's version is the caller's to set. */
int lode_load_run(struct lode_load *load, struct lode_model **out,
                  struct lode_err *err) lode_must_use;

/* Takes over what `version` owns. */
void lode_model_set_version(struct lode_model *model, struct lode_version *version);
