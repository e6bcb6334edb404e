/* Remembered checks: which blocks of a file matched the manifest, for exactly this file (device,
 * inode, size, both times) and this manifest. What is remembered is sent by sendfile; what is not
 * is read and hashed as it goes.
 *
 * A bit a block, set by whichever request checked it, so that readers of ranges together make a
 * file known. In memory only: after a start everything is checked once again. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/size.h"
#include "server/rooms.h"
#include <string.h>
#include <xxhash.h>

#define BUCKETS 4096
#define FILES_MAX 65536
#define BITS_MAX (64u << 20) /* bytes of all bitmaps together */
#define SETTLED_MS 2000      /* since the last change of the file, as far as its times tell */

struct known {
    struct known *next;
    struct lode_store_stat stat;
    uint64_t hash;
    size_t n_blocks;
    uint64_t bits[];
};

struct srv_checked {
    pthread_mutex_t lock;
    struct known *buckets[BUCKETS]; /* guarded by lock */
    size_t n, bytes;                /* guarded by lock */
};

int srv_checked_new(struct srv_checked **out, struct lode_err *err)
{
    struct srv_checked *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the remembered checks");
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    return 0;
}

static void clear(struct srv_checked *self)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (self->buckets[i]) {
            struct known *k = self->buckets[i];
            self->buckets[i] = k->next;
            lode_free(k);
        }
    }
    self->n = self->bytes = 0;
}

void srv_checked_free(struct srv_checked *self)
{
    if (!self)
        return;
    clear(self);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

bool srv_identity_same(const struct lode_store_stat *a, const struct lode_store_stat *b)
{
    return a->inode && a->inode == b->inode && a->device == b->device && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

static uint64_t hash_of(const struct srv_identity *id)
{
    uint64_t seed = XXH3_64bits_withSeed(id->digest, strlen(id->digest), id->stat.inode);
    return XXH3_64bits_withSeed(id->path, strlen(id->path), seed);
}

static struct known *find(struct srv_checked *self, const struct srv_identity *id, uint64_t hash)
{
    struct known *k = self->buckets[hash % BUCKETS];
    while (k && (k->hash != hash || k->n_blocks != id->n_blocks ||
                 !srv_identity_same(&k->stat, &id->stat)))
        k = k->next;
    return k;
}

static bool all_set(const struct known *k, size_t first, size_t last)
{
    for (size_t i = first; i <= last; i++)
        if (!(k->bits[i / 64] >> i % 64 & 1))
            return false;
    return true;
}

bool srv_checked_covers(struct srv_checked *self, const struct srv_identity *id, size_t first,
                        size_t last)
{
    uint64_t hash = hash_of(id);
    pthread_mutex_lock(&self->lock);
    const struct known *k = find(self, id, hash);
    bool covers = k && last < k->n_blocks && all_set(k, first, last);
    pthread_mutex_unlock(&self->lock);
    return covers;
}

static bool settled(const struct lode_store_stat *stat)
{
    int64_t before = (lode_now_ms() - SETTLED_MS) * 1000000;
    return stat->inode && stat->mtime_ns < before && stat->ctime_ns < before;
}

static struct known *make(struct srv_checked *self, const struct srv_identity *id, uint64_t hash)
{
    size_t bytes = lode_div_up(id->n_blocks, 64) * sizeof(uint64_t);
    if (bytes > BITS_MAX)
        return NULL;
    if (self->n >= FILES_MAX || self->bytes + bytes > BITS_MAX)
        clear(self);
    struct known *k = lode_zalloc(sizeof(*k) + bytes);
    if (!k)
        return NULL;
    *k = (struct known){.next = self->buckets[hash % BUCKETS],
                        .stat = id->stat,
                        .hash = hash,
                        .n_blocks = id->n_blocks};
    self->buckets[hash % BUCKETS] = k;
    self->n++;
    self->bytes += bytes;
    return k;
}

void srv_checked_add(struct srv_checked *self, const struct srv_identity *id, size_t block)
{
    if (block >= id->n_blocks || !settled(&id->stat))
        return;
    uint64_t hash = hash_of(id);
    pthread_mutex_lock(&self->lock);
    struct known *k = find(self, id, hash);
    k = k ? k : make(self, id, hash);
    if (k)
        k->bits[block / 64] |= 1ull << block % 64;
    pthread_mutex_unlock(&self->lock);
}
