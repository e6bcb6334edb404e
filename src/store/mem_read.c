/* Reading of the mem store.
 *
 * Plain: every range is done, in order, before read() returns. Scrambled: each range is cut into
 * random pieces, all pieces of the batch are shuffled, and threads deliver them after small
 * random delays; so a caller that relies on order, wholeness or thread of the callbacks fails
 * here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "store/mem.h"
#include "store/util.h"

#define THREADS 3
#define PIECES_MAX 5    /* of one range */
#define DELAY_ONE_IN 16 /* pieces wait a millisecond */

struct piece {
    const struct lode_store_range *range;
    struct mem_blob *blob; /* a reference; NULL for one that fails */
    size_t from, len;
    struct lode_err *failure; /* owned; NULL if it succeeds */
};

struct mem_read {
    const struct lode_store_ops *ops;
    struct mem_read *next;     /* in the queue of batches */
    struct mem_scramble *pool; /* NULL: it was all done at once */
    lode_store_read_done *done;
    void *arg;
    struct piece *pieces;
    size_t n, cap;
    size_t taken, finished; /* pieces; guarded by the pool's lock */
    struct lode_err first;
};

struct mem_scramble {
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    struct mem_read *queue; /* batches with pieces that no thread has taken */
    uint64_t seed;
    bool stop;
    pthread_t threads[THREADS];
    size_t n_threads;
};

/* splitmix64: the same seed gives the same cuts and order, whatever the threads then make of
 * them. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* The bytes of a range, referenced, or the range's own failure. */
static struct mem_blob *find_bytes(struct mem_store *self, const struct lode_store_range *range,
                                   struct lode_err *err)
{
    pthread_mutex_lock(&self->tree->lock);
    const struct mem_node *node = mem_find(self->tree, range->key);
    struct mem_blob *blob = node ? mem_blob_ref(node->blob) : NULL;
    pthread_mutex_unlock(&self->tree->lock);
    if (!blob) {
        lode_err_set(err, LODE_NOT_FOUND, "%s is not in %s", lode_q(range->key), self->base.url);
        return NULL;
    }
    if (range->offset <= blob->size && range->len <= blob->size - range->offset)
        return blob;
    lode_err_set(err, LODE_IO, "cannot read %zu bytes at %" PRIu64 " of %s: it ends at %zu",
                 range->len, range->offset, lode_q(range->key), blob->size);
    mem_blob_unref(blob);
    return NULL;
}

static void deliver(struct mem_read *read, const struct piece *piece)
{
    if (piece->blob)
        memcpy((char *)piece->range->into + piece->from,
               piece->blob->data + piece->range->offset + piece->from, piece->len);
    read->done(read->arg, piece->range, piece->from, piece->len, piece->failure);
}

static void piece_release(struct piece *piece)
{
    mem_blob_unref(piece->blob);
    lode_free(piece->failure);
}

static void read_free(struct mem_read *read)
{
    for (size_t i = 0; i < read->n; i++)
        piece_release(&read->pieces[i]);
    lode_free(read->pieces);
    lode_free(read);
}

/* ---- plain ---- */

static void read_at_once(struct mem_store *self, struct mem_read *read,
                         const struct lode_store_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct lode_err failure = {0};
        struct piece piece = {.range = &ranges[i], .len = ranges[i].len};
        piece.blob = find_bytes(self, &ranges[i], &failure);
        if (!piece.blob)
            piece.failure = &failure;
        lode_err_keep_first(&read->first, &failure);
        deliver(read, &piece);
        mem_blob_unref(piece.blob);
    }
}

/* ---- scrambled ---- */

static int add_piece(struct mem_read *read, struct piece piece, struct lode_err *err)
{
    if (lode_grow((void **)&read->pieces, &read->cap, read->n + 1, sizeof *read->pieces) < 0) {
        piece_release(&piece);
        return lode_err_nomem(err, "a read");
    }
    read->pieces[read->n++] = piece;
    return 0;
}

static int add_failure(struct mem_read *read, const struct lode_store_range *range,
                       const struct lode_err *failure, struct lode_err *err)
{
    struct lode_err *own = lode_memdup(failure, sizeof *failure);
    if (!own)
        return lode_err_nomem(err, "a read");
    lode_err_keep_first(&read->first, failure);
    return add_piece(read, (struct piece){.range = range, .len = range->len, .failure = own}, err);
}

static int add_range(struct mem_store *self, struct mem_read *read,
                     const struct lode_store_range *range, uint64_t *state, struct lode_err *err)
{
    struct lode_err failure = {0};
    struct mem_blob *blob = find_bytes(self, range, &failure);
    if (!blob)
        return add_failure(read, range, &failure, err);
    size_t pieces = 1 + random_next(state) % PIECES_MAX;
    int r = 0;
    for (size_t at = 0; r == 0 && at < range->len; pieces--) {
        size_t left = range->len - at;
        size_t len = pieces <= 1 ? left : 1 + random_next(state) % left;
        r = add_piece(read, (struct piece){range, mem_blob_ref(blob), at, len, NULL}, err);
        at += len;
    }
    mem_blob_unref(blob);
    return r;
}

static void shuffle(struct mem_read *read, uint64_t *state)
{
    for (size_t i = read->n; i > 1; i--) {
        size_t k = random_next(state) % i;
        struct piece piece = read->pieces[i - 1];
        read->pieces[i - 1] = read->pieces[k];
        read->pieces[k] = piece;
    }
}

/* Takes the next piece of the first batch; called with the lock held. */
static struct mem_read *take_piece(struct mem_scramble *pool, struct piece **piece, bool *delay)
{
    struct mem_read *read = pool->queue;
    *piece = &read->pieces[read->taken++];
    if (read->taken == read->n)
        pool->queue = read->next;
    *delay = random_next(&pool->seed) % DELAY_ONE_IN == 0;
    return read;
}

static void *deliver_pieces(void *arg)
{
    struct mem_scramble *pool = arg;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->queue && !pool->stop)
            pthread_cond_wait(&pool->work, &pool->lock);
        if (pool->stop)
            break;
        struct piece *piece;
        bool delay;
        struct mem_read *read = take_piece(pool, &piece, &delay);
        pthread_mutex_unlock(&pool->lock);
        if (delay)
            lode_sleep_ms(1);
        deliver(read, piece);
        pthread_mutex_lock(&pool->lock);
        if (++read->finished == read->n)
            pthread_cond_broadcast(&pool->finished);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void mem_scramble_free(struct mem_scramble *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->finished);
    lode_free(pool);
}

int mem_scramble_new(uint64_t seed, struct mem_scramble **out, struct lode_err *err)
{
    struct mem_scramble *pool = lode_zalloc(sizeof *pool);
    if (!pool)
        return lode_err_nomem(err, "a store");
    pool->seed = seed;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->finished, NULL);
    for (; pool->n_threads < THREADS; pool->n_threads++) {
        int failed = pthread_create(&pool->threads[pool->n_threads], NULL, deliver_pieces, pool);
        if (failed) {
            mem_scramble_free(pool);
            return lode_err_num(err, failed, "cannot start a thread");
        }
    }
    *out = pool;
    return 0;
}

static void enqueue(struct mem_scramble *pool, struct mem_read *read)
{
    struct mem_read **at = &pool->queue;
    while (*at)
        at = &(*at)->next;
    *at = read;
    pthread_cond_broadcast(&pool->work);
}

static int read_scrambled(struct mem_store *self, struct mem_read *read,
                          const struct lode_store_range *ranges, size_t n, struct lode_err *err)
{
    struct mem_scramble *pool = self->scramble;
    pthread_mutex_lock(&pool->lock);
    uint64_t state = random_next(&pool->seed);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < n; i++) {
        int r = add_range(self, read, &ranges[i], &state, err);
        if (r < 0)
            return r;
    }
    shuffle(read, &state);
    read->pool = pool;
    pthread_mutex_lock(&pool->lock);
    if (read->n > 0)
        enqueue(pool, read);
    pthread_mutex_unlock(&pool->lock);
    return 0;
}

/* ---- the operations ---- */

int mem_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
             lode_store_read_done *done, void *arg, struct lode_store_read **out,
             struct lode_err *err)
{
    struct mem_store *self = mem_of(store);
    struct mem_read *read = lode_zalloc(sizeof *read);
    if (!read)
        return lode_err_nomem(err, "a read");
    read->ops = &lode_store_mem_ops;
    read->done = done;
    read->arg = arg;
    if (self->scramble) {
        int r = read_scrambled(self, read, ranges, n, err);
        if (r < 0) {
            read_free(read);
            return r;
        }
    } else {
        read_at_once(self, read, ranges, n);
    }
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

static void wait_finished(struct mem_read *read)
{
    if (!read->pool)
        return;
    pthread_mutex_lock(&read->pool->lock);
    while (read->finished < read->n)
        pthread_cond_wait(&read->pool->finished, &read->pool->lock);
    pthread_mutex_unlock(&read->pool->lock);
}

int mem_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct mem_read *read = (struct mem_read *)(void *)handle;
    wait_finished(read);
    int r = read->first.code;
    if (r < 0 && err)
        *err = read->first;
    read_free(read);
    return r;
}

/* Pieces that no thread has taken are dropped. */
static void drop_rest(struct mem_read *read)
{
    struct mem_scramble *pool = read->pool;
    pthread_mutex_lock(&pool->lock);
    for (struct mem_read **at = &pool->queue; *at; at = &(*at)->next) {
        if (*at == read) {
            *at = read->next;
            break;
        }
    }
    read->finished += read->n - read->taken;
    read->taken = read->n;
    pthread_mutex_unlock(&pool->lock);
}

void mem_read_cancel(struct lode_store_read *handle)
{
    struct mem_read *read = (struct mem_read *)(void *)handle;
    if (read->pool)
        drop_rest(read);
    wait_finished(read);
    read_free(read);
}
