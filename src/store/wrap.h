/* What every decorator is made of: an instance around another one, operations that pass through,
 * and a relay that keeps the promises of the read callback when a range is put together from
 * several pieces.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include "store/store.h"

/* First member of a decorator's instance. */
struct lode_wrap {
    struct lode_store_base base;
    struct lode_store *inner; /* owned */
};

/* Borrows nothing; takes `inner` over once it has succeeded. */
int lode_wrap_init(struct lode_wrap *self, const struct lode_store_ops *ops,
                   struct lode_store *inner, struct lode_err *err) lode_must_use;

/* Closes the inner store and frees what init made; not the instance. */
void lode_wrap_release(struct lode_wrap *self);

static inline struct lode_store *lode_wrap_inner(struct lode_store *self)
{
    return ((struct lode_wrap *)(void *)self)->inner;
}

/* Operations that only pass through. A write or read that is begun through these is the inner
 * store's own. */
int lode_wrap_stat(struct lode_store *self, const char *key, struct lode_store_stat *out,
                   struct lode_err *err);
int lode_wrap_read(struct lode_store *self, const struct lode_store_range *ranges, size_t n,
                   lode_store_read_done *done, void *arg, struct lode_store_read **out,
                   struct lode_err *err);
int lode_wrap_write_begin(struct lode_store *self, const char *key,
                          const struct lode_store_write_opts *opts, struct lode_store_write **out,
                          struct lode_err *err);
int lode_wrap_unfinished(struct lode_store *self, const char *dir,
                         struct lode_store_unfinished_list *out, struct lode_err *err);
int lode_wrap_discard(struct lode_store *self, const char *key, const char *id,
                      struct lode_err *err);
int lode_wrap_open_local(struct lode_store *self, const char *key, int *fd, struct lode_err *err);
int lode_wrap_list(struct lode_store *self, const char *dir, const char *after, size_t limit,
                   struct lode_store_page *out, struct lode_err *err);
int lode_wrap_remove(struct lode_store *self, const char *key, struct lode_err *err);
int lode_wrap_rename_dir(struct lode_store *self, const char *from, const char *to,
                         struct lode_err *err);
int lode_wrap_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
                   struct lode_err *err);
int lode_wrap_placement(struct lode_store *self, const char *key, struct lode_store_placement *out,
                        struct lode_err *err);
int lode_wrap_space(struct lode_store *self, struct lode_store_space *out, struct lode_err *err);

/* First member of a decorator's write; the functions pass through. */
struct lode_wrap_write {
    const struct lode_store_ops *ops;
    struct lode_store_write *inner;
};
int lode_wrap_write_parts(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                          struct lode_err *err);

/* ---- relay ---- Pieces of a range end in any order on any thread, well or badly. The relay
 * tells good ones at once and a failure last, when nothing else of the range is on its way, for
 * after an error no more calls may come. Every byte of a range ends once, through ok or fail.
 */
struct lode_relay_range {
    size_t begun;                   /* bytes that were given to ok or fail */
    size_t left;                    /* bytes that have not ended */
    const struct lode_err *failure; /* owned unless it is the relay's `first`; NULL: none yet */
};

struct lode_relay {
    pthread_mutex_t lock; /* guards state and first; not held while `done` runs */
    const struct lode_store_range *ranges;
    size_t n;
    lode_store_read_done *done;
    void *arg;
    struct lode_relay_range *state;
    struct lode_err first; /* of the batch */
};

int lode_relay_init(struct lode_relay *self, const struct lode_store_range *ranges, size_t n,
                    lode_store_read_done *done, void *arg, struct lode_err *err) lode_must_use;
void lode_relay_release(struct lode_relay *self);

/* `len` bytes of range i at `from` are in the caller's memory and good. */
void lode_relay_ok(struct lode_relay *self, size_t i, size_t from, size_t len);

/* `len` bytes of range i will not come. */
void lode_relay_fail(struct lode_relay *self, size_t i, size_t len, const struct lode_err *err);

/* All bytes of range i that were not given to ok or fail yet will not come. */
void lode_relay_fail_rest(struct lode_relay *self, size_t i, const struct lode_err *err);

/* A piece of the range has failed: the rest need not be fetched. */
bool lode_relay_has_failed(struct lode_relay *self, size_t i);

/* For read_wait: 0 or the first failure. */
int lode_relay_result(struct lode_relay *self, struct lode_err *err);
