/* Tokens in the root: `token/<id>` holds who it is, what it may do and the SHA-256 of the secret
 * text, never the text.
 *
 * The text is `lode_<id>_<64 hex digits>`: the id finds the record without a search, the rest is
 * 256 random bits. Names are unique, because they stand in journals: `token-name/<name>` is
 * compared absent by the transaction that adds. */
#include "server/token.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "registry/handle.h"
#include "server/server.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID_BYTES 8
#define SECRET_BYTES 32

const char *lode_scope_name(enum lode_scope scope)
{
    return scope >= LODE_SCOPE_ADMIN ? "admin" : scope >= LODE_SCOPE_WRITE ? "write" : "read";
}

int lode_scope_parse(const char *s, enum lode_scope *out, struct lode_err *err)
{
    static const enum lode_scope scopes[] = {LODE_SCOPE_READ, LODE_SCOPE_WRITE, LODE_SCOPE_ADMIN};
    for (size_t i = 0; i < LODE_ARRAY_LEN(scopes); i++) {
        if (strcmp(s, lode_scope_name(scopes[i])) == 0) {
            *out = scopes[i];
            return 0;
        }
    }
    return lode_err_set(err, LODE_INVALID, "%s is no scope; there are read, write and admin",
                        lode_q(s));
}

static int random_hex(size_t bytes, char *out, struct lode_err *err)
{
    uint8_t raw[SECRET_BYTES];
    size_t have = 0;
    while (have < bytes) {
        ssize_t n = lode_sys->getrandom(raw + have, bytes - have);
        if (n < 0 && errno != EINTR)
            return lode_err_sys(err, "cannot make a random token");
        have += n > 0 ? (size_t)n : 0;
    }
    lode_hex(raw, bytes, out);
    explicit_bzero(raw, sizeof(raw));
    return 0;
}

/* ---- the record ---- */

static json_t *record_json(const struct srv_token_record *t)
{
    char hash[LODE_SHA256_HEX];
    json_t *patterns = json_array();
    for (size_t i = 0; i < t->info.n_patterns; i++)
        json_array_append_new(patterns, json_string(t->info.patterns[i]));
    return json_pack("{s:i, s:s, s:s, s:s, s:o, s:s, s:I}", "schema", 1, "id", t->info.id, "name",
                     t->info.name, "scope", lode_scope_name(t->info.scope), "patterns", patterns,
                     "sha256", lode_sha256_text(&t->hash, hash), "created_ms",
                     (json_int_t)t->info.created_ms);
}

static int patterns_parse(const json_t *list, struct lode_token_info *out, struct lode_err *err)
{
    size_t n = json_array_size(list);
    if (n == 0)
        return 0;
    out->patterns = lode_calloc(n, sizeof(*out->patterns));
    if (!out->patterns)
        return lode_err_nomem(err, "a token");
    for (; out->n_patterns < n; out->n_patterns++) {
        out->patterns[out->n_patterns] =
            lode_strdup(json_string_value(json_array_get(list, out->n_patterns)));
        if (!out->patterns[out->n_patterns])
            return lode_err_set(err, LODE_CORRUPT, "a token's patterns are no texts");
    }
    return 0;
}

static int record_fill(const json_t *doc, struct srv_token_record *out, struct lode_err *err)
{
    const char *id, *name, *scope, *hash;
    json_t *patterns;
    int r = lode_json_str(doc, "id", &id, err);
    r = r < 0 ? r : lode_json_str(doc, "name", &name, err);
    r = r < 0 ? r : lode_json_str(doc, "scope", &scope, err);
    r = r < 0 ? r : lode_json_str(doc, "sha256", &hash, err);
    r = r < 0 ? r : lode_json_i64(doc, "created_ms", &out->info.created_ms, err);
    r = r < 0 ? r : lode_json_arr(doc, "patterns", &patterns, err);
    r = r < 0 ? r : lode_scope_parse(scope, &out->info.scope, err);
    r = r < 0 ? r : patterns_parse(patterns, &out->info, err);
    if (r < 0)
        return r;
    if (!lode_sha256_parse(hash, &out->hash))
        return lode_err_set(err, LODE_CORRUPT, "the record of a token holds no digest");
    out->info.id = lode_strdup(id);
    out->info.name = lode_strdup(name);
    return out->info.id && out->info.name ? 0 : lode_err_nomem(err, "a token");
}

static int record_parse(const struct lode_coord_kv *kv, struct srv_token_record *out,
                        struct lode_err *err)
{
    _cleanup_json_ json_t *doc = NULL;
    int r = lode_json_parse(kv->value, kv->len, "the record of a token", &doc, err);
    struct srv_token_record record = {.modified = kv->modified};
    r = r < 0 ? r : record_fill(doc, &record, err);
    if (r < 0) {
        lode_token_info_release(&record.info);
        return r;
    }
    *out = record;
    return 0;
}

void lode_token_info_release(struct lode_token_info *info)
{
    lode_free(info->id);
    lode_free(info->name);
    for (size_t i = 0; i < info->n_patterns; i++)
        lode_free(info->patterns[i]);
    lode_free(info->patterns);
    *info = (struct lode_token_info){0};
}

/* ---- all of them ---- */

void srv_token_records_release(struct srv_token_records *records)
{
    for (size_t i = 0; i < records->n; i++)
        lode_token_info_release(&records->items[i].info);
    lode_free(records->items);
    *records = (struct srv_token_records){0};
}

static int records_page(struct lode_coord *coord, char **after, bool *more,
                        struct srv_token_records *into, struct lode_err *err)
{
    struct lode_coord_kvs page;
    int r = lode_coord_range(coord, "token/", *after, 500, &page, err);
    if (r < 0)
        return r;
    struct srv_token_record *items =
        lode_realloc_array(into->items, into->n + page.n + 1, sizeof(*items));
    if (!items) {
        lode_coord_kvs_release(&page);
        return lode_err_nomem(err, "the tokens");
    }
    into->items = items;
    for (size_t i = 0; i < page.n && r == 0; i++) {
        r = record_parse(&page.items[i], &into->items[into->n], err);
        into->n += r == 0;
    }
    lode_free(*after);
    *after = page.n ? lode_strdup(page.items[page.n - 1].key) : NULL;
    *more = page.more && *after;
    lode_coord_kvs_release(&page);
    return r;
}

int srv_token_records(struct lode_coord *coord, struct srv_token_records *out, struct lode_err *err)
{
    struct srv_token_records records = {0};
    _cleanup_free_ char *after = NULL;
    int r = 0;
    for (bool more = true; more && r == 0;)
        r = records_page(coord, &after, &more, &records, err);
    if (r < 0) {
        srv_token_records_release(&records);
        return r;
    }
    *out = records; /* keys are ids: sorted by id */
    return 0;
}

/* ---- add ---- */

static int check_patterns(const char *const *patterns, size_t n, struct lode_err *err)
{
    if (n > SRV_TOKEN_PATTERNS_MAX)
        return lode_err_set(err, LODE_LIMIT, "a token has at most %d patterns",
                            SRV_TOKEN_PATTERNS_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(patterns[i]);
        if (len == 0 || len > 2 * LODE_NAME_MAX + 1 || lode_utf8_valid(patterns[i], len) != len ||
            strspn(patterns[i],
                   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/*?[]!") !=
                len)
            return lode_err_set(err, LODE_INVALID,
                                "%s is no pattern of model names; write \"rank-*\" or \"team/*\"",
                                lode_q(patterns[i]));
    }
    return 0;
}

static int record_new(const char *name, enum lode_scope scope, const char *const *patterns,
                      size_t n_patterns, struct srv_token_record *out, char **secret,
                      struct lode_err *err)
{
    char id[2 * ID_BYTES + 1], random[2 * SECRET_BYTES + 1];
    int r = random_hex(ID_BYTES, id, err);
    r = r < 0 ? r : random_hex(SECRET_BYTES, random, err);
    if (r < 0)
        return r;
    char *text = lode_asprintf(SRV_TOKEN_PREFIX "%s_%s", id, random);
    explicit_bzero(random, sizeof(random));
    struct srv_token_record t = {.info = {.scope = scope, .created_ms = lode_now_ms()}};
    t.info.id = lode_strdup(id);
    t.info.name = lode_strdup(name);
    t.info.patterns = lode_calloc(n_patterns + 1, sizeof(char *));
    bool good = text && t.info.id && t.info.name && t.info.patterns;
    for (; good && t.info.n_patterns < n_patterns; t.info.n_patterns++)
        good =
            (t.info.patterns[t.info.n_patterns] = lode_strdup(patterns[t.info.n_patterns])) != NULL;
    r = good ? lode_sha256_of(text, strlen(text), &t.hash, err) : lode_err_nomem(err, "a token");
    if (r < 0) {
        lode_token_info_release(&t.info);
        lode_free_secret(text);
        return r;
    }
    *out = t;
    *secret = text;
    return 0;
}

static int record_store(struct lode_coord *coord, const struct srv_token_record *t,
                        struct lode_err *err)
{
    _cleanup_json_ json_t *doc = record_json(t);
    size_t len = 0;
    _cleanup_free_ char *text = doc ? lode_json_text(doc, &len) : NULL;
    _cleanup_free_ char *key = lode_asprintf("token/%s", t->info.id);
    _cleanup_free_ char *name_key = lode_asprintf("token-name/%s", t->info.name);
    if (!text || !key || !name_key)
        return lode_err_nomem(err, "a token");
    struct lode_coord_compare compares[] = {{key, 0}, {name_key, 0}};
    struct lode_coord_op ops[] = {
        {.kind = LODE_COORD_PUT, .key = key, .value = text, .len = len},
        {.kind = LODE_COORD_PUT, .key = name_key, .value = t->info.id, .len = strlen(t->info.id)}};
    struct lode_coord_txn txn = {compares, LODE_ARRAY_LEN(compares), ops, LODE_ARRAY_LEN(ops), NULL,
                                 0};
    struct lode_coord_txn_result result;
    int r = lode_coord_txn(coord, &txn, &result, err);
    if (r < 0)
        return r;
    bool stored = result.succeeded;
    lode_coord_txn_result_release(&result);
    return stored
               ? 0
               : lode_err_set(
                     err, LODE_EXISTS,
                     "there is a token called %s already; remove it first or choose another name",
                     t->info.name);
}

int srv_token_coord_add(struct lode_coord *coord, const char *name, enum lode_scope scope,
                        const char *const *patterns, size_t n_patterns, char **secret,
                        struct lode_token_info *out, struct lode_err *err)
{
    int r = lode_name_check(LODE_NAME_MODEL, name, strlen(name), err);
    r = r < 0 ? r : check_patterns(patterns, n_patterns, err);
    struct srv_token_record record = {0};
    char *text = NULL;
    r = r < 0 ? r : record_new(name, scope, patterns, n_patterns, &record, &text, err);
    r = r < 0 ? r : record_store(coord, &record, err);
    if (r < 0) {
        lode_token_info_release(&record.info);
        lode_free_secret(text);
        return r;
    }
    *secret = text;
    if (out)
        *out = record.info;
    else
        lode_token_info_release(&record.info);
    return 0;
}

/* ---- remove ---- */

static int record_remove(struct lode_coord *coord, const struct srv_token_record *t,
                         struct lode_err *err)
{
    _cleanup_free_ char *key = lode_asprintf("token/%s", t->info.id);
    _cleanup_free_ char *name_key = lode_asprintf("token-name/%s", t->info.name);
    if (!key || !name_key)
        return lode_err_nomem(err, "a token");
    struct lode_coord_compare compare = {key, t->modified};
    struct lode_coord_op ops[] = {{.kind = LODE_COORD_DELETE, .key = key},
                                  {.kind = LODE_COORD_DELETE, .key = name_key}};
    struct lode_coord_txn txn = {&compare, 1, ops, LODE_ARRAY_LEN(ops), NULL, 0};
    struct lode_coord_txn_result result;
    int r = lode_coord_txn(coord, &txn, &result, err);
    if (r == 0)
        lode_coord_txn_result_release(&result); /* not succeeded: somebody else removed it */
    return r;
}

int srv_token_coord_rm(struct lode_coord *coord, const char *name_or_id, struct lode_err *err)
{
    struct srv_token_records records = {0};
    int r = srv_token_records(coord, &records, err);
    if (r < 0)
        return r;
    r = LODE_NOT_FOUND;
    for (size_t i = 0; i < records.n && r == LODE_NOT_FOUND; i++) {
        const struct lode_token_info *info = &records.items[i].info;
        if (strcmp(info->name, name_or_id) == 0 || strcmp(info->id, name_or_id) == 0)
            r = record_remove(coord, &records.items[i], err);
    }
    srv_token_records_release(&records);
    return r != LODE_NOT_FOUND
               ? r
               : lode_err_set(err, r, "there is no token called %s", lode_q(name_or_id));
}

/* ---- on a handle ---- */

static int handle_coord(struct lode *lode, struct lode_coord **out, struct lode_err *err)
{
    if (!lode->coord)
        return lode_err_set(err, LODE_UNSUPPORTED,
                            "tokens of %s are made on the server's own machine: run lode token "
                            "there, with the root's directory as --url",
                            lode->url);
    *out = lode->coord;
    return 0;
}

int lode_token_add(struct lode *lode, const char *name, enum lode_scope scope,
                   const char *const *patterns, size_t n_patterns, char **secret,
                   struct lode_token_info *out, struct lode_err *err)
{
    struct lode_coord *coord = NULL;
    int r = handle_coord(lode, &coord, err);
    return r < 0 ? r
                 : srv_token_coord_add(coord, name, scope, patterns, n_patterns, secret, out, err);
}

int lode_token_rm(struct lode *lode, const char *name_or_id, struct lode_err *err)
{
    struct lode_coord *coord = NULL;
    int r = handle_coord(lode, &coord, err);
    return r < 0 ? r : srv_token_coord_rm(coord, name_or_id, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct lode_token_info *)a)->name,
                  ((const struct lode_token_info *)b)->name);
}

int srv_token_coord_ls(struct lode_coord *coord, struct lode_tokens *out, struct lode_err *err)
{
    struct srv_token_records records = {0};
    int r = srv_token_records(coord, &records, err);
    if (r < 0)
        return r;
    struct lode_token_info *items = lode_calloc(records.n + 1, sizeof(*items));
    for (size_t i = 0; items && i < records.n; i++) {
        items[i] = records.items[i].info;
        records.items[i].info = (struct lode_token_info){0};
    }
    size_t n = records.n;
    srv_token_records_release(&records);
    if (!items)
        return lode_err_nomem(err, "the tokens");
    qsort(items, n, sizeof(*items), by_name);
    *out = (struct lode_tokens){items, n};
    return 0;
}

int lode_token_ls(struct lode *lode, struct lode_tokens *out, struct lode_err *err)
{
    struct lode_coord *coord = NULL;
    int r = handle_coord(lode, &coord, err);
    return r < 0 ? r : srv_token_coord_ls(coord, out, err);
}

void lode_tokens_release(struct lode_tokens *tokens)
{
    for (size_t i = 0; i < tokens->n; i++)
        lode_token_info_release(&tokens->items[i]);
    lode_free(tokens->items);
    *tokens = (struct lode_tokens){0};
}
