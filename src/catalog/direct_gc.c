/* What gc works from: see catalog/gc_ops.h.
 *
 * Invariants
 *  1. Only the records under attempt/ name bytes to be freed; the store is never listed for it.
 *  2. A record is taken by a transaction that compares it, the version record, and that nobody
 * claims the version: from then on no restore, resume or commit of it can happen.
 *  3. What was publishing may lie in the version's place: it goes back first, and `done` looks once
 * more, for a paused writer may have renamed it in between.
 */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "catalog/direct.h"
#include "catalog/gc_ops.h"

#define PAGE 500 /* records read at a time */

static void release_item(struct lode_garbage *g)
{
    lode_free(g->ns);
    lode_free(g->name);
    lode_free(g->version);
    lode_free(g->directory);
}

void lode_garbage_list_release(struct lode_garbage_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        release_item(&list->items[i]);
    lode_free(list->items);
    memset(list, 0, sizeof *list);
}

struct search {
    struct lode_direct *d;
    int64_t now, grace;
    struct lode_garbage_list list;
    size_t cap;
};

static int claimed(struct lode_direct *d, const struct lode_key_parts *k, bool *out,
                   struct lode_err *err)
{
    int r;
    *out = lode_direct_has(d, lode_key_claim(k->part[0], k->part[1], k->part[2]), &r, err);
    return r;
}

static int leased(struct lode_direct *d, const struct lode_key_parts *k, bool *out,
                  struct lode_err *err)
{
    _cleanup_free_ char *prefix = lode_key_leases(k->part[0], k->part[1], k->part[2]);
    _cleanup_kvs_ struct lode_coord_kvs held = {0};
    int r = prefix ? lode_coord_range(d->coord, prefix, NULL, 1, &held, err)
                   : lode_err_nomem(err, "a key");
    *out = held.n > 0;
    return r;
}

/* Is this record garbage now? */
static int judge(struct search *s, const struct lode_key_parts *k,
                 const struct lode_attempt_record *a, bool *out, struct lode_err *err)
{
    bool old = s->grace <= 0 || a->since_ms + s->grace <= s->now, held = false;
    int r = 0;
    *out = true;
    switch (a->state) {
    case LODE_ATTEMPT_ABANDONED:
    case LODE_ATTEMPT_TAKEN:
        return 0;
    case LODE_ATTEMPT_LIVE:
        r = claimed(s->d, k, &held, err);
        break;
    case LODE_ATTEMPT_KEPT:
        r = old ? claimed(s->d, k, &held, err) : 0;
        break;
    case LODE_ATTEMPT_DELETED:
        r = old ? leased(s->d, k, &held, err) : 0;
        break;
    }
    *out = !held && (old || a->state == LODE_ATTEMPT_LIVE);
    return r;
}

/* The state that a taken record had before: gc of a deleted version or of an attempt. */
static int is_deleted_version(struct search *s, const struct lode_key_parts *k, uint64_t attempt,
                              const struct lode_attempt_record *a, bool *out, struct lode_err *err)
{
    _cleanup_version_record_ struct lode_version_record v = {0};
    *out = a->state == LODE_ATTEMPT_DELETED;
    if (a->state != LODE_ATTEMPT_TAKEN)
        return 0;
    int r = lode_direct_get_version(s->d, k->part[0], k->part[1], k->part[2], &v, err);
    *out = r == 0 && v.modified && v.v.state == LODE_DELETED && v.v.attempt == attempt;
    return r;
}

static int add(struct search *s, const struct lode_coord_kv *kv, struct lode_err *err)
{
    _cleanup_attempt_record_ struct lode_attempt_record a = {0};
    struct lode_key_parts k;
    bool garbage, deleted;
    if (!lode_key_split(kv->key, &k) || k.n != 4)
        return lode_err_set(err, LODE_CORRUPT, "the key '%s' is malformed", kv->key);
    uint64_t attempt = strtoull(k.part[3], NULL, 10);
    int r = lode_attempt_record_read(kv, &a, err);
    r = r < 0 ? r : judge(s, &k, &a, &garbage, err);
    if (r < 0 || !garbage)
        return r;
    r = is_deleted_version(s, &k, attempt, &a, &deleted, err);
    if (r < 0)
        return r;
    if (lode_grow((void **)&s->list.items, &s->cap, s->list.n + 1, sizeof *s->list.items) < 0)
        return lode_err_nomem(err, "a list");
    struct lode_garbage *g = &s->list.items[s->list.n++];
    *g = (struct lode_garbage){lode_strdup(k.part[0]),
                               lode_strdup(k.part[1]),
                               lode_strdup(k.part[2]),
                               attempt,
                               lode_steal(a.directory),
                               a.size,
                               a.since_ms,
                               deleted};
    return g->ns && g->name && g->version ? 0 : lode_err_nomem(err, "a list");
}

static int search_all(struct search *s, struct lode_err *err)
{
    _cleanup_free_ char *after = NULL;
    for (bool more = true; more;) {
        _cleanup_kvs_ struct lode_coord_kvs page = {0};
        int r = lode_coord_range(s->d->coord, LODE_KEY_ATTEMPTS, after, PAGE, &page, err);
        for (size_t i = 0; r == 0 && i < page.n; i++)
            r = add(s, &page.items[i], err);
        if (r < 0)
            return r;
        more = page.more && page.n > 0;
        lode_free(after);
        after = more ? lode_strdup(page.items[page.n - 1].key) : NULL;
        if (more && !after)
            return lode_err_nomem(err, "a list");
    }
    return 0;
}

int lode_catalog_garbage(struct lode_catalog *direct, int64_t grace_ms,
                         struct lode_garbage_list *out, struct lode_err *err)
{
    struct search s = {
        .d = (struct lode_direct *)(void *)direct, .now = lode_now_ms(), .grace = grace_ms};
    int r = search_all(&s, err);
    if (r < 0) {
        lode_garbage_list_release(&s.list);
        return r;
    }
    *out = s.list;
    return 0;
}

/* ---- taking ---- */

struct taking {
    struct lode_direct *d;
    const struct lode_garbage *g;
    struct lode_attempt_record a;
    struct lode_version_record v;
};

static int read_taking(struct taking *t, struct lode_err *err)
{
    const struct lode_garbage *g = t->g;
    int r = lode_direct_get_attempt(t->d, lode_key_attempt(g->ns, g->name, g->version, g->attempt),
                                    &t->a, err);
    if (r == 0 && t->a.modified == 0)
        r = lode_err_set(err, LODE_CONFLICT, "attempt %llu of %s@%s is gone already",
                         (unsigned long long)g->attempt, lode_model_q(g->ns, g->name), g->version);
    return r < 0 ? r : lode_direct_get_version(t->d, g->ns, g->name, g->version, &t->v, err);
}

static void release_taking(struct taking *t)
{
    lode_attempt_record_release(&t->a);
    lode_version_record_release(&t->v);
}

/* The version record says that these bytes are, or may become, a committed version's. */
static bool lives_again(const struct taking *t)
{
    if (!t->v.modified || t->v.v.attempt != t->g->attempt)
        return false;
    if (t->g->deleted_version)
        return t->v.v.state != LODE_DELETED;
    return t->v.v.state == LODE_COMMITTED || t->v.v.state == LODE_DELETED;
}

static char *make_trash(void)
{
    uint8_t random[12];
    char id[2 * sizeof random + 1];
    if (lode_sys->getrandom(random, sizeof random) != sizeof random)
        return NULL;
    return lode_asprintf("_staging/trash/%s", lode_hex(random, sizeof random, id));
}

/* The claim must be absent: the version record of an attempt that is still its newest goes with it,
 * where the store can rename; elsewhere it keeps the attempt's number from being used again. */
static void forget_attempt(struct taking *t, struct lode_change_set *c)
{
    const struct lode_garbage *g = t->g;
    if (t->g->deleted_version || !t->v.modified || t->v.v.attempt != g->attempt)
        return;
    lode_change_expect(c, lode_key_claim(g->ns, g->name, g->version), 0);
    if (lode_direct_renames(t->d))
        lode_change_delete(c, lode_key_version(g->ns, g->name, g->version));
}

static int take(struct taking *t, struct lode_err *err)
{
    const struct lode_garbage *g = t->g;
    _cleanup_change_ struct lode_change_set c = {0};
    uint64_t revision;
    if (lives_again(t))
        return lode_err_set(err, LODE_CONFLICT, "%s@%s is in use again",
                            lode_model_q(g->ns, g->name), g->version);
    t->a.state = LODE_ATTEMPT_TAKEN;
    if (!t->a.trash)
        t->a.trash = make_trash();
    if (!t->a.trash)
        return lode_err_nomem(err, "a name in the trash");
    lode_change_begin(&c, t->d);
    char *key = lode_key_attempt(g->ns, g->name, g->version, g->attempt);
    lode_change_expect(&c, key ? lode_strdup(key) : NULL, t->a.modified);
    lode_change_put(&c, key, lode_attempt_record_text(&t->a), 0);
    lode_change_witness(&c);
    lode_change_expect(&c, lode_key_version(g->ns, g->name, g->version), t->v.modified);
    forget_attempt(t, &c);
    int r = lode_change_run(&c, &revision, err);
    if (r == LODE_AGAIN)
        return lode_err_set(err, LODE_CONFLICT, "%s@%s was changed meanwhile",
                            lode_model_q(g->ns, g->name), g->version);
    return r;
}

static int roll_back(struct taking *t, struct lode_err *err)
{
    const struct lode_garbage *g = t->g;
    if (g->deleted_version || !t->a.digest || !lode_direct_renames(t->d))
        return 0;
    _cleanup_free_ char *final = lode_direct_directory(g->ns, g->name, g->version);
    return final ? lode_direct_roll_back(t->d, final, t->a.directory, t->a.digest, err)
                 : lode_err_nomem(err, "a key");
}

int lode_catalog_garbage_take(struct lode_catalog *direct, const struct lode_garbage *garbage,
                              char **trash_key, struct lode_err *err)
{
    struct taking t = {.d = (struct lode_direct *)(void *)direct, .g = garbage};
    int r = read_taking(&t, err);
    r = r < 0 ? r : take(&t, err);
    r = r < 0 ? r : roll_back(&t, err);
    if (r == 0)
        *trash_key = lode_steal(t.a.trash);
    release_taking(&t);
    return r;
}

/* ---- done ---- */

/* A paused writer may have renamed the directory into place after all. */
static int check_gone(struct taking *t, struct lode_err *err)
{
    int r = roll_back(t, err);
    struct lode_store_stat st;
    if (r < 0 || !t->a.directory)
        return r;
    r = lode_store_stat(t->d->store, t->a.directory, &st, err);
    if (r == LODE_NOT_FOUND)
        return 0;
    return r < 0 ? r
                 : lode_err_set(err, LODE_CONFLICT, "%s is there again; the next gc removes it",
                                t->a.directory);
}

static int forget(struct taking *t, struct lode_err *err)
{
    const struct lode_garbage *g = t->g;
    _cleanup_change_ struct lode_change_set c = {0};
    uint64_t revision;
    lode_change_begin(&c, t->d);
    lode_change_expect(&c, lode_key_attempt(g->ns, g->name, g->version, g->attempt), t->a.modified);
    lode_change_delete(&c, lode_key_attempt(g->ns, g->name, g->version, g->attempt));
    if (g->deleted_version && t->v.modified && t->v.v.state == LODE_DELETED) {
        t->v.freed = true;
        lode_change_version(&c, &t->v);
    }
    return lode_change_run(&c, &revision, err);
}

int lode_catalog_garbage_done(struct lode_catalog *direct, const struct lode_garbage *garbage,
                              struct lode_err *err)
{
    struct taking t = {.d = (struct lode_direct *)(void *)direct, .g = garbage};
    int r = LODE_AGAIN;
    for (unsigned i = 0; r == LODE_AGAIN && i < LODE_TRIES; i++) {
        release_taking(&t);
        r = read_taking(&t, err);
        if (r == LODE_CONFLICT) {
            r = 0;
            break;
        }
        if (r == 0 && t.a.state != LODE_ATTEMPT_TAKEN)
            r = lode_err_set(err, LODE_INVALID, "%s@%s was not taken", garbage->name,
                             garbage->version);
        r = r < 0 ? r : check_gone(&t, err);
        r = r < 0 ? r : forget(&t, err);
    }
    release_taking(&t);
    return r == LODE_AGAIN ? lode_direct_gave_up(garbage->version, err) : r;
}
