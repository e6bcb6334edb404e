/* A directory of a file system as a store; shared by the posix_*.c files, private to them.
 *
 * Design
 *  - Everything is opened beneath one directory descriptor and no symbolic link is followed, so
 *    that nothing outside the base is ever reached (posix.c).
 *  - An object being written is a file of `_staging/.parts/`, invisible to list() and never
 *    inside a directory that may be renamed: a published directory holds no one's leftovers
 *    (posix_write.c, posix_parts.c).
 *  - Naming is one rename: the name appears with all its bytes or not at all (posix_write.c).
 *  - Durable means: the file's bytes, its name in its directory, and the name of each directory
 *    up to the base. What this process already saw flushed is remembered, so that it is not
 *    flushed twice (posix_sync.c).
 *
 * Invariants
 *  1. A name is given only to flushed bytes.
 *  2. A failed flush of bytes drops them; a failed flush of a directory poisons the store: it
 *     reads on, but nothing more is called durable until it is opened anew, for the kernel tells
 *     such an error only once.
 *  3. No function holds a lock over a system call that waits for the device.
 */
#pragma once
#include <lode/store_ops.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include "base/digest.h"
#include "base/err.h"
#include "io/engine.h"

#define POSIX_STAGING "_staging"
#define POSIX_PARTS "_staging/.parts"
#define POSIX_ID_HEX 24     /* digits of an unfinished write's id */
#define POSIX_TREE_DEPTH 64 /* of directories that rename_dir flushes */

/* Names known to be on disk: a set of digests of (path, inode, for a file also size and mtime). */
struct posix_synced {
    pthread_mutex_t lock;
    struct lode_xxh128 *slots; /* open addressing; all zero is empty. Guarded by lock */
    size_t used;
    /* raised when something is removed: what was seen before no longer counts */
    unsigned long generation;
};

struct posix_store {
    struct lode_store_base base;
    int dir; /* the base directory */
    _Atomic bool poisoned;
    pthread_mutex_t lock; /* guards io */
    /* the shared engine; NULL until the first read that wants it */
    struct lode_io *io;
    struct posix_synced synced;
};

extern const struct lode_store_ops lode_store_posix_ops;

static inline struct posix_store *posix_of(struct lode_store *self)
{
    return (struct posix_store *)(void *)self;
}

/* ---- posix.c ---- */

/* Opens an object for reading; refuses what is no regular file. */
int posix_open_object(struct posix_store *self, const char *key, struct stat *st, int *fd,
                      struct lode_err *err);

/* Opens directory `dir` ("" is the base). */
int posix_open_dir(struct posix_store *self, const char *dir, int *fd, struct lode_err *err);

/* The same, making what is missing of it. */
int posix_make_dir(struct posix_store *self, const char *dir, int *fd, struct lode_err *err);

/* The I/O engine, borrowed until close. Got late, for looking and listing need no threads. */
int posix_engine(struct posix_store *self, struct lode_io **io, struct lode_err *err);

void posix_fill_stat(const struct stat *st, struct lode_store_stat *out);

/* The store's own folder is no key: INVALID. */
int posix_check_key(const struct posix_store *self, const char *key, struct lode_err *err);

/* ---- posix_sync.c ---- */

int posix_synced_init(struct posix_synced *set);
void posix_synced_release(struct posix_synced *set);
unsigned long posix_synced_generation(struct posix_synced *set);
bool posix_synced_has(struct posix_synced *set, const char *path, const struct stat *st);

/* Remembers, unless something was removed since `generation`. */
void posix_synced_add(struct posix_synced *set, const char *path, const struct stat *st,
                      unsigned long generation);
void posix_synced_forget(struct posix_synced *set);

/* Flushes a directory's entries; a failure poisons the store. */
int posix_sync_fd(struct posix_store *self, int fd, const char *dir, struct lode_err *err);

/* Flushes the name of directory `dir` and of all above it that are not known to be on disk. */
int posix_sync_names(struct posix_store *self, const char *dir, struct lode_err *err);

/* Flushes directory `dir` and the names of all directories above it that are not known to be on
 * disk. */
int posix_sync_chain(struct posix_store *self, int fd, const char *dir, struct lode_err *err);

/* Flushes all files and directories beneath an open directory, the deepest first. */
int posix_sync_tree(struct posix_store *self, int fd, const char *dir, int depth,
                    struct lode_err *err);

int posix_check_poison(struct posix_store *self, const char *key, struct lode_err *err);

/* ---- posix_parts.c: which parts of an unfinished write are there ---- */

struct posix_parts_head {
    char *key; /* owned */
    uint64_t part_size;
    int64_t started_ms;
};

/* Names inside _staging/.parts: "<id>.data" and "<id>.parts". */
void posix_parts_name(const char *id, const char *suffix, char out[POSIX_ID_HEX + 8]);

int posix_parts_create(int parts_dir, const char *id, const struct posix_parts_head *head, int *fd,
                       struct lode_err *err);

/* Opens and checks; NOT_FOUND when it is missing or torn. head->key is owned by the caller. */
int posix_parts_open(int parts_dir, const char *id, struct posix_parts_head *head, int *fd,
                     struct lode_err *err);

/* Writes part `number` of `len` bytes down as there. */
int posix_parts_mark(int fd, size_t key_len, uint32_t number, const void *data, size_t len,
                     struct lode_err *err);

/* Reads the marks and compares each with the bytes in `data_fd`; lens[number] gets the bytes
 * that are there. */
int posix_parts_verify(int fd, const struct posix_parts_head *head, int data_fd, uint64_t **lens,
                       size_t *n, struct lode_err *err);

int posix_unfinished(struct lode_store *self, const char *dir,
                     struct lode_store_unfinished_list *out, struct lode_err *err);
int posix_discard(struct lode_store *self, const char *key, const char *id, struct lode_err *err);

/* ---- the other files' operations ---- */

int posix_read(struct lode_store *self, const struct lode_store_range *ranges, size_t n,
               lode_store_read_done *done, void *arg, struct lode_store_read **out,
               struct lode_err *err);
int posix_read_wait(struct lode_store_read *read, struct lode_err *err);
void posix_read_cancel(struct lode_store_read *read);
int posix_write_begin(struct lode_store *self, const char *key,
                      const struct lode_store_write_opts *opts, struct lode_store_write **out,
                      struct lode_err *err);
int posix_write_parts(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                      struct lode_err *err);
int posix_write_part(struct lode_store_write *write, uint32_t number, const void *data, size_t len,
                     struct lode_err *err);
int posix_write_complete(struct lode_store_write *write, uint64_t size, bool if_absent,
                         struct lode_err *err);
void posix_write_abort(struct lode_store_write *write, bool keep);
int posix_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
               struct lode_err *err);
int posix_list(struct lode_store *self, const char *dir, const char *after, size_t limit,
               struct lode_store_page *out, struct lode_err *err);
int posix_remove(struct lode_store *self, const char *key, struct lode_err *err);
int posix_rename_dir(struct lode_store *self, const char *from, const char *to,
                     struct lode_err *err);
