/* Who asks: tokens held in memory, so that a check costs one hash and a binary search.
 *
 * The table is immutable and counted; follow.c replaces it when a `token/` key changes. A request
 * keeps the table it was admitted by. Tokens are asked for as soon as the root has one, and ever
 * after, also when the last is taken back; before that only a server that listens on loopback is
 * open. */
#include "base/mem.h"
#include "base/plant.h"
#include "server/srv.h"
#include "server/token.h"
#include <fnmatch.h>
#include <string.h>

struct srv_auth_table {
    atomic_uint refs;
    struct srv_token_records records; /* sorted by id */
};

static struct srv_auth_table *table_ref(struct srv_auth *auth)
{
    pthread_rwlock_rdlock(&auth->lock);
    struct srv_auth_table *table = auth->table;
    atomic_fetch_add(&table->refs, 1);
    pthread_rwlock_unlock(&auth->lock);
    return table;
}

static void table_unref(struct srv_auth_table *table)
{
    if (!table || atomic_fetch_sub(&table->refs, 1) != 1)
        return;
    srv_token_records_release(&table->records);
    lode_free(table);
}

static int replace(struct srv_auth *auth, struct srv_token_records *records, struct lode_err *err)
{
    struct srv_auth_table *table = lode_zalloc(sizeof(*table));
    if (!table) {
        srv_token_records_release(records);
        return lode_err_nomem(err, "the tokens");
    }
    atomic_init(&table->refs, 1);
    table->records = *records;
    if (records->n)
        atomic_store(&auth->guarded, true);
    pthread_rwlock_wrlock(&auth->lock);
    struct srv_auth_table *old = auth->table;
    auth->table = table;
    pthread_rwlock_unlock(&auth->lock);
    table_unref(old);
    return 0;
}

int srv_auth_init(struct srv_auth *auth, struct lode_err *err)
{
    pthread_rwlock_init(&auth->lock, NULL);
    pthread_mutex_init(&auth->reloading, NULL);
    return replace(auth, &(struct srv_token_records){0}, err);
}

void srv_auth_release(struct srv_auth *auth)
{
    table_unref(auth->table);
    if (auth->table) {
        pthread_rwlock_destroy(&auth->lock);
        pthread_mutex_destroy(&auth->reloading);
    }
    auth->table = NULL;
}

int srv_auth_reload(struct srv_auth *auth, struct lode_coord *coord, struct lode_err *err)
{
    struct srv_token_records records;
    /* One at a time: what was read first is never put in place last, or a removed token would come
     * back. */
    pthread_mutex_lock(&auth->reloading);
    int r = srv_token_records(coord, &records, err);
    r = r < 0 ? r : replace(auth, &records, err);
    pthread_mutex_unlock(&auth->reloading);
    return r;
}

size_t srv_auth_count(struct srv_auth *auth)
{
    struct srv_auth_table *table = table_ref(auth);
    size_t n = table->records.n;
    table_unref(table);
    return n;
}

static const struct srv_token_record *find(const struct srv_token_records *records, const char *id,
                                           size_t len)
{
    size_t low = 0, high = records->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const char *there = records->items[mid].info.id;
        int order = strncmp(there, id, len);
        if (order == 0 && there[len] == '\0')
            return &records->items[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* The record whose secret this is, or NULL. Its hash is compared in constant time; the id is no
 * secret. */
static const struct srv_token_record *recognise(const struct srv_auth_table *table,
                                                const char *header)
{
    if (!header || strncasecmp(header, "Bearer ", 7) != 0)
        return NULL;
    const char *text = header + 7 + strspn(header + 7, " ");
    size_t prefix = strlen(SRV_TOKEN_PREFIX);
    if (strncmp(text, SRV_TOKEN_PREFIX, prefix) != 0 || strlen(text) > 200)
        return NULL;
    const struct srv_token_record *record =
        find(&table->records, text + prefix, strcspn(text + prefix, "_"));
    struct lode_sha256 hash;
    if (!record || lode_sha256_of(text, strlen(text), &hash, NULL) < 0)
        return NULL;
    return lode_digest_equal(&hash, &record->hash, sizeof(hash)) ? record : NULL;
}

int srv_auth_check(struct srv_auth *auth, const char *header, bool open, struct srv_caller *out,
                   struct lode_err *err)
{
    struct srv_auth_table *table = table_ref(auth);
    if (open && !atomic_load(&auth->guarded)) {
        table_unref(table);
        *out = (struct srv_caller){0};
        return 0;
    }
    const struct srv_token_record *record = recognise(table, header);
    if (!record) {
        table_unref(table);
        return lode_err_set(
            err, LODE_UNAUTHENTICATED,
            header ? "this token is not known here; it may have been removed"
                   : "a token is needed: set LODE_TOKEN, or send \"Authorization: Bearer ...\"");
    }
    *out = (struct srv_caller){table, record};
    return 0;
}

int srv_caller_scope(const struct srv_caller *caller, enum lode_scope scope, struct lode_err *err)
{
    if (!caller->record || caller->record->info.scope >= scope || LODE_PLANTED(scope_unchecked))
        return 0;
    return lode_err_set(err, LODE_DENIED, "token %s has the scope %s; this needs %s",
                        caller->record->info.name, lode_scope_name(caller->record->info.scope),
                        lode_scope_name(scope));
}

bool srv_caller_limited(const struct srv_caller *caller)
{
    return caller->record && caller->record->info.n_patterns > 0;
}

bool srv_caller_may(const struct srv_caller *caller, const char *ns, const char *name)
{
    if (!srv_caller_limited(caller) || LODE_PLANTED(pattern_ignored))
        return true;
    char full[2 * LODE_NAME_MAX + 2];
    bool plain = strcmp(ns, LODE_DEFAULT_NS) == 0;
    snprintf(full, sizeof(full), "%s%s%s", plain ? "" : ns, plain ? "" : "/", name);
    for (size_t i = 0; i < caller->record->info.n_patterns; i++)
        if (fnmatch(caller->record->info.patterns[i], full, FNM_PATHNAME | FNM_NOESCAPE) == 0)
            return true;
    return false;
}

const char *srv_caller_name(const struct srv_caller *caller)
{
    return caller->record ? caller->record->info.name : NULL;
}

struct srv_caller srv_caller_ref(const struct srv_caller *caller)
{
    if (caller->table)
        atomic_fetch_add(&caller->table->refs, 1);
    return *caller;
}

void srv_caller_release(struct srv_caller *caller)
{
    table_unref(caller->table);
    *caller = (struct srv_caller){0};
}
