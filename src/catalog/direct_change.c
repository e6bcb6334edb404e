/* One transaction of the direct catalog: see catalog/direct.h.
 *
 * Invariants
 *  1. The root record is compared in every transaction, so that a sealed or moved root takes
 * nothing.
 *  2. An answer that was lost is never guessed: the witness is read. If its bytes are not ours, the
 * caller looks again at everything; the comparisons make a second try of something that happened
 * harmless.
 *  3. A journal entry's time is after the one before, whatever the clock does.
 */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/plant.h"
#include "catalog/direct.h"

#define WITNESS_TRIES                                                                              \
    12 /* to learn what became of a transaction, with pauses that grow to half a second */

#define LOST_MAX 3 /* answers lost in a row, and nothing happened, before it is told */

static void *own(struct lode_change_set *c, void *p)
{
    if (!p) {
        c->failed = LODE_NO_MEMORY;
        return NULL;
    }
    if (c->n_owned >= LODE_ARRAY_LEN(c->owned)) {
        lode_free(p);
        c->failed = LODE_LIMIT;
        return NULL;
    }
    c->owned[c->n_owned++] = p;
    return p;
}

void lode_change_begin(struct lode_change_set *c, struct lode_direct *d)
{
    memset(c, 0, sizeof *c);
    c->d = d;
    c->witness = SIZE_MAX;
    pthread_mutex_lock(&d->lock);
    uint64_t modified = d->root.modified;
    pthread_mutex_unlock(&d->lock);
    if (!LODE_PLANTED(catalog_root_uncompared))
        lode_change_expect(c, lode_strdup(LODE_KEY_ROOT), modified);
}

void lode_change_release(struct lode_change_set *c)
{
    for (size_t i = 0; i < c->n_owned; i++)
        lode_free(c->owned[i]);
    c->n_owned = 0;
}

static bool full(struct lode_change_set *c)
{
    if (c->n_compares + c->n_ops >= LODE_COORD_OPS_MAX)
        c->failed = LODE_LIMIT;
    return c->failed != 0;
}

void lode_change_expect(struct lode_change_set *c, char *key, uint64_t modified)
{
    key = own(c, key);
    if (!full(c))
        c->compares[c->n_compares++] = (struct lode_coord_compare){key, modified};
}

void lode_change_put(struct lode_change_set *c, char *key, char *text, uint64_t lease)
{
    key = own(c, key);
    text = own(c, text);
    if (!full(c))
        c->ops[c->n_ops++] = (struct lode_coord_op){LODE_COORD_PUT, key, text, strlen(text), lease};
}

void lode_change_delete(struct lode_change_set *c, char *key)
{
    key = own(c, key);
    if (!full(c))
        c->ops[c->n_ops++] = (struct lode_coord_op){LODE_COORD_DELETE, key, NULL, 0, 0};
}

void lode_change_witness(struct lode_change_set *c)
{
    c->witness = c->n_ops - 1;
}

/* After a lost answer: 0 if it happened, LODE_AGAIN if not (or if nobody can tell any more). A
 * coord that loses one answer after the other is out of order (a disk that syncs no more): then
 * what it said, `code`. */
static int ask_witness(struct lode_change_set *c, uint64_t *revision, int code,
                       struct lode_err *err)
{
    const struct lode_coord_op *op = &c->ops[c->witness];
    struct lode_err said = err ? *err : (struct lode_err){0};
    unsigned lost = atomic_fetch_add(&c->d->lost_answers, 1);
    int r = LODE_UNAVAILABLE;
    for (unsigned i = 0; i < WITNESS_TRIES && lode_code_is_transient(r); i++) {
        _cleanup_kv_ struct lode_coord_kv kv = {0};
        lode_direct_backoff(i);
        r = lode_coord_get(c->d->coord, op->key, &kv, err);
        if (r == 0 && kv.len == op->len && memcmp(kv.value, op->value, op->len) == 0) {
            *revision = kv.modified;
            return 0;
        }
    }
    if (r != 0 && r != LODE_NOT_FOUND)
        return r;
    if (lost < LOST_MAX)
        return LODE_AGAIN;
    if (err)
        *err = said;
    return code;
}

/* A comparison failed: was it the root's? */
static int explain(struct lode_change_set *c, const struct lode_coord_txn_result *res,
                   struct lode_err *err)
{
    pthread_mutex_lock(&c->d->lock);
    uint64_t known = c->d->root.modified;
    pthread_mutex_unlock(&c->d->lock);
    bool root_moved = res->n_gets != 1 || !res->gets[0].key || res->gets[0].modified != known;
    int r = root_moved ? lode_direct_refresh_root(c->d, err) : 0;
    return r < 0 ? r : LODE_AGAIN;
}

/* A root that was opened sealed would pass its own comparison. */
static bool root_is_open(struct lode_direct *d)
{
    pthread_mutex_lock(&d->lock);
    bool open = d->root.state == LODE_ROOT_OPEN;
    pthread_mutex_unlock(&d->lock);
    return open;
}

int lode_change_run(struct lode_change_set *c, uint64_t *revision, struct lode_err *err)
{
    static const char *const root_key[] = {LODE_KEY_ROOT};
    struct lode_coord_txn_result res = {0};
    if (c->failed == LODE_NO_MEMORY)
        return lode_err_nomem(err, "a transaction");
    if (c->failed)
        return lode_err_set(err, c->failed, "one change may touch at most %d records",
                            LODE_COORD_OPS_MAX);
    if (!root_is_open(c->d)) {
        int closed = lode_direct_refresh_root(c->d, err);
        return closed < 0 ? closed : LODE_AGAIN;
    }
    size_t n_compares = LODE_PLANTED(catalog_uncompared) ? 0 : c->n_compares;
    const struct lode_coord_txn txn = {c->compares, n_compares, c->ops, c->n_ops, root_key, 1};
    int r = lode_coord_txn(c->d->coord, &txn, &res, err);
    if (lode_code_is_transient(r) && c->witness != SIZE_MAX)
        return ask_witness(c, revision, r, err);
    if (r < 0)
        return r;
    r = res.succeeded ? 0 : explain(c, &res, err);
    *revision = res.revision;
    atomic_store(&c->d->lost_answers, 0);
    lode_coord_txn_result_release(&res);
    if (r == 0)
        lode_direct_saw(c->d, *revision);
    return r;
}

/* ---- records that change together ---- */

int lode_change_journal(struct lode_change_set *c, struct lode_model_record *m,
                        struct lode_journal_entry *e, struct lode_err *err)
{
    int64_t now = lode_now_ms();
    if (!LODE_PLANTED(catalog_journal_clock))
        now = lode_max(now, m->last_when_ms + 1);
    e->ns = m->info.ns;
    e->name = m->info.name;
    e->number = m->next_entry;
    e->when_ms = now;
    char *text = lode_journal_record_text(e);
    if (!text)
        return lode_err_nomem(err, "a journal entry");
    char *key = lode_key_journal(e->ns, e->name, e->number);
    lode_change_expect(c, key ? lode_strdup(key) : NULL, 0);
    lode_change_put(c, key, text, 0);
    m->next_entry++;
    m->last_when_ms = now;
    m->info.updated_ms = now;
    return 0;
}

void lode_change_model(struct lode_change_set *c, struct lode_model_record *m)
{
    char *key = lode_key_model(m->info.ns, m->info.name);
    lode_change_expect(c, key ? lode_strdup(key) : NULL, m->modified);
    lode_change_put(c, key, lode_model_record_text(m), 0);
    lode_change_witness(c);
}

void lode_change_version(struct lode_change_set *c, const struct lode_version_record *v)
{
    char *key = lode_key_version(v->v.ns, v->v.name, v->v.version);
    lode_change_expect(c, key ? lode_strdup(key) : NULL, v->modified);
    lode_change_put(c, key, lode_version_record_text(v), 0);
}
