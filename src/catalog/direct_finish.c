/* From staged files to a committed version: manifest, `publishing`, rename, comparison,
 * `committed`. Or giving up.
 *
 * Invariants
 *  1. Every transaction here is fenced: it compares the version record as this attempt wrote it
 * last, and the claim. Before each, and before the rename, the lease is asked by the own clock.
 *  2. Only the last transaction makes a version visible; it rewrites the model record, so that seq,
 * latest, aliases and journal of all versions are one line.
 *  3. When a fence breaks, the version record tells what happened: committed by this attempt (an
 * answer was lost) is success, everything else is somebody else's version.
 */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "catalog/direct.h"

#define MANIFEST_MAX (2ull << 30) /* bytes */

void lode_attempt_fence(struct lode_attempt *a, struct lode_change_set *c)
{
    const struct lode_version *v = &a->record.v;
    lode_change_begin(c, a->d);
    if (!LODE_PLANTED(catalog_lease_ignored))
        lode_change_expect(c, lode_key_claim(v->ns, v->name, v->version), a->claim_modified);
}

static int ask_lease(struct lode_attempt *a, struct lode_err *err)
{
    int r = LODE_PLANTED(catalog_lease_ignored) ? 0 : lode_lease_check(a->lease, err);
    if (r < 0)
        lode_err_prefix(err, "the push of %s@%s cannot go on",
                        lode_model_q(a->record.v.ns, a->record.v.name), a->record.v.version);
    return r;
}

int lode_attempt_lost(struct lode_attempt *a, struct lode_err *err)
{
    const struct lode_version *v = &a->record.v;
    const char *model = lode_model_q(v->ns, v->name);
    _cleanup_version_record_ struct lode_version_record now = {0};
    int r = lode_direct_get_version(a->d, v->ns, v->name, v->version, &now, err);
    if (r < 0)
        return r;
    bool ours = now.modified && now.v.attempt == v->attempt && now.v.digest && v->digest &&
                strcmp(now.v.digest, v->digest) == 0 && now.v.directory &&
                strcmp(now.v.directory, v->directory) == 0;
    if (ours && now.v.state == LODE_COMMITTED)
        return 0;
    if (now.modified && (now.v.state == LODE_COMMITTED || now.v.state == LODE_DELETED))
        return lode_err_set(err, LODE_EXISTS, "version %s of %s was committed by %s meanwhile",
                            v->version, model, now.v.author ? now.v.author : "another push");
    if (now.modified && now.v.attempt != v->attempt)
        return lode_err_set(err, LODE_EXISTS,
                            "version %s of %s is being pushed by %s, who took it over", v->version,
                            model, now.v.author ? now.v.author : "another process");
    return lode_err_set(err, LODE_LOST_LEASE,
                        "the push of %s@%s lost its claim; nothing was committed, run it again",
                        model, v->version);
}

/* ---- manifest ---- */

static int own_text(char **into, const char *text, struct lode_err *err)
{
    char *copy = lode_strdup(text);
    if (!copy)
        return lode_err_nomem(err, "a manifest");
    lode_free(*into);
    *into = copy;
    return 0;
}

static int name_manifest(struct lode_attempt *a, struct lode_manifest *m, struct lode_err *err)
{
    const struct lode_version *v = &a->record.v;
    int r = own_text(&m->ns, v->ns, err);
    r = r < 0 ? r : own_text(&m->name, v->name, err);
    r = r < 0 ? r : own_text(&m->version, v->version, err);
    m->block_size = LODE_BLOCK_SIZE;
    if (m->created_ms == 0)
        m->created_ms = lode_now_ms();
    return r < 0 ? r : lode_manifest_sort(m, err);
}

/* What the version record says of the contents. */
static int describe(struct lode_attempt *a, const struct lode_manifest *m,
                    const struct lode_buf *bytes, struct lode_err *err)
{
    struct lode_version *v = &a->record.v;
    struct lode_sha256 sum;
    char hex[LODE_SHA256_HEX];
    int r = lode_sha256_of(bytes->data, bytes->len, &sum, err);
    if (r < 0)
        return r;
    lode_free(v->format);
    v->format = lode_manifest_formats(m);
    if (!v->format)
        return lode_err_nomem(err, "a version");
    v->size = lode_manifest_bytes(m);
    v->files = m->n_files;
    v->tensors = m->tensors ? lode_index_count(m->tensors) : 0;
    v->parameters = m->tensors ? lode_index_parameters(m->tensors) : 0;
    v->manifest_size = bytes->len;
    r = own_text(&v->digest, lode_sha256_text(&sum, hex), err);
    return r < 0 ? r : own_text(&a->own.digest, hex, err);
}

static int write_manifest(struct lode_attempt *a, struct lode_manifest *m, struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf bytes = LODE_BUF_INIT(MANIFEST_MAX);
    _cleanup_free_ char *key = lode_asprintf("%s/" LODE_MANIFEST_KEY, a->own.directory);
    if (!key)
        return lode_err_nomem(err, "a manifest");
    int r = name_manifest(a, m, err);
    r = r < 0 ? r : lode_manifest_write(m, &bytes, err);
    r = r < 0 ? r : describe(a, m, &bytes, err);
    r = r < 0 ? r : ask_lease(a, err);
    return r < 0 ? r : lode_store_put(a->d->store, key, bytes.data, bytes.len, false, err);
}

/* ---- publishing ---- */

static int try_publishing(struct lode_attempt *a, struct lode_err *err)
{
    _cleanup_change_ struct lode_change_set c = {0};
    const struct lode_version *v = &a->record.v;
    uint64_t revision;
    lode_attempt_fence(a, &c);
    char *key = lode_key_attempt(v->ns, v->name, v->version, v->attempt);
    lode_change_expect(&c, key ? lode_strdup(key) : NULL, a->own.modified);
    lode_change_put(&c, key, lode_attempt_record_text(&a->own), 0);
    lode_change_version(&c, &a->record);
    lode_change_witness(&c);
    int r = lode_change_run(&c, &revision, err);
    if (r == 0)
        a->record.modified = a->own.modified = revision;
    return r;
}

/* Only the root's record can make a second try worth it; anything else that moved is a broken
 * fence. */
static int record_publishing(struct lode_attempt *a, struct lode_err *err)
{
    a->record.v.state = LODE_PUBLISHING;
    a->own.size = a->record.v.size;
    for (unsigned i = 0; i < 3; i++) {
        int r = ask_lease(a, err);
        r = r < 0 ? r : try_publishing(a, err);
        if (r != LODE_AGAIN)
            return r;
    }
    int r = lode_attempt_lost(a, err);
    return r < 0 ? r
                 : lode_err_set(err, LODE_INTERNAL,
                                "an attempt was committed before it was published");
}

/* Manifest and record; a second finish of the same attempt goes on behind them. */
static int prepare(struct lode_attempt *a, struct lode_manifest *m, struct lode_err *err)
{
    if (a->record.v.state == LODE_PUBLISHING)
        return 0;
    int r = write_manifest(a, m, err);
    r = r < 0 ? r : record_publishing(a, err);
    if (r < 0)
        a->record.v.state = LODE_STAGING;
    return r;
}

/* ---- commit ---- */

/* The aliases that the commit sets: their entries, and that no version has their name. */
static int commit_aliases(struct lode_attempt *a, struct lode_change_set *c,
                          struct lode_model_record *m, struct lode_err *err)
{
    const struct lode_version *v = &a->record.v;
    for (size_t i = 0; i < a->n_aliases; i++) {
        char *alias = a->aliases[i];
        _cleanup_free_ char *from = lode_strdup(lode_model_alias(m, alias));
        struct lode_journal_entry e = {.change = LODE_CHANGE_ALIAS_SET,
                                       .who = a->who,
                                       .why = a->why,
                                       .alias = alias,
                                       .from = from,
                                       .to = v->version};
        int r = 0;
        if (lode_direct_has(a->d, lode_key_version(v->ns, v->name, alias), &r, err))
            return lode_err_set(err, LODE_EXISTS,
                                "'%s' is a version of %s; versions and aliases share their names",
                                alias, lode_model_q(v->ns, v->name));
        lode_change_expect(c, lode_key_version(v->ns, v->name, alias), 0);
        r = r < 0 ? r : lode_change_journal(c, m, &e, err);
        r = r < 0 ? r : lode_model_set_alias(m, alias, v->version, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* seq, latest, journal of the model; state, seq and time of the version. */
static int advance(struct lode_attempt *a, struct lode_change_set *c, struct lode_model_record *m,
                   struct lode_version_record *to, struct lode_err *err)
{
    struct lode_journal_entry e = {
        .change = LODE_CHANGE_COMMIT, .who = a->who, .why = a->why, .to = to->v.version};
    int r = lode_change_journal(c, m, &e, err);
    if (r < 0)
        return r;
    to->v.state = LODE_COMMITTED;
    to->v.seq = m->info.next_seq++;
    to->v.created_ms = e.when_ms;
    m->info.versions++;
    m->info.latest_seq = to->v.seq;
    r = own_text(&m->info.latest, to->v.version, err);
    lode_change_put(c, lode_key_seq(to->v.ns, to->v.name, to->v.seq), lode_strdup(to->v.version),
                    0);
    return r < 0 ? r : commit_aliases(a, c, m, err);
}

static int run_commit(struct lode_attempt *a, struct lode_model_record *m,
                      struct lode_version_record *to, struct lode_err *err)
{
    _cleanup_change_ struct lode_change_set c = {0};
    const struct lode_version *v = &a->record.v;
    uint64_t revision;
    lode_attempt_fence(a, &c);
    int r = advance(a, &c, m, to, err);
    if (r < 0)
        return r;
    lode_change_delete(&c, lode_key_claim(v->ns, v->name, v->version));
    lode_change_delete(&c, lode_key_attempt(v->ns, v->name, v->version, v->attempt));
    lode_change_version(&c, to);
    lode_change_model(&c, m);
    r = lode_change_run(&c, &revision, err);
    if (r == 0)
        to->modified = m->modified = revision;
    return r;
}

static int try_commit(struct lode_attempt *a, struct lode_version *out, struct lode_err *err)
{
    const struct lode_version *v = &a->record.v;
    _cleanup_model_record_ struct lode_model_record m = {0};
    _cleanup_version_record_ struct lode_version_record to = {.modified = a->record.modified};
    int r = ask_lease(a, err);
    r = r < 0 ? r : lode_direct_get_model(a->d, v->ns, v->name, &m, err);
    r = r < 0 ? r : lode_version_copy(v, &to.v, err);
    if (r == 0 && lode_model_alias(&m, v->version))
        return lode_err_set(err, LODE_EXISTS, "'%s' became an alias of %s meanwhile", v->version,
                            lode_model_q(v->ns, v->name));
    r = r < 0 ? r : run_commit(a, &m, &to, err);
    if (r != 0)
        return r;
    /* Whatever fails from here on: there is nothing to give up any more. */
    a->done = !LODE_PLANTED(catalog_moves_unfenced);
    return lode_direct_show(a->d, &to, &m, out, err);
}

/* The version as it is now, when it turned out to be committed already. */
static int show_committed(struct lode_attempt *a, struct lode_version *out, struct lode_err *err)
{
    struct lode_ref ref = {.kind = LODE_REV_NAME};
    const struct lode_version *v = &a->record.v;
    memcpy(ref.ns, v->ns, strlen(v->ns) + 1);
    memcpy(ref.name, v->name, strlen(v->name) + 1);
    memcpy(ref.rev, v->version, strlen(v->version) + 1);
    return lode_direct_resolve((struct lode_catalog *)a->d, &ref, true, out, err);
}

/* Whether version record and claim are as this attempt left them; then the model has moved on. */
static int fence_holds(struct lode_attempt *a, bool *out, struct lode_err *err)
{
    const struct lode_version *v = &a->record.v;
    _cleanup_version_record_ struct lode_version_record now = {0};
    int r = lode_direct_get_version(a->d, v->ns, v->name, v->version, &now, err);
    *out = r == 0 && now.modified == a->record.modified &&
           lode_direct_has(a->d, lode_key_claim(v->ns, v->name, v->version), &r, err);
    return r;
}

static int commit(struct lode_attempt *a, struct lode_version *out, struct lode_err *err)
{
    for (unsigned i = 0; i < LODE_TRIES; i++) {
        bool holds;
        int r = try_commit(a, out, err);
        if (r != LODE_AGAIN)
            return r;
        r = fence_holds(a, &holds, err);
        if (r == 0 && !holds) {
            r = lode_attempt_lost(a, err);
            return r < 0 ? r : show_committed(a, out, err);
        }
        if (r < 0)
            return r;
        lode_direct_backoff(i);
    }
    return lode_direct_gave_up(lode_model_q(a->record.v.ns, a->record.v.name), err);
}

int lode_direct_finish(struct lode_attempt *a, struct lode_manifest *manifest,
                       struct lode_version *out, struct lode_err *err)
{
    if (a->done)
        return lode_err_set(err, LODE_INVALID, "this attempt is committed already");
    int r = prepare(a, manifest, err);
    r = r < 0 ? r : lode_direct_publish(a, err);
    r = r < 0 ? r : lode_direct_compare_files(a, manifest, err);
    r = r < 0 ? r : commit(a, out, err);
    if (r < 0)
        return r;
    a->done = true;
    return 0;
}

/* ---- giving up ---- */

/* Without atomic rename the version's attempts number its directories: the number must stay. */
static void forget_version(struct lode_attempt *a, struct lode_change_set *c, bool keep)
{
    const struct lode_version *v = &a->record.v;
    char *key = lode_key_version(v->ns, v->name, v->version);
    lode_change_expect(c, key ? lode_strdup(key) : NULL, a->record.modified);
    if (keep || !lode_direct_renames(a->d)) {
        a->record.v.state = LODE_STAGING;
        lode_change_put(c, key, lode_version_record_text(&a->record), 0);
        return;
    }
    lode_change_delete(c, key);
}

static int try_abandon(struct lode_attempt *a, bool keep, struct lode_err *err)
{
    _cleanup_change_ struct lode_change_set c = {0};
    const struct lode_version *v = &a->record.v;
    uint64_t revision;
    lode_attempt_fence(a, &c);
    a->own.state = keep ? LODE_ATTEMPT_KEPT : LODE_ATTEMPT_ABANDONED;
    a->own.since_ms = lode_now_ms();
    forget_version(a, &c, keep);
    lode_change_delete(&c, lode_key_claim(v->ns, v->name, v->version));
    char *key = lode_key_attempt(v->ns, v->name, v->version, v->attempt);
    lode_change_expect(&c, key ? lode_strdup(key) : NULL, a->own.modified);
    lode_change_put(&c, key, lode_attempt_record_text(&a->own), 0);
    lode_change_witness(&c);
    return lode_change_run(&c, &revision, err);
}

/* Makes every commit of ours fail that may still be on its way, or finds that one has happened
 * though its answer was an error (LODE_AGAIN). Only then may the bytes leave their place. */
static int fence_off(struct lode_attempt *a, struct lode_err *err)
{
    int r = LODE_AGAIN;
    for (unsigned i = 0; r == LODE_AGAIN && i < 3; i++) {
        _cleanup_change_ struct lode_change_set c = {0};
        uint64_t revision;
        lode_attempt_fence(a, &c);
        lode_change_version(&c, &a->record);
        r = lode_change_run(&c, &revision, err);
        if (r == 0)
            a->record.modified = revision;
    }
    return r;
}

int lode_direct_abandon(struct lode_attempt *a, bool keep, struct lode_err *err)
{
    if (a->done)
        return 0;
    int r = 0;
    if (a->record.v.state == LODE_PUBLISHING && lode_direct_renames(a->d)) {
        r = LODE_PLANTED(catalog_moves_unfenced) ? 0 : fence_off(a, err);
        if (r == 0)
            r = lode_direct_roll_back(a->d, a->final, a->own.directory, a->record.v.digest, err);
    }
    for (unsigned i = 0; r == 0 && i < 3; i++) {
        r = try_abandon(a, keep, err);
        if (r == 0)
            a->done = true;
        if (r != LODE_AGAIN)
            return r;
        r = 0;
    }
    if (r < 0)
        return r;
    /* The fence broke: somebody else has it, and nothing of it is ours to give up. */
    r = lode_attempt_lost(a, err);
    a->done = true;
    return r == LODE_EXISTS || r == LODE_LOST_LEASE ? 0 : r;
}

void lode_direct_attempt_close(struct lode_attempt *a)
{
    if (!a)
        return;
    lode_lease_stop(a->lease);
    lode_version_record_release(&a->record);
    lode_attempt_record_release(&a->own);
    lode_place_release(&a->place);
    for (size_t i = 0; i < a->n_aliases; i++)
        lode_free(a->aliases[i]);
    lode_free(a->aliases);
    lode_free(a->who);
    lode_free(a->why);
    lode_free(a->final);
    lode_free(a);
}
