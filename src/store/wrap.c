/* Passing through, and the relay: see store/wrap.h. */
#include "store/wrap.h"
#include <string.h>
#include "base/mem.h"
#include "store/util.h"

int lode_wrap_init(struct lode_wrap *self, const struct lode_store_ops *ops,
                   struct lode_store *inner, struct lode_err *err)
{
    char *url = lode_strdup(lode_store_url(inner));
    if (!url)
        return lode_err_nomem(err, "a store");
    self->base = (struct lode_store_base){ops, lode_store_caps(inner), url};
    self->inner = inner;
    return 0;
}

void lode_wrap_release(struct lode_wrap *self)
{
    lode_store_close(self->inner);
    lode_free(self->base.url);
}

#define INNER lode_store_ops_of(lode_wrap_inner(self))

int lode_wrap_stat(struct lode_store *self, const char *key, struct lode_store_stat *out,
                   struct lode_err *err)
{
    return INNER->stat(lode_wrap_inner(self), key, out, err);
}

int lode_wrap_read(struct lode_store *self, const struct lode_store_range *ranges, size_t n,
                   lode_store_read_done *done, void *arg, struct lode_store_read **out,
                   struct lode_err *err)
{
    return INNER->read(lode_wrap_inner(self), ranges, n, done, arg, out, err);
}

int lode_wrap_write_begin(struct lode_store *self, const char *key,
                          const struct lode_store_write_opts *opts, struct lode_store_write **out,
                          struct lode_err *err)
{
    return INNER->write_begin(lode_wrap_inner(self), key, opts, out, err);
}

int lode_wrap_unfinished(struct lode_store *self, const char *dir,
                         struct lode_store_unfinished_list *out, struct lode_err *err)
{
    return INNER->unfinished(lode_wrap_inner(self), dir, out, err);
}

int lode_wrap_discard(struct lode_store *self, const char *key, const char *id,
                      struct lode_err *err)
{
    return INNER->discard(lode_wrap_inner(self), key, id, err);
}

int lode_wrap_open_local(struct lode_store *self, const char *key, int *fd, struct lode_err *err)
{
    return INNER->open_local(lode_wrap_inner(self), key, fd, err);
}

int lode_wrap_list(struct lode_store *self, const char *dir, const char *after, size_t limit,
                   struct lode_store_page *out, struct lode_err *err)
{
    return INNER->list(lode_wrap_inner(self), dir, after, limit, out, err);
}

int lode_wrap_remove(struct lode_store *self, const char *key, struct lode_err *err)
{
    return INNER->remove(lode_wrap_inner(self), key, err);
}

int lode_wrap_rename_dir(struct lode_store *self, const char *from, const char *to,
                         struct lode_err *err)
{
    return INNER->rename_dir(lode_wrap_inner(self), from, to, err);
}

int lode_wrap_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
                   struct lode_err *err)
{
    return INNER->copy(lode_wrap_inner(self), from, to, if_absent, err);
}

int lode_wrap_placement(struct lode_store *self, const char *key, struct lode_store_placement *out,
                        struct lode_err *err)
{
    return INNER->placement(lode_wrap_inner(self), key, out, err);
}

int lode_wrap_space(struct lode_store *self, struct lode_store_space *out, struct lode_err *err)
{
    return INNER->space(lode_wrap_inner(self), out, err);
}

int lode_wrap_write_parts(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                          struct lode_err *err)
{
    return lode_store_write_parts(((struct lode_wrap_write *)(void *)write)->inner, parts, n, err);
}

/* ---- relay ---- */

int lode_relay_init(struct lode_relay *self, const struct lode_store_range *ranges, size_t n,
                    lode_store_read_done *done, void *arg, struct lode_err *err)
{
    *self = (struct lode_relay){.ranges = ranges, .n = n, .done = done, .arg = arg};
    self->state = lode_calloc(n, sizeof *self->state);
    if (!self->state)
        return lode_err_nomem(err, "a read");
    for (size_t i = 0; i < n; i++)
        self->state[i].left = ranges[i].len;
    pthread_mutex_init(&self->lock, NULL);
    return 0;
}

void lode_relay_release(struct lode_relay *self)
{
    for (size_t i = 0; i < self->n; i++) {
        if (self->state[i].failure != &self->first)
            lode_free((void *)(uintptr_t)self->state[i].failure);
    }
    lode_free(self->state);
    pthread_mutex_destroy(&self->lock);
}

/* Ends `len` bytes; tells the failure when they were the last. Called with the lock held, which
 * it releases. */
static void end_bytes(struct lode_relay *self, size_t i, size_t len)
{
    struct lode_relay_range *state = &self->state[i];
    state->left -= len;
    const struct lode_err *failure = state->left == 0 ? state->failure : NULL;
    pthread_mutex_unlock(&self->lock);
    if (failure)
        self->done(self->arg, &self->ranges[i], 0, self->ranges[i].len, failure);
}

void lode_relay_ok(struct lode_relay *self, size_t i, size_t from, size_t len)
{
    pthread_mutex_lock(&self->lock);
    self->state[i].begun += len;
    bool failed = self->state[i].failure;
    pthread_mutex_unlock(&self->lock);
    if (!failed)
        self->done(self->arg, &self->ranges[i], from, len, NULL);
    pthread_mutex_lock(&self->lock);
    end_bytes(self, i, len);
}

/* Called with the lock held, which it releases. */
static void fail_bytes(struct lode_relay *self, size_t i, size_t len, const struct lode_err *err)
{
    lode_err_keep_first(&self->first, err);
    if (!self->state[i].failure) {
        const struct lode_err *own = lode_memdup(err, sizeof *err);
        self->state[i].failure = own ? own : &self->first;
    }
    self->state[i].begun += len;
    end_bytes(self, i, len);
}

void lode_relay_fail(struct lode_relay *self, size_t i, size_t len, const struct lode_err *err)
{
    pthread_mutex_lock(&self->lock);
    if (len > 0)
        fail_bytes(self, i, len, err);
    else
        pthread_mutex_unlock(&self->lock);
}

void lode_relay_fail_rest(struct lode_relay *self, size_t i, const struct lode_err *err)
{
    pthread_mutex_lock(&self->lock);
    size_t rest = self->ranges[i].len - self->state[i].begun;
    if (rest > 0)
        fail_bytes(self, i, rest, err);
    else
        pthread_mutex_unlock(&self->lock);
}

bool lode_relay_has_failed(struct lode_relay *self, size_t i)
{
    pthread_mutex_lock(&self->lock);
    bool failed = self->state[i].failure;
    pthread_mutex_unlock(&self->lock);
    return failed;
}

int lode_relay_result(struct lode_relay *self, struct lode_err *err)
{
    pthread_mutex_lock(&self->lock);
    int r = self->first.code;
    if (r < 0 && err)
        *err = self->first;
    pthread_mutex_unlock(&self->lock);
    return r;
}
