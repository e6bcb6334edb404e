/* Bytes under a key: the interface that every storage back end implements, built in or loaded
 * from LODE_PLUGINS.
 *
 * A store keeps immutable objects in a tree of checked keys
 * ("rank/20261121T093000Z/model.safetensors"). It knows nothing of models, versions or
 * manifests. Back ends differ in what they can do atomically; they say so in `caps`, and the
 * layers above choose their protocol by it, never by the back end's name.
 *
 * Invariants
 *  1. An object is absent or whole. A write that is dropped before complete() leaves nothing
 *     readable.
 *  2. After complete() or rename_dir() returns 0 the bytes survive what the back end's contract
 *     states.
 *  3. A read returns the bytes that were written or an error; a short answer is an error.
 *  4. Every function may be called from any thread; none holds a lock while it waits for a
 *     device or a peer.
 *  5. Nothing outside the store's base is ever touched.
 *
 * Keys are checked by the caller (base/name.h: UTF-8 parts divided by '/', no empty, "." or ".."
 * part); a back end may rely on it but must stay beneath its base all the same.
 *
 * Ownership: out-structures that hold memory are released with the matching function below.
 * `err` may be NULL.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <lode/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LODE_STORE_ABI 1

enum lode_store_cap {
    /* of two writers of one key exactly one completes with if_absent */
    LODE_STORE_IF_ABSENT = 1 << 0,
    /* a directory appears under its new name at once and whole, never replacing */
    LODE_STORE_RENAME_DIR = 1 << 1,
    LODE_STORE_PLACEMENT = 1 << 2, /* tells which hosts hold which bytes */
    /* objects lie in local files (mmap, sendfile, copy_file_range) */
    LODE_STORE_OPEN_LOCAL = 1 << 3,
    /* list, remove and rename are possible (not through a server) */
    LODE_STORE_LIST = 1 << 4,
    LODE_STORE_RESUME = 1 << 5,    /* unfinished writes can be listed and gone on with */
    LODE_STORE_READ_ONLY = 1 << 6, /* every write answers LODE_READ_ONLY */
    LODE_STORE_SPACE = 1 << 7,     /* space() answers */
};

/* a back end's instance; its first member is lode_store_base below */
struct lode_store;
/* a batch of reads on its way; first member: const struct lode_store_ops *ops */
struct lode_store_read;
/* an object being written; first member: const struct lode_store_ops *ops */
struct lode_store_write;

struct lode_store_config {
    /* as the user wrote it: "/srv/models", "file:///srv/models", "hdfs://nn:9000/m" */
    const char *url;
    bool create; /* make the base if it is missing */
    bool read_only;
    /* "key", "value", ..., NULL; NULL for none. Secrets never reach a message */
    const char *const *options;
};

enum lode_store_kind { LODE_STORE_OBJECT, LODE_STORE_DIR };

struct lode_store_stat {
    enum lode_store_kind kind;
    uint64_t size;    /* bytes; 0 for a directory */
    int64_t mtime_ns; /* nanoseconds since 1970; 0 unknown */
    /* with `device` and `ctime_ns`: what a remembered check is bound to; 0 unknown */
    uint64_t inode;
    uint64_t device;
    int64_t ctime_ns;
};

struct lode_store_range {
    const char *key;
    uint64_t offset; /* bytes */
    size_t len;      /* bytes, > 0 */
    void *into;      /* len bytes of the caller's */
};

/* Called once or more for each range as its bytes [from, from + len) arrive in range->into, in
 * any order, on any thread, perhaps before read() returns; err is NULL on success. After an
 * error no more calls come for that range. Never called after wait or cancel has returned. Must
 * not block: hand long work to a queue. */
typedef void lode_store_read_done(void *arg, const struct lode_store_range *range, size_t from,
                                  size_t len, const struct lode_err *err);

struct lode_store_entry {
    char *name; /* the entry's own last part */
    struct lode_store_stat stat;
};

struct lode_store_page {              /* release with lode_store_page_release */
    struct lode_store_entry *entries; /* sorted by name, bytewise */
    size_t n;
    char *next; /* pass as `after` for the next page; NULL at the end */
};

struct lode_store_write_opts {
    /* bytes to come, or UINT64_MAX when unknown: lets the store refuse early, preallocate */
    uint64_t size;
    size_t part_size; /* bytes of every part but the last; > 0 */
    /* the id of an unfinished write of this key to go on with, or NULL */
    const char *resume;
    uint32_t mode; /* permission bits; 0 for the store's default */
};

struct lode_store_part {
    uint32_t number; /* from 0 */
    size_t len;      /* bytes that are safely there */
};

struct lode_store_unfinished {
    char *key;
    char *id; /* for lode_store_write_opts.resume */
    int64_t started_ms;
};

struct lode_store_unfinished_list { /* release with lode_store_unfinished_release */
    struct lode_store_unfinished *items;
    size_t n;
};

struct lode_store_placement { /* release with lode_store_placement_release */
    unsigned copies;          /* of the least replicated byte */
    char **hosts;
    size_t n_hosts;
};

struct lode_store_space {
    uint64_t free; /* bytes this user may still write */
    uint64_t total;
};

struct lode_store_ops {
    uint32_t abi;       /* LODE_STORE_ABI */
    const char *scheme; /* "file", "mem", "http", "hdfs", "s3": the URL's */

    /* Opens the store at config->url. NOT_FOUND if the base is missing and !create; DENIED,
     * UNAVAILABLE, INVALID for a URL that cannot be meant. */
    int (*open)(const struct lode_store_config *config, struct lode_store **out,
                struct lode_err *err);
    void (*close)(struct lode_store *self);

    /* NOT_FOUND when there is nothing at the key. The key "" is the base. */
    int (*stat)(struct lode_store *self, const char *key, struct lode_store_stat *out,
                struct lode_err *err);

    /* Starts reading n ranges with as much parallelism as suits the device and returns at once.
     * Borrows `ranges`, their keys and memory until read_wait or read_cancel has returned.
     * Errors come per range: NOT_FOUND, CORRUPT (device checksum), UNAVAILABLE (worth a retry),
     * DENIED, IO; fails itself only when nothing was started. */
    int (*read)(struct lode_store *self, const struct lode_store_range *ranges, size_t n,
                lode_store_read_done *done, void *arg, struct lode_store_read **out,
                struct lode_err *err);

    /* Waits until every range is done or failed, frees the handle, answers 0 or the first
     * failure. */
    int (*read_wait)(struct lode_store_read *read, struct lode_err *err);

    /* Stops what can be stopped, waits for what cannot (bounded), frees the handle. */
    void (*read_cancel)(struct lode_store_read *read);

    /* Begins an object. Nothing is visible under `key` before complete. NO_SPACE early where it
     * is known. */
    int (*write_begin)(struct lode_store *self, const char *key,
                       const struct lode_store_write_opts *opts, struct lode_store_write **out,
                       struct lode_err *err);

    /* What of a resumed write is already there, sorted by number; n is 0 for a new one. *parts
     * is owned by the caller (lode_store_free). */
    int (*write_parts)(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                       struct lode_err *err);

    /* Writes part `number` (from 0; every part but the last is part_size bytes). Parts may come
     * in any order and from several threads at once. `data` is the caller's again on return. */
    int (*write_part)(struct lode_store_write *write, uint32_t number, const void *data, size_t len,
                      struct lode_err *err);

    /* Makes the parts an object of exactly `size` bytes; durable on return (invariant 2). With
     * if_absent EXISTS when the key is taken (without, it is replaced). Consumes the write,
     * whatever happens; after a failure that may have lost bytes (a failed fsync) nothing of it
     * is kept. */
    int (*write_complete)(struct lode_store_write *write, uint64_t size, bool if_absent,
                          struct lode_err *err);

    /* Drops the write: with keep, what was written stays for a resume (id through unfinished);
     * else it is removed. Consumes the write. */
    void (*write_abort)(struct lode_store_write *write, bool keep);

    /* Unfinished writes beneath a directory key, for resuming and for gc. UNSUPPORTED without
     * LODE_STORE_RESUME. */
    int (*unfinished)(struct lode_store *self, const char *dir,
                      struct lode_store_unfinished_list *out, struct lode_err *err);

    /* Removes what an unfinished write left. NOT_FOUND if it is gone. */
    int (*discard)(struct lode_store *self, const char *key, const char *id, struct lode_err *err);

    /* A read-only descriptor of the object's local file, positioned anywhere; the caller closes
     * it. UNSUPPORTED without LODE_STORE_OPEN_LOCAL. */
    int (*open_local)(struct lode_store *self, const char *key, int *fd, struct lode_err *err);

    /* One page of what lies directly in directory `dir` ("" is the base), names > after (NULL:
     * from the start), at most `limit`. A directory that is not there is NOT_FOUND. Files of
     * unfinished writes are not shown. */
    int (*list)(struct lode_store *self, const char *dir, const char *after, size_t limit,
                struct lode_store_page *out, struct lode_err *err);

    /* Removes one object, or one empty directory. NOT_FOUND if absent; EXISTS for a directory
     * that is not empty. A directory's removal is durable on return, and with it that of all
     * that was in it; an object's alone need not be. */
    int (*remove)(struct lode_store *self, const char *key, struct lode_err *err);

    /* Moves a directory with all that is in it; parents of `to` are made. Never replaces: EXISTS
     * when `to` is there (also empty); NOT_FOUND when `from` is not. Durable on return: files,
     * directories bottom-up, both parents. */
    int (*rename_dir)(struct lode_store *self, const char *from, const char *to,
                      struct lode_err *err);

    /* Copies one object inside the store without the bytes passing through the caller; if_absent
     * as above. UNSUPPORTED where the store cannot. */
    int (*copy)(struct lode_store *self, const char *from, const char *to, bool if_absent,
                struct lode_err *err);

    int (*placement)(struct lode_store *self, const char *key, struct lode_store_placement *out,
                     struct lode_err *err);
    int (*space)(struct lode_store *self, struct lode_store_space *out, struct lode_err *err);
};

/* What every instance begins with. */
struct lode_store_base {
    const struct lode_store_ops *ops;
    uint32_t caps; /* enum lode_store_cap, fixed once open */
    /* normalised, without secrets; owned by the back end, valid until close */
    char *url;
};

/* A back end outside the tree exports this function under the name `lode_plugin_store`;
 * NULL-ended table. */
typedef const struct lode_store_ops *const *lode_plugin_store_fn(uint32_t abi);

/* Memory that a store hands out, and that a back end must allocate with. */
LODE_API void *lode_store_alloc(size_t n);
LODE_API void lode_store_free(void *p);
LODE_API void lode_store_page_release(struct lode_store_page *page);
LODE_API void lode_store_unfinished_release(struct lode_store_unfinished_list *list);
LODE_API void lode_store_placement_release(struct lode_store_placement *placement);

/* Sets an error with a formatted message; returns `code`. For back ends outside the tree. */
LODE_API int lode_plugin_err(struct lode_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
