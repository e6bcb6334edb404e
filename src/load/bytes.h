/* Where the bytes of a version's files come from, and how they are checked: a store, or local
 * files.
 *
 * Reads are checked block by block against the manifest where it has digests and `verify` is set; a
 * local directory without a registry has none. Thread-safe.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include "model/manifest.h"
#include "store/store.h"

/* Opens a local file by number (position in the manifest) for reading. */
typedef int lode_bytes_open(void *arg, unsigned file, int *fd, struct lode_err *err);

struct lode_bytes {
    const struct lode_manifest *manifest;
    bool verify;
    /* one of: */
    struct lode_store *store; /* files are objects prefix/path */
    const char *prefix;
    lode_bytes_open *open; /* with store NULL */
    void *arg;
    /* private */
    pthread_mutex_t lock;
    int *fds; /* by file number; -1: not opened. Guarded by lock; open until release */
};

/* Fill in the public part first; all of it is borrowed until release. */
int lode_bytes_init(struct lode_bytes *self, struct lode_err *err) lode_must_use;
void lode_bytes_release(struct lode_bytes *self);

/* True if reads of this file are checked. */
bool lode_bytes_checked(const struct lode_bytes *self, unsigned file);

/* Whole blocks: [offset, offset + len) begins at a block's start and ends at one's end or the
 * file's. Checked. */
int lode_bytes_read_blocks(struct lode_bytes *self, unsigned file, uint64_t offset, void *into,
                           size_t len, struct lode_err *err) lode_must_use;

/* Any range of the file. Checked: the blocks at both ends are read whole, aside. */
int lode_bytes_read(struct lode_bytes *self, unsigned file, uint64_t offset, void *into, size_t len,
                    struct lode_err *err) lode_must_use;

/* A descriptor of the file's own local copy, borrowed until release; UNSUPPORTED where the store
 * has none. */
int lode_bytes_local(struct lode_bytes *self, unsigned file, int *fd,
                     struct lode_err *err) lode_must_use;

/* "prefix/path in <store>" for messages; owned, NULL when out of memory. */
char *lode_bytes_where(const struct lode_bytes *self, unsigned file);

#define _cleanup_bytes_ __attribute__((cleanup(lode_bytes_release)))
