/* Zip archives, as far as npz needs them: finding the directory, reading it, placing the members.
 *
 * Pure: bytes in, facts out. All that can lie is compared: the two records of each member, sizes
 * with the file, places with each other (members that overlap are how small bombs grow large),
 * names with the rule for paths.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum {
    ZIP_STORED = 0,
    ZIP_DEFLATED = 8,
    ZIP_TAIL_MAX = 22 + 65535 + 20 + 56, /* bytes from the end that hold the end records */
    ZIP_LOCAL = 30,                      /* bytes of a local header without name and extra field */
};

struct zip_member {
    uint64_t local;      /* byte of its local header */
    uint64_t end;        /* byte where the next member, or the directory, begins */
    uint64_t stored_len; /* bytes */
    uint64_t raw_len;    /* bytes */
    const char
        *name; /* in the directory's bytes, not NUL-terminated; checked by lode_path_check() */
    uint16_t name_len;
    uint16_t method; /* ZIP_STORED or ZIP_DEFLATED */
};

struct zip_directory {
    uint64_t offset; /* byte of the archive */
    uint64_t len;    /* bytes */
    uint64_t n;      /* members */
};

/* Finds the directory from the archive's last bytes: `tail` is [size - n, size), n = min(size,
 * ZIP_TAIL_MAX). A zip64 end record must lie within the tail, where every writer puts it. INVALID,
 * LIMIT, UNSUPPORTED (several disks). */
int zip_find(const uint8_t *tail, size_t n, uint64_t size, const char *what,
             struct zip_directory *out, struct lode_err *err) lode_must_use;

/* Reads the directory's bytes (borrowed by the members' names) into an owned array of dir->n
 * members in the order of their places; entries for folders are left out (*n counts the rest).
 * INVALID, LIMIT, UNSUPPORTED (encrypted, another method), NO_MEMORY. */
int zip_members(const uint8_t *bytes, const struct zip_directory *dir, const char *what,
                struct zip_member **out, size_t *n, struct lode_err *err) lode_must_use;

/* From the local header with its name (ZIP_LOCAL + name_len bytes), the byte of the archive where
 * the member's data begin. INVALID where it contradicts the directory. */
int zip_data(const uint8_t *local, const struct zip_member *m, const char *what, uint64_t *out,
             struct lode_err *err) lode_must_use;
