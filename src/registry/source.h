/* Local files as they are to be stored: found beneath the paths that a user named, checked, and
 * bound to their identity, so that a file that changes while it is read is noticed.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "base/digest.h"
#include "base/err.h"

struct lode_source {
    char *path;    /* inside the version: relative, checked */
    char *from;    /* where it is read: an absolute path without symbolic links at its end */
    uint64_t size; /* bytes */
    uint32_t mode; /* 0644 or 0755 */
    uint64_t device, inode;
    int64_t mtime_ns, ctime_ns;
};

struct lode_sources {
    struct lode_source *items; /* sorted by path, bytewise; no path twice, none beneath another */
    size_t n, cap;
    uint64_t bytes; /* sum of sizes */
};

/* Finds all files: a file is called by its last part, a directory's contents by their path below
 * it. INVALID: nothing found, a link that leaves its directory (without follow_links), something
 * that is no file, a name against the rules, one name twice. NOT_FOUND, DENIED: cannot be read.
 * LIMIT. Messages name the path. */
int lode_sources_find(const char *const *paths, size_t n, bool follow_links,
                      struct lode_sources *out, struct lode_err *err) lode_must_use;
void lode_sources_release(struct lode_sources *s);

/* Opens the file for reading; CHANGED when it is not the one that was found. */
int lode_source_open(const struct lode_source *self, int *fd, struct lode_err *err) lode_must_use;

/* CHANGED when size, times or inode are no longer what was found. To be asked after the last byte
 * was read. */
int lode_source_check(const struct lode_source *self, int fd, struct lode_err *err) lode_must_use;

/* One digest over paths and identities: equal only if nothing changed. */
int lode_sources_fingerprint(const struct lode_sources *s, struct lode_sha256 *out,
                             struct lode_err *err) lode_must_use;

/* A manifest of the files (same order), with formats and tensor index but without digests: only
 * headers are read. Errors as lode_format_index_files(); CHANGED. */
struct lode_manifest;
int lode_sources_manifest(const struct lode_sources *s, struct lode_manifest **out,
                          struct lode_err *err) lode_must_use;

#define _cleanup_sources_ __attribute__((cleanup(lode_sources_release)))
