/* Calling a store: thin, checked wrappers over <lode/store_ops.h> (read that first: it has the
 * contracts), the table of back ends, and the small conveniences that several verbs need.
 *
 * Every wrapper checks the key (invariant 6 of the design) before the back end sees it, and puts
 * the store's URL and the key into the message of a failure that does not name them.
 */
#pragma once
#include <lode/store_ops.h>
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/* Opens the back end whose scheme fits config->url: a bare path or file:// is posix; plugins of
 * LODE_PLUGINS (colon-separated shared objects) come after the built-in table. */
int lode_store_open(const struct lode_store_config *config, struct lode_store **out,
                    struct lode_err *err) lode_must_use;
void lode_store_close(struct lode_store *self); /* NULL is safe */

/* The schemes that can be opened, NULL-ended; for doctor and messages. */
const struct lode_store_ops *const *lode_store_builtin(void);

static inline const struct lode_store_ops *lode_store_ops_of(const struct lode_store *self)
{
    return ((const struct lode_store_base *)(const void *)self)->ops;
}
static inline uint32_t lode_store_caps(const struct lode_store *self)
{
    return ((const struct lode_store_base *)(const void *)self)->caps;
}
static inline const char *lode_store_url(const struct lode_store *self)
{
    return ((const struct lode_store_base *)(const void *)self)->url;
}

int lode_store_stat(struct lode_store *self, const char *key, struct lode_store_stat *out,
                    struct lode_err *err) lode_must_use;
int lode_store_read(struct lode_store *self, const struct lode_store_range *ranges, size_t n,
                    lode_store_read_done *done, void *arg, struct lode_store_read **out,
                    struct lode_err *err) lode_must_use;
int lode_store_read_wait(struct lode_store_read *read, struct lode_err *err) lode_must_use;
void lode_store_read_cancel(struct lode_store_read *read); /* NULL is safe */
int lode_store_write_begin(struct lode_store *self, const char *key,
                           const struct lode_store_write_opts *opts, struct lode_store_write **out,
                           struct lode_err *err) lode_must_use;
int lode_store_write_parts(struct lode_store_write *write, struct lode_store_part **parts,
                           size_t *n, struct lode_err *err) lode_must_use;
int lode_store_write_part(struct lode_store_write *write, uint32_t number, const void *data,
                          size_t len, struct lode_err *err) lode_must_use;
int lode_store_write_complete(struct lode_store_write *write, uint64_t size, bool if_absent,
                              struct lode_err *err) lode_must_use;
void lode_store_write_abort(struct lode_store_write *write, bool keep); /* NULL is safe */
int lode_store_unfinished(struct lode_store *self, const char *dir,
                          struct lode_store_unfinished_list *out,
                          struct lode_err *err) lode_must_use;
int lode_store_discard(struct lode_store *self, const char *key, const char *id,
                       struct lode_err *err) lode_must_use;
int lode_store_open_local(struct lode_store *self, const char *key, int *fd,
                          struct lode_err *err) lode_must_use;
int lode_store_list(struct lode_store *self, const char *dir, const char *after, size_t limit,
                    struct lode_store_page *out, struct lode_err *err) lode_must_use;
int lode_store_remove(struct lode_store *self, const char *key, struct lode_err *err) lode_must_use;
int lode_store_rename_dir(struct lode_store *self, const char *from, const char *to,
                          struct lode_err *err) lode_must_use;
int lode_store_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
                    struct lode_err *err) lode_must_use;
int lode_store_placement(struct lode_store *self, const char *key, struct lode_store_placement *out,
                         struct lode_err *err) lode_must_use;
int lode_store_space(struct lode_store *self, struct lode_store_space *out,
                     struct lode_err *err) lode_must_use;

/* Reads one range and waits. */
int lode_store_pread(struct lode_store *self, const char *key, void *into, size_t len,
                     uint64_t offset, struct lode_err *err) lode_must_use;

/* A whole small object into `out` (appended); LIMIT above out->max. */
int lode_store_get(struct lode_store *self, const char *key, struct lode_buf *out,
                   struct lode_err *err) lode_must_use;

/* A whole small object from memory, durable on return. */
int lode_store_put(struct lode_store *self, const char *key, const void *data, size_t len,
                   bool if_absent, struct lode_err *err) lode_must_use;

/* Calls `fn` for every object beneath a directory, depth first, sorted, keys relative to the
 * base; a negative answer stops the walk and is returned. */
typedef int lode_store_walk_fn(void *arg, const char *key, const struct lode_store_stat *stat,
                               struct lode_err *err);
int lode_store_walk(struct lode_store *self, const char *dir, lode_store_walk_fn *fn, void *arg,
                    struct lode_err *err) lode_must_use;

/* Removes a directory with all that is in it (objects, empty directories, unfinished writes).
 * Not atomic. An absent directory is success. *freed gets the bytes removed (may be NULL). */
int lode_store_remove_tree(struct lode_store *self, const char *dir, uint64_t *freed,
                           struct lode_err *err) lode_must_use;

LODE_DEFINE_CLEANUP(struct lode_store *, lode_store_closep, lode_store_close)
#define _cleanup_store_ lode_cleanup(lode_store_closep)

/* ---- decorators: each owns `inner` and closes it; caps are the inner's unless said otherwise
 * ---- */

struct lode_retry_policy {
    unsigned attempts;       /* in all, >= 1 */
    int64_t base_ms, max_ms; /* exponential with full jitter */
    int64_t budget_ms;       /* for one operation with all its retries; 0 for no bound */
};
/* Repeats what failed in a way worth repeating (lode_code_is_transient), only where repeating is
 * safe: reads (the failed ranges only), stat, list, write_part. */
int lode_store_retry(struct lode_store *inner, const struct lode_retry_policy *policy,
                     struct lode_store **out, struct lode_err *err) lode_must_use;

struct lode_limit_policy {
    uint64_t read_bytes_per_s; /* 0: no bound */
    uint64_t write_bytes_per_s;
    size_t in_flight_bytes; /* of reads; 0: no bound */
    unsigned in_flight_ops;
};
int lode_store_limit(struct lode_store *inner, const struct lode_limit_policy *policy,
                     struct lode_store **out, struct lode_err *err) lode_must_use;

/* Checks what is read against digests of blocks: a plain table, borrowed until close. Reads are
 * widened to whole blocks inside; a block that does not match is CORRUPT and names key, block
 * and offset. Keys that are not in the table pass unchecked only with allow_unknown. */
struct lode_verify_entry {
    const char *key;
    uint64_t size;
    const void *blocks; /* XXH3-128 (16 bytes, canonical) of each block */
    size_t n_blocks;
};
struct lode_verify_table {
    const struct lode_verify_entry *entries; /* sorted by key, bytewise */
    size_t n;
    size_t block_size; /* bytes */
    bool allow_unknown;
};
int lode_store_verify(struct lode_store *inner, const struct lode_verify_table *table,
                      struct lode_store **out, struct lode_err *err) lode_must_use;

/* For tests: fails, delays, cuts short or corrupts chosen operations. `decide` is called before
 * each operation and says what happens to it. */
enum lode_fault_kind {
    LODE_FAULT_NONE,
    LODE_FAULT_FAIL,
    LODE_FAULT_CORRUPT,
    LODE_FAULT_DELAY,
    LODE_FAULT_LOST_REPLY
};
struct lode_fault {
    enum lode_fault_kind kind;
    /* for FAIL, and the error that is told for LOST_REPLY (done, but reported as failed) */
    int code;
    int64_t delay_ms;
};
typedef struct lode_fault lode_fault_fn(void *arg, const char *op, const char *key);
int lode_store_fault(struct lode_store *inner, lode_fault_fn *decide, void *arg,
                     struct lode_store **out, struct lode_err *err) lode_must_use;
