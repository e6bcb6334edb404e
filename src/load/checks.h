/* Remembered checks: which local files were read whole and matched, so that an unchanged file need
 * not be read again.
 *
 * What is remembered is bound to (device, inode, size, mtime_ns, ctime_ns, the manifest's digest,
 * the file's digest); a file that changed in the last 2 s is never remembered, since its time
 * stamps may not show the next change. Kept in $LODE_CACHE/load/checks, one fixed record each,
 * appended; the file is halved when it grows past a limit. Losing it costs reading only. A file
 * that is not this user's own is not believed.
 */
#pragma once
#include <stdbool.h>
#include <sys/stat.h>
#include "base/digest.h"
#include "base/err.h"

struct lode_checks;

/* `dir`: $LODE_CACHE/load; NULL or unusable: nothing is remembered. Never fails but for memory
 * (NULL). */
struct lode_checks *lode_checks_open(const char *dir);
void lode_checks_close(struct lode_checks *self); /* writes down what is new; NULL is safe */

/* What a check is bound to. manifest_digest: 64 hex digits. */
struct lode_check {
    const struct stat *st;
    const char *manifest_digest;
    const struct lode_sha256 *file_digest;
};
bool lode_checks_has(struct lode_checks *self, const struct lode_check *check);

/* st: from before the first byte was read; the caller looked again after the last one and found it
 * equal. */
void lode_checks_add(struct lode_checks *self, const struct lode_check *check);

/* How many are remembered, for doctor. */
size_t lode_checks_count(const struct lode_checks *self);
