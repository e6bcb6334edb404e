/* Manifests by digest: see catalog/manifest_cache.h. */
#include "catalog/manifest_cache.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/cache_dir.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/sys.h"

#define KEPT 64                    /* manifests in memory */
#define KEPT_SIZE_MAX (256u << 10) /* bytes of one that is kept */
#define MANIFEST_MAX (2ull << 30)  /* bytes of any manifest */

struct slot {
    struct lode_sha256 digest;
    struct lode_manifest *manifest; /* NULL: free */
    uint64_t used;                  /* clock of the last use */
};

struct lode_manifest_cache {
    pthread_mutex_t lock; /* guards slots and clock */
    struct slot slots[KEPT];
    uint64_t clock;
};

int lode_manifest_cache_new(struct lode_manifest_cache **out, struct lode_err *err)
{
    struct lode_manifest_cache *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a cache of manifests");
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    return 0;
}

void lode_manifest_cache_free(struct lode_manifest_cache *self)
{
    if (!self)
        return;
    for (unsigned i = 0; i < KEPT; i++)
        lode_manifest_free(self->slots[i].manifest);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

static struct lode_manifest *look(struct lode_manifest_cache *self,
                                  const struct lode_sha256 *digest)
{
    struct lode_manifest *found = NULL;
    pthread_mutex_lock(&self->lock);
    for (unsigned i = 0; i < KEPT && !found; i++) {
        struct slot *s = &self->slots[i];
        if (!s->manifest || memcmp(&s->digest, digest, sizeof *digest) != 0)
            continue;
        s->used = ++self->clock;
        found = lode_manifest_ref(s->manifest);
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}

static void keep(struct lode_manifest_cache *self, const struct lode_sha256 *digest,
                 struct lode_manifest *m)
{
    pthread_mutex_lock(&self->lock);
    struct slot *oldest = &self->slots[0];
    for (unsigned i = 1; i < KEPT; i++) {
        if (self->slots[i].used < oldest->used)
            oldest = &self->slots[i];
    }
    struct lode_manifest *out = oldest->manifest;
    *oldest = (struct slot){*digest, lode_manifest_ref(m), ++self->clock};
    pthread_mutex_unlock(&self->lock);
    lode_manifest_free(out);
}

/* ---- files ---- */

static bool matches(const void *bytes, size_t len, const struct lode_sha256 *want)
{
    struct lode_sha256 got;
    return lode_sha256_of(bytes, len, &got, NULL) == 0 && memcmp(&got, want, sizeof got) == 0;
}

static char *file_of(const char *digest, bool make)
{
    _cleanup_free_ char *dir = lode_cache_dir("manifests", make);
    return dir ? lode_asprintf("%s/%s", dir, digest) : NULL;
}

static void write_file(const char *digest, const struct lode_buf *bytes)
{
    _cleanup_free_ char *path = file_of(digest, true);
    uint64_t random = 0;
    if (!path || lode_sys->getrandom(&random, sizeof random) != sizeof random)
        return;
    _cleanup_free_ char *temp = lode_asprintf("%s.%016llx", path, (unsigned long long)random);
    if (!temp)
        return;
    int fd = lode_sys->openat(AT_FDCWD, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    bool good = lode_write_full(fd, bytes->data, bytes->len) == 0;
    lode_sys->close(fd);
    if (!good || lode_sys->renameat2(AT_FDCWD, temp, AT_FDCWD, path, 0) < 0)
        lode_sys->unlinkat(AT_FDCWD, temp, 0);
}

/* ---- reading ---- */

static int parse(const struct lode_version *v, const void *bytes, size_t len,
                 struct lode_manifest **out, struct lode_err *err)
{
    _cleanup_free_ char *what = lode_asprintf("%s@%s", v->name, v->version);
    return what ? lode_manifest_parse(bytes, len, what, out, err)
                : lode_err_nomem(err, "a manifest");
}

/* NOT_FOUND when the cache has no file that is good. */
static int from_file(const struct lode_version *v, const struct lode_sha256 *digest,
                     struct lode_manifest **out)
{
    _cleanup_free_ char *path = file_of(v->digest, false);
    size_t len;
    _cleanup_free_ char *bytes =
        path ? lode_read_file(AT_FDCWD, path, (size_t)v->manifest_size, &len) : NULL;
    if (!bytes || !matches(bytes, len, digest))
        return LODE_NOT_FOUND;
    return parse(v, bytes, len, out, NULL);
}

static int from_store(void *store, const struct lode_version *v, struct lode_buf *into,
                      struct lode_err *err)
{
    _cleanup_free_ char *key = lode_asprintf("%s/" LODE_MANIFEST_KEY, v->directory);
    if (!key)
        return lode_err_nomem(err, "a manifest");
    int r = lode_store_get(store, key, into, err);
    if (r == LODE_NOT_FOUND)
        return lode_err_set(err, LODE_CORRUPT, "the manifest of %s@%s is gone: no %s in %s",
                            v->name, v->version, key, lode_store_url(store));
    return r;
}

static int fetch_and_check(lode_manifest_fetch *fetch, void *arg, const struct lode_version *v,
                           const struct lode_sha256 *digest, struct lode_manifest **out,
                           struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf bytes = LODE_BUF_INIT((size_t)v->manifest_size + 1);
    int r = fetch(arg, v, &bytes, err);
    if (r == LODE_LIMIT || (r == 0 && !matches(bytes.data, bytes.len, digest)))
        return lode_err_set(err, LODE_CORRUPT,
                            "the manifest of %s@%s does not match its digest: %s/" LODE_MANIFEST_KEY
                            " was changed",
                            v->name, v->version, v->directory);
    r = r < 0 ? r : parse(v, bytes.data, bytes.len, out, err);
    if (r == 0)
        write_file(v->digest, &bytes);
    return r;
}

int lode_manifest_cache_get(struct lode_manifest_cache *self, struct lode_store *store,
                            const struct lode_version *v, struct lode_manifest **out,
                            struct lode_err *err)
{
    return lode_manifest_cache_fetch(self, from_store, store, v, out, err);
}

int lode_manifest_cache_fetch(struct lode_manifest_cache *self, lode_manifest_fetch *fetch,
                              void *arg, const struct lode_version *v, struct lode_manifest **out,
                              struct lode_err *err)
{
    struct lode_sha256 digest;
    if (!lode_sha256_parse(v->digest, &digest) || v->manifest_size > MANIFEST_MAX)
        return lode_err_set(err, LODE_CORRUPT, "the record of %s@%s has no sound digest", v->name,
                            v->version);
    struct lode_manifest *m = look(self, &digest);
    bool fresh = !m;
    int r = m ? 0 : from_file(v, &digest, &m);
    if (r < 0)
        r = fetch_and_check(fetch, arg, v, &digest, &m, err);
    if (r < 0)
        return r;
    if (v->manifest_size <= KEPT_SIZE_MAX && fresh)
        keep(self, &digest, m);
    *out = m;
    return 0;
}
