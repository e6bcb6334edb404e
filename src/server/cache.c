/* Answers to "which version is name@alias", kept ready to send.
 *
 * An answer stands until something about its model changes: follow.c drops a model's answers when
 * the coord tells of a change, and a write through this server drops them before it is
 * acknowledged, so that whoever wrote reads what was written. An answer made from a read that began
 * before such a drop is not kept: `put` compares the stamp taken before the read with that of the
 * model's last drop. Bounded: a full shard starts again from nothing.
 *
 * Sharded by model, so that event threads seldom meet; a shard's lock is never held across anything
 * that waits. */
#include "base/mem.h"
#include "server/srv.h"
#include <string.h>
#include <xxhash.h>

#define SHARDS 64
#define BUCKETS 1024     /* of a shard */
#define ENTRIES_MAX 4096 /* of a shard: 262,144 answers in all */
#define KEY_MAX (3 * LODE_NAME_MAX + 8)

struct entry {
    struct entry *next;
    uint64_t model; /* hash of ns and name */
    uint64_t key;   /* hash of all three */
    struct MHD_Response *response;
    size_t bytes;
    size_t len;
    char text[]; /* "ns\0name\0rev" */
};

struct shard {
    pthread_mutex_t lock;
    struct entry *buckets[BUCKETS];
    size_t n;
    uint64_t dropped; /* stamp of the last drop in this shard */
} __attribute__((aligned(64)));

struct srv_cache {
    atomic_uint_least64_t stamp; /* rises with every drop */
    struct shard shards[SHARDS];
};

struct key {
    char text[KEY_MAX];
    size_t len;
    uint64_t model, hash;
};

static void make_key(struct key *key, const char *ns, const char *name, const char *rev)
{
    size_t a = strlen(ns), b = strlen(name), c = rev ? strlen(rev) : 0;
    memcpy(key->text, ns, a + 1);
    memcpy(key->text + a + 1, name, b + 1);
    memcpy(key->text + a + b + 2, rev ? rev : "", c);
    key->len = a + b + 2 + c;
    key->model = XXH3_64bits(key->text, a + b + 2);
    key->hash = XXH3_64bits(key->text, key->len);
}

/* Names longer than the rule allows find nothing anywhere. */
static bool fits(const char *ns, const char *name, const char *rev)
{
    return strlen(ns) <= LODE_NAME_MAX && strlen(name) <= LODE_NAME_MAX &&
           (!rev || strlen(rev) <= LODE_NAME_MAX);
}

static struct shard *shard_of(struct srv_cache *self, const struct key *key)
{
    return &self->shards[key->model % SHARDS];
}

int srv_cache_new(struct srv_cache **out, struct lode_err *err)
{
    struct srv_cache *self = lode_alloc_aligned(64, sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the cache of answers");
    memset(self, 0, sizeof(*self));
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&self->shards[i].lock, NULL);
    *out = self;
    return 0;
}

static void entry_free(struct entry *e)
{
    MHD_destroy_response(e->response);
    lode_free(e);
}

static void shard_clear(struct shard *shard)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (shard->buckets[i]) {
            struct entry *e = shard->buckets[i];
            shard->buckets[i] = e->next;
            entry_free(e);
        }
    }
    shard->n = 0;
}

void srv_cache_free(struct srv_cache *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        shard_clear(&self->shards[i]);
        pthread_mutex_destroy(&self->shards[i].lock);
    }
    lode_free(self);
}

/* All answers of a model lie in one bucket chain only if their revisions hash alike, so buckets go
 * by model. */
static struct entry **bucket_of(struct shard *shard, const struct key *key)
{
    return &shard->buckets[key->model / SHARDS % BUCKETS];
}

static struct entry *find(struct shard *shard, const struct key *key)
{
    struct entry *e = *bucket_of(shard, key);
    while (e &&
           (e->key != key->hash || e->len != key->len || memcmp(e->text, key->text, key->len) != 0))
        e = e->next;
    return e;
}

/* libmicrohttpd offers no reference of its own to take, so the answer is queued while the shard is
 * locked: a few stores, nothing that waits. */
bool srv_cache_give(struct srv_cache *self, const char *ns, const char *name, const char *rev,
                    srv_cache_use *use, void *arg)
{
    struct key key;
    if (!fits(ns, name, rev))
        return false;
    make_key(&key, ns, name, rev);
    struct shard *shard = shard_of(self, &key);
    pthread_mutex_lock(&shard->lock);
    const struct entry *e = find(shard, &key);
    if (e)
        use(arg, e->response, e->bytes);
    pthread_mutex_unlock(&shard->lock);
    return e != NULL;
}

uint64_t srv_cache_stamp(struct srv_cache *self)
{
    return atomic_load(&self->stamp);
}

static struct entry *entry_new(const struct key *key, struct MHD_Response *response, size_t bytes)
{
    struct entry *e = lode_alloc(sizeof(*e) + key->len);
    if (!e)
        return NULL;
    *e = (struct entry){.model = key->model,
                        .key = key->hash,
                        .response = response,
                        .bytes = bytes,
                        .len = key->len};
    memcpy(e->text, key->text, key->len);
    return e;
}

void srv_cache_put(struct srv_cache *self, uint64_t stamp, const char *ns, const char *name,
                   const char *rev, struct MHD_Response *response, size_t bytes)
{
    struct key key;
    struct entry *e = NULL;
    if (fits(ns, name, rev)) {
        make_key(&key, ns, name, rev);
        e = entry_new(&key, response, bytes);
    }
    if (!e) {
        MHD_destroy_response(response);
        return;
    }
    struct shard *shard = shard_of(self, &key);
    pthread_mutex_lock(&shard->lock);
    bool keep = shard->dropped <= stamp && !find(shard, &key);
    if (keep) {
        if (shard->n >= ENTRIES_MAX)
            shard_clear(shard);
        struct entry **bucket = bucket_of(shard, &key);
        e->next = *bucket;
        *bucket = e;
        shard->n++;
    }
    pthread_mutex_unlock(&shard->lock);
    if (!keep)
        entry_free(e);
}

void srv_cache_drop(struct srv_cache *self, const char *ns, const char *name)
{
    struct key key;
    if (!fits(ns, name, NULL))
        return;
    make_key(&key, ns, name, NULL);
    struct shard *shard = shard_of(self, &key);
    pthread_mutex_lock(&shard->lock);
    shard->dropped = atomic_fetch_add(&self->stamp, 1) + 1;
    for (struct entry **at = bucket_of(shard, &key); *at;) {
        struct entry *e = *at;
        if (e->model != key.model) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        shard->n--;
        entry_free(e);
    }
    pthread_mutex_unlock(&shard->lock);
}

void srv_cache_drop_all(struct srv_cache *self)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &self->shards[i];
        pthread_mutex_lock(&shard->lock);
        shard->dropped = atomic_fetch_add(&self->stamp, 1) + 1;
        shard_clear(shard);
        pthread_mutex_unlock(&shard->lock);
    }
}
