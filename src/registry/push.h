/* The parts of a push, in the order in which push.c uses them; private to the push_*.c files. */
#pragma once
#include "registry/handle.h"
#include "registry/source.h"

#define PUSH_PART (4u << 20) /* bytes of a part: what is read, hashed and written at a time */

/* What one push knows, from the look at the sources to the commit. */
struct push {
    struct lode *lode;
    const struct lode_push_options *options;
    struct lode_ref model;
    char *parent; /* "ns/name@version", or NULL */
    struct lode_sources sources;
    struct lode_manifest
        *manifest; /* files in the order of the sources; digests come with the bytes */
    struct lode_attempt *attempt;
    int state_fd;     /* the resume file, open and locked; -1: no resuming */
    char *state_path; /* of the resume file; NULL: no resuming */
    struct lode_sha256 fingerprint;
};

/* push_index.c: reads the headers, makes the manifest's file table and tensor index. Nothing is
 * written. */
int push_index(struct push *self, struct lode_err *err) lode_must_use;

/* push_resume.c: what an interrupted push of the same unchanged files left. *version (owned) and
 * *attempt, or NULL. */
int push_resume_find(struct push *self, char **version, uint64_t *attempt,
                     struct lode_err *err) lode_must_use;
void push_resume_save(
    struct push *self); /* writes down self->attempt; failing to do so only costs the resume */
void push_resume_forget(struct push *self);

/* push_upload.c: streams all files into the attempt's place and fills in their digests. */
int push_upload(struct push *self, struct lode_err *err) lode_must_use;

/* gc.c: frees at once what a given-up attempt wrote. Best effort: what cannot be freed now is gc's.
 */
void lode_gc_attempt(struct lode *lode, const char *ns, const char *name, const char *version,
                     uint64_t attempt);
