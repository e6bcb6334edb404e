/* The store's side of a commit: the directory goes into place, is recognised by its manifest, and
 * is looked through.
 *
 * Invariants
 *  1. Nothing is ever replaced: rename_dir refuses a name that is taken.
 *  2. The store never decides who won; it only tells whose bytes lie there. The manifest's digest,
 * which stands in the records of every attempt since it began to publish, is the proof.
 *  3. What lies in the place and is nobody's on record was not written by Lode, and is left alone.
 */
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "catalog/direct.h"

#define MANIFEST_MAX (2ull << 30) /* bytes */
#define PUBLISH_TRIES 8

static char *manifest_key(const char *directory)
{
    return lode_asprintf("%s/" LODE_MANIFEST_KEY, directory);
}

int lode_direct_digest_at(struct lode_direct *d, const char *directory, char out[LODE_SHA256_HEX],
                          struct lode_err *err)
{
    _cleanup_free_ char *key = manifest_key(directory);
    _cleanup_buf_ struct lode_buf bytes = LODE_BUF_INIT(MANIFEST_MAX);
    struct lode_sha256 sum;
    if (!key)
        return lode_err_nomem(err, "a manifest");
    int r = lode_store_get(d->store, key, &bytes, err);
    r = r < 0 ? r : lode_sha256_of(bytes.data, bytes.len, &sum, err);
    if (r == 0)
        lode_sha256_text(&sum, out);
    return r;
}

/* True if the directory's manifest has this digest. A directory, or a manifest, that is not there
 * is no error. */
static int lies_at(struct lode_direct *d, const char *directory, const char *digest, bool *out,
                   struct lode_err *err)
{
    char found[LODE_SHA256_HEX];
    int r = lode_direct_digest_at(d, directory, found, err);
    if (r < 0 && r != LODE_NOT_FOUND)
        return r;
    *out = r == 0 && strcmp(found, digest) == 0;
    return 0;
}

int lode_direct_roll_back(struct lode_direct *d, const char *final, const char *directory,
                          const char *digest, struct lode_err *err)
{
    bool ours = false;
    int r = lies_at(d, final, digest, &ours, err);
    if (r < 0 || !ours)
        return r;
    r = lode_store_rename_dir(d->store, final, directory, err);
    if (r == 0 || !(r == LODE_NOT_FOUND || lode_code_is_transient(r)))
        return r;
    /* Somebody else rolled it back, or the answer was lost. */
    int again = lies_at(d, final, digest, &ours, err);
    return again < 0 ? again : ours ? r : 0;
}

/* An attempt before ours that woke up late lies in our place: back with it. CONFLICT when it is a
 * later one, which took ours over and may be about to commit; NOT_FOUND when it is nobody's on
 * record. */
static int evict(struct lode_attempt *a, struct lode_err *err)
{
    const struct lode_version *v = &a->record.v;
    _cleanup_free_ char *prefix = lode_key_attempts(v->ns, v->name, v->version);
    _cleanup_kvs_ struct lode_coord_kvs page = {0};
    char found[LODE_SHA256_HEX];
    if (!prefix)
        return lode_err_nomem(err, "a key");
    int r = lode_direct_digest_at(a->d, a->final, found, err);
    r = r < 0 ? r : lode_coord_range(a->d->coord, prefix, NULL, LODE_PAGE_MAX, &page, err);
    for (size_t i = 0; r == 0 && i < page.n; i++) {
        _cleanup_attempt_record_ struct lode_attempt_record old = {0};
        struct lode_key_parts k;
        r = lode_attempt_record_read(&page.items[i], &old, err);
        if (r < 0 || !old.digest || strcmp(old.digest, found) != 0)
            continue;
        if (!lode_key_split(page.items[i].key, &k) || k.n != 4 ||
            strtoull(k.part[3], NULL, 10) > v->attempt)
            return LODE_CONFLICT;
        return lode_direct_roll_back(a->d, a->final, old.directory, found, err);
    }
    return r < 0 ? r : LODE_NOT_FOUND;
}

static int occupied(struct lode_attempt *a, struct lode_err *err)
{
    return lode_err_set(
        err, LODE_EXISTS,
        "cannot publish %s@%s: %s in %s is there already, and Lode did not write it; move it "
        "away, or push under another name",
        lode_model_q(a->record.v.ns, a->record.v.name), a->record.v.version, a->final,
        lode_store_url(a->d->store));
}

/* The rename failed with `code`: 0 when our directory lies there all the same, LODE_AGAIN when
 * another try may help. */
static int look_after(struct lode_attempt *a, int code, struct lode_err *err)
{
    bool ours = false;
    int r = lies_at(a->d, a->final, a->record.v.digest, &ours, err);
    if (r < 0)
        return lode_code_is_transient(r) ? LODE_AGAIN : r;
    if (ours)
        return 0;
    if (lode_code_is_transient(code))
        return LODE_AGAIN;
    if (code == LODE_NOT_FOUND)
        return lode_err_set(
            err, LODE_LOST_LEASE,
            "the staged files of %s@%s are gone: another process took the attempt over",
            lode_model_q(a->record.v.ns, a->record.v.name), a->record.v.version);
    r = evict(a, err);
    if (r == 0)
        return LODE_AGAIN;
    if (r == LODE_CONFLICT)
        return lode_attempt_lost(a, err);
    return r == LODE_NOT_FOUND ? occupied(a, err) : r;
}

int lode_direct_publish(struct lode_attempt *a, struct lode_err *err)
{
    if (!lode_direct_renames(a->d))
        return 0;
    int r = 0;
    for (unsigned i = 0; i < PUBLISH_TRIES; i++) {
        r = LODE_PLANTED(catalog_lease_ignored) ? 0 : lode_lease_check(a->lease, err);
        if (r < 0)
            return r;
        r = lode_store_rename_dir(a->d->store, a->own.directory, a->final, err);
        if (r == 0)
            return 0;
        if (r != LODE_EXISTS && r != LODE_NOT_FOUND && !lode_code_is_transient(r))
            return r;
        int after = look_after(a, r, err);
        if (after != LODE_AGAIN)
            return after;
        lode_direct_backoff(i + 4);
    }
    return r;
}

/* ---- comparing ---- */

struct compare {
    const struct lode_manifest *m;
    size_t skip; /* bytes of "<directory>/" */
    size_t found;
};

static int compare_one(void *arg, const char *key, const struct lode_store_stat *stat,
                       struct lode_err *err)
{
    struct compare *c = arg;
    const char *path = key + c->skip;
    if (strcmp(path, LODE_MANIFEST_KEY) == 0)
        return 0;
    const struct lode_manifest_file *f = lode_manifest_find(c->m, path);
    if (!f)
        return lode_err_set(err, LODE_CONFLICT,
                            "%s is not in the manifest: something else writes there", lode_q(key));
    if (f->size != stat->size)
        return lode_err_set(err, LODE_CORRUPT,
                            "%s has %llu bytes in the store, but %llu were written", lode_q(key),
                            (unsigned long long)stat->size, (unsigned long long)f->size);
    c->found++;
    return 0;
}

int lode_direct_compare_files(struct lode_attempt *a, const struct lode_manifest *m,
                              struct lode_err *err)
{
    const char *directory = a->record.v.directory;
    struct compare c = {m, strlen(directory) + 1, 0};
    int r = lode_store_walk(a->d->store, directory, compare_one, &c, err);
    if (r < 0)
        return r;
    if (c.found != m->n_files)
        return lode_err_set(err, LODE_CORRUPT, "%s holds %zu files, but %zu were written",
                            directory, c.found, m->n_files);
    return 0;
}
