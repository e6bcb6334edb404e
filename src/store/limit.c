/* The limit decorator: bounds the rate of bytes, and of reads the bytes and requests in flight.
 *
 * Reads are cut into chunks that wait in a queue; one thread starts each chunk when the bounds
 * allow it, taking the batches in turn, so that a long batch does not starve a short one.
 * Writers wait in write_part, in the caller's thread. A rate is kept by a clock that each
 * transfer pushes on: there are no bursts to save up.
 *
 * Of an object that is replaced while it is read, a range longer than a chunk may hold bytes of
 * both. A bound that is smaller than one chunk makes smaller chunks. Without any bound on reads
 * they pass straight through.
 */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "store/util.h"
#include "store/wrap.h"

#define CHUNK_MAX (4u << 20)
#define CHUNK_MIN (16u << 10)
#define CHUNKS_A_SECOND 20 /* of a bounded rate, so that it is smooth */

struct chunk {
    struct chunk *next; /* in the list of those that have ended */
    struct limit_read *read;
    struct lode_store_range range; /* of the inner store */
    size_t i, base;                /* place in the caller's */
    /* bytes that came; guarded by the store's lock, as the next two */
    size_t got;
    size_t told; /* of them, those that the caller has been told of */
    bool failed, ended;
    struct lode_store_read *inner; /* the dispatcher's */
};

struct limit_read {
    const struct lode_store_ops *ops;
    struct limit_store *store;
    struct lode_relay relay;
    struct limit_read *next;  /* in the queue */
    size_t at_range, at_byte; /* what is started next */
    size_t chunks;            /* started and not reaped */
    bool queued;              /* something is left to start */
};

struct limit_store {
    struct lode_wrap wrap;
    struct lode_limit_policy policy;
    size_t chunk_size;
    pthread_mutex_t lock; /* guards all below; not held over an inner operation */
    pthread_cond_t changed;
    struct limit_read *queue;
    struct chunk *ended;
    size_t in_flight_bytes;
    unsigned in_flight_ops;
    uint64_t read_free_at, write_free_at; /* lode_mono_ns() from when on the next byte may go */
    bool stop, has_thread;
    pthread_t thread;
};

struct limit_write {
    struct lode_wrap_write wrap;
    struct limit_store *store;
};

static const struct lode_store_ops limit_ops;

static struct limit_store *limit_of(struct lode_store *self)
{
    return (struct limit_store *)(void *)self;
}

static bool bounds_reads(const struct lode_limit_policy *policy)
{
    return policy->read_bytes_per_s || policy->in_flight_bytes || policy->in_flight_ops;
}

/* Books `len` bytes on a rate's clock and answers when they may go. */
static uint64_t book(uint64_t *free_at, uint64_t per_s, size_t len)
{
    uint64_t now = lode_mono_ns();
    uint64_t start = lode_max(now, *free_at);
    if (per_s == 0)
        return now;
    *free_at = start + (uint64_t)((double)len * 1e9 / (double)per_s);
    return start;
}

/* ---- the dispatcher ---- */

static bool has_room(const struct limit_store *self, size_t len)
{
    const struct lode_limit_policy *policy = &self->policy;
    if (LODE_PLANTED(store_limit_ignores_memory))
        return true;
    if (policy->in_flight_ops && self->in_flight_ops >= policy->in_flight_ops)
        return false;
    return !policy->in_flight_bytes || self->in_flight_bytes + len <= policy->in_flight_bytes;
}

static size_t next_len(const struct limit_read *read)
{
    const struct lode_store_range *range = &read->relay.ranges[read->at_range];
    return lode_min(range->len - read->at_byte, read->store->chunk_size);
}

/* The chunk after the last one started; the batch leaves the queue with its last, else it goes
 * to the end. */
static void advance(struct limit_store *self, struct limit_read *read, size_t len)
{
    read->at_byte += len;
    if (read->at_byte == read->relay.ranges[read->at_range].len) {
        read->at_range++;
        read->at_byte = 0;
    }
    self->queue = read->next;
    read->next = NULL;
    read->queued = read->at_range < read->relay.n;
    if (!read->queued)
        return;
    struct limit_read **end = &self->queue;
    while (*end)
        end = &(*end)->next;
    *end = read;
}

/* Ends a chunk of which nothing is on its way. Called with the lock held. */
static void end_chunk(struct limit_store *self, struct chunk *chunk)
{
    if (chunk->ended ||
        (chunk->failed ? chunk->told != chunk->got : chunk->told != chunk->range.len))
        return;
    chunk->ended = true;
    self->in_flight_bytes -= chunk->range.len;
    self->in_flight_ops--;
    chunk->next = self->ended;
    self->ended = chunk;
    pthread_cond_broadcast(&self->changed);
}

static void arrived(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                    const struct lode_err *failure)
{
    struct chunk *chunk = arg;
    struct limit_store *self = chunk->read->store;
    pthread_mutex_lock(&self->lock);
    size_t missing = range->len - chunk->got;
    chunk->got += failure ? 0 : len;
    pthread_mutex_unlock(&self->lock);
    if (failure)
        lode_relay_fail(&chunk->read->relay, chunk->i, missing, failure);
    else
        lode_relay_ok(&chunk->read->relay, chunk->i, chunk->base + from, len);
    pthread_mutex_lock(&self->lock);
    chunk->told += failure ? 0 : len;
    chunk->failed = chunk->failed || failure;
    end_chunk(self, chunk);
    pthread_mutex_unlock(&self->lock);
}

/* Takes the next chunk of the queue's first batch; NULL when out of memory. Called with the lock
 * held. */
static struct chunk *take_chunk(struct limit_store *self)
{
    struct limit_read *read = self->queue;
    const struct lode_store_range *range = &read->relay.ranges[read->at_range];
    size_t len = next_len(read);
    struct chunk *chunk = lode_zalloc(sizeof *chunk);
    if (!chunk)
        return NULL;
    chunk->read = read;
    chunk->i = read->at_range;
    chunk->base = read->at_byte;
    chunk->range = (struct lode_store_range){range->key, range->offset + read->at_byte, len,
                                             (char *)range->into + read->at_byte};
    self->in_flight_bytes += len;
    self->in_flight_ops++;
    read->chunks++;
    advance(self, read, len);
    return chunk;
}

static void start_chunk(struct limit_store *self, struct chunk *chunk)
{
    struct lode_err failure = {0};
    if (lode_wrap_read((struct lode_store *)(void *)self, &chunk->range, 1, arrived, chunk,
                       &chunk->inner, &failure) < 0)
        arrived(chunk, &chunk->range, 0, chunk->range.len, &failure);
}

/* Ends the inner reads of chunks that are done, and frees them. Called and left with the lock
 * held. */
static void reap(struct limit_store *self)
{
    while (self->ended) {
        struct chunk *chunk = self->ended;
        self->ended = chunk->next;
        pthread_mutex_unlock(&self->lock);
        int inner = chunk->inner ? lode_store_read_wait(chunk->inner, NULL) : 0;
        (void)inner; /* its failure came through the relay */
        pthread_mutex_lock(&self->lock);
        chunk->read->chunks--;
        lode_free(chunk);
        pthread_cond_broadcast(&self->changed);
    }
}

/* Out of memory: what is left of the batch fails. Called and left with the lock held. */
static void fail_batch(struct limit_store *self)
{
    struct limit_read *read = self->queue;
    struct lode_err failure;
    self->queue = read->next;
    read->chunks++; /* so that nobody frees it meanwhile */
    read->queued = false;
    pthread_mutex_unlock(&self->lock);
    lode_err_nomem(&failure, "a read");
    for (; read->at_range < read->relay.n; read->at_range++)
        lode_relay_fail_rest(&read->relay, read->at_range, &failure);
    pthread_mutex_lock(&self->lock);
    read->chunks--;
    pthread_cond_broadcast(&self->changed);
}

/* Starts the next chunk, or waits until one may start. Called and left with the lock held. */
static void start_next(struct limit_store *self)
{
    if (!has_room(self, next_len(self->queue))) {
        pthread_cond_wait(&self->changed, &self->lock);
        return;
    }
    if (self->policy.read_bytes_per_s && self->read_free_at > lode_mono_ns()) {
        lode_cond_wait_until(&self->changed, &self->lock, self->read_free_at);
        return;
    }
    struct chunk *chunk = take_chunk(self);
    if (!chunk) {
        fail_batch(self);
        return;
    }
    book(&self->read_free_at, self->policy.read_bytes_per_s, chunk->range.len);
    pthread_mutex_unlock(&self->lock);
    start_chunk(self, chunk);
    pthread_mutex_lock(&self->lock);
}

static void *dispatch(void *arg)
{
    struct limit_store *self = arg;
    pthread_mutex_lock(&self->lock);
    while (!self->stop) {
        reap(self);
        if (self->queue)
            start_next(self);
        else if (!self->ended)
            pthread_cond_wait(&self->changed, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* ---- operations ---- */

static int enqueue(struct limit_store *self, struct limit_read *read, struct lode_err *err)
{
    pthread_mutex_lock(&self->lock);
    int failed = self->has_thread ? 0 : pthread_create(&self->thread, NULL, dispatch, self);
    self->has_thread = failed == 0;
    if (failed == 0 && read->relay.n > 0) {
        struct limit_read **end = &self->queue;
        while (*end)
            end = &(*end)->next;
        *end = read;
        read->queued = true;
        pthread_cond_broadcast(&self->changed);
    }
    pthread_mutex_unlock(&self->lock);
    return failed ? lode_err_num(err, failed, "cannot start a thread") : 0;
}

static int limit_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
                      lode_store_read_done *done, void *arg, struct lode_store_read **out,
                      struct lode_err *err)
{
    struct limit_store *self = limit_of(store);
    if (!bounds_reads(&self->policy))
        return lode_wrap_read(store, ranges, n, done, arg, out, err);
    struct limit_read *read = lode_zalloc(sizeof *read);
    if (!read)
        return lode_err_nomem(err, "a read");
    read->ops = &limit_ops;
    read->store = self;
    int r = lode_relay_init(&read->relay, ranges, n, done, arg, err);
    if (r < 0) {
        lode_free(read);
        return r;
    }
    r = enqueue(self, read, err);
    if (r < 0) {
        lode_relay_release(&read->relay);
        lode_free(read);
        return r;
    }
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

/* Takes a batch out of the queue; chunks that are started go on. Called with the lock held. */
static void drop_rest(struct limit_store *self, struct limit_read *read)
{
    for (struct limit_read **at = &self->queue; *at; at = &(*at)->next) {
        if (*at == read) {
            *at = read->next;
            break;
        }
    }
    read->queued = false;
}

static void finish(struct limit_read *read, bool cancel)
{
    struct limit_store *self = read->store;
    pthread_mutex_lock(&self->lock);
    if (cancel)
        drop_rest(self, read);
    while (read->queued || read->chunks > 0)
        pthread_cond_wait(&self->changed, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

static int limit_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct limit_read *read = (struct limit_read *)(void *)handle;
    finish(read, false);
    int r = lode_relay_result(&read->relay, err);
    lode_relay_release(&read->relay);
    lode_free(read);
    return r;
}

static void limit_read_cancel(struct lode_store_read *handle)
{
    struct limit_read *read = (struct limit_read *)(void *)handle;
    finish(read, true);
    lode_relay_release(&read->relay);
    lode_free(read);
}

static int limit_write_begin(struct lode_store *self, const char *key,
                             const struct lode_store_write_opts *opts,
                             struct lode_store_write **out, struct lode_err *err)
{
    struct limit_write *write = lode_zalloc(sizeof *write);
    if (!write)
        return lode_err_nomem(err, "a write");
    write->wrap.ops = &limit_ops;
    write->store = limit_of(self);
    int r = lode_wrap_write_begin(self, key, opts, &write->wrap.inner, err);
    if (r < 0) {
        lode_free(write);
        return r;
    }
    *out = (struct lode_store_write *)(void *)write;
    return 0;
}

static int limit_write_part(struct lode_store_write *handle, uint32_t number, const void *data,
                            size_t len, struct lode_err *err)
{
    struct limit_write *write = (struct limit_write *)(void *)handle;
    struct limit_store *self = write->store;
    pthread_mutex_lock(&self->lock);
    uint64_t start = book(&self->write_free_at, self->policy.write_bytes_per_s, len);
    pthread_mutex_unlock(&self->lock);
    for (uint64_t now; (now = lode_mono_ns()) < start;)
        lode_sleep_ms((int64_t)((start - now) / 1000000) + 1);
    return lode_store_write_part(write->wrap.inner, number, data, len, err);
}

static int limit_write_complete(struct lode_store_write *handle, uint64_t size, bool if_absent,
                                struct lode_err *err)
{
    struct limit_write *write = (struct limit_write *)(void *)handle;
    int r = lode_store_write_complete(write->wrap.inner, size, if_absent, err);
    lode_free(write);
    return r;
}

static void limit_write_abort(struct lode_store_write *handle, bool keep)
{
    struct limit_write *write = (struct limit_write *)(void *)handle;
    lode_store_write_abort(write->wrap.inner, keep);
    lode_free(write);
}

static void limit_close(struct lode_store *store)
{
    struct limit_store *self = limit_of(store);
    pthread_mutex_lock(&self->lock);
    self->stop = true;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    if (self->has_thread)
        pthread_join(self->thread, NULL);
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&self->changed);
    lode_wrap_release(&self->wrap);
    lode_free(self);
}

static size_t chunk_size(const struct lode_limit_policy *policy)
{
    size_t size = CHUNK_MAX;
    if (policy->read_bytes_per_s)
        size = (size_t)lode_min((uint64_t)size, policy->read_bytes_per_s / CHUNKS_A_SECOND);
    size = lode_max(size, (size_t)CHUNK_MIN);
    return policy->in_flight_bytes ? lode_min(size, policy->in_flight_bytes) : size;
}

int lode_store_limit(struct lode_store *inner, const struct lode_limit_policy *policy,
                     struct lode_store **out, struct lode_err *err)
{
    struct limit_store *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a store");
    self->policy = *policy;
    self->chunk_size = chunk_size(policy);
    int r = lode_wrap_init(&self->wrap, &limit_ops, inner, err);
    if (r < 0) {
        lode_free(self);
        return r;
    }
    pthread_mutex_init(&self->lock, NULL);
    lode_cond_init(&self->changed);
    *out = (struct lode_store *)(void *)self;
    return 0;
}

static const struct lode_store_ops limit_ops = {
    .abi = LODE_STORE_ABI,
    .scheme = "limit",
    .close = limit_close,
    .stat = lode_wrap_stat,
    .read = limit_read,
    .read_wait = limit_read_wait,
    .read_cancel = limit_read_cancel,
    .write_begin = limit_write_begin,
    .write_parts = lode_wrap_write_parts,
    .write_part = limit_write_part,
    .write_complete = limit_write_complete,
    .write_abort = limit_write_abort,
    .unfinished = lode_wrap_unfinished,
    .discard = lode_wrap_discard,
    .open_local = lode_wrap_open_local,
    .list = lode_wrap_list,
    .remove = lode_wrap_remove,
    .rename_dir = lode_wrap_rename_dir,
    .copy = lode_wrap_copy,
    .placement = lode_wrap_placement,
    .space = lode_wrap_space,
};
