/* Writing over HTTP: each part is one PUT, the object is made by one POST. What a key's
 * unfinished write has is the server's to know; it has at most one a key, so its id here is a
 * constant.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "store/http.h"
#include "store/store.h"
#include "store/util.h"

#define RESUME_ID "parts"

struct http_write {
    const struct lode_store_ops *ops;
    struct http_store *store;
    char *key;
    size_t part_size;
    uint64_t size; /* UINT64_MAX: unknown */
    uint32_t mode;
    _Atomic bool begun;            /* the server may have something of it */
    struct lode_store_part *parts; /* of a resumed write; owned */
    size_t n;
};

static struct http_write *write_of(struct lode_store_write *write)
{
    return (struct http_write *)(void *)write;
}

static void write_free(struct http_write *self)
{
    lode_free(self->parts);
    lode_free(self->key);
    lode_free(self);
}

/* ---- what the server has ---- */

static int read_part(const json_t *item, struct lode_store_part *part, struct lode_err *err)
{
    uint64_t number, size;
    int r = lode_json_u64(item, "number", &number, err);
    if (r == 0)
        r = lode_json_u64(item, "size", &size, err);
    if (r == 0 && (number >= LODE_STORE_PARTS_MAX || size > SIZE_MAX / 2))
        r = lode_err_set(err, LODE_INVALID, "a part's number or size is too large");
    if (r == 0)
        *part = (struct lode_store_part){(uint32_t)number, (size_t)size};
    return r;
}

static int read_parts(struct http_write *self, const json_t *doc, struct lode_err *err)
{
    uint64_t part_size;
    json_t *list;
    int r = lode_json_u64(doc, "part_size", &part_size, err);
    if (r == 0)
        r = lode_json_arr(doc, "parts", &list, err);
    if (r == 0 && part_size != self->part_size)
        return lode_err_set(err, LODE_INVALID,
                            "the unfinished write of %s has parts of %" PRIu64 " bytes, not %zu",
                            lode_q(self->key), part_size, self->part_size);
    if (r < 0)
        return r;
    self->parts = lode_calloc(json_array_size(list), sizeof *self->parts);
    if (!self->parts)
        return lode_err_nomem(err, "a list of parts");
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        r = read_part(json_array_get(list, i), &self->parts[self->n], err);
        if (r == 0 && self->n > 0 && self->parts[self->n].number <= self->parts[self->n - 1].number)
            r = lode_err_set(err, LODE_INVALID, "the parts are not sorted");
        self->n++;
    }
    return r;
}

/* A reply that is JSON; what is wrong with it is the server's fault. */
static int ask_json(struct http_store *self, const char *key, const char *query, json_t **doc,
                    struct lode_err *err)
{
    _cleanup_http_reply_ struct lode_http_reply reply = {0};
    int r = http_ask(self, "GET", key, query, NULL, 0, &reply, err);
    if (r < 0)
        return r;
    if (reply.status != 200 ||
        lode_json_parse(lode_buf_str(&reply.body), reply.body.len, "the reply", doc, NULL) < 0)
        return http_strange(self, key, &reply, "not with what was asked for", err);
    return 0;
}

static int resume(struct http_write *self, const char *id, struct lode_err *err)
{
    _cleanup_json_ json_t *doc = NULL;
    if (strcmp(id, RESUME_ID) != 0)
        return lode_err_set(err, LODE_NOT_FOUND, "no unfinished write %s of %s", lode_q(id),
                            lode_q(self->key));
    int r = ask_json(self->store, self->key, "?parts", &doc, err);
    if (r < 0)
        return r;
    atomic_store(&self->begun, true);
    return read_parts(self, doc, err);
}

int http_write_begin(struct lode_store *store, const char *key,
                     const struct lode_store_write_opts *opts, struct lode_store_write **out,
                     struct lode_err *err)
{
    int r = lode_store_may_write(store, key, err);
    if (r < 0)
        return r;
    struct http_write *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a write");
    self->ops = lode_store_ops_of(store);
    self->store = http_of(store);
    self->key = lode_strdup(key);
    self->part_size = opts->part_size;
    self->size = opts->size;
    self->mode = opts->mode & 0777;
    if (!self->key)
        r = lode_err_nomem(err, "a key");
    else if (opts->resume)
        r = resume(self, opts->resume, err);
    if (r < 0) {
        write_free(self);
        return r;
    }
    *out = (struct lode_store_write *)(void *)self;
    return 0;
}

int http_write_parts(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                     struct lode_err *err)
{
    struct http_write *self = write_of(write);
    struct lode_store_part *copy = lode_memdup(self->parts, self->n * sizeof *copy);
    if (!copy)
        return lode_err_nomem(err, "a list of parts");
    *parts = copy;
    *n = self->n;
    return 0;
}

/* ---- parts, complete, abort ---- */

int http_write_part(struct lode_store_write *write, uint32_t number, const void *data, size_t len,
                    struct lode_err *err)
{
    struct http_write *self = write_of(write);
    _cleanup_http_reply_ struct lode_http_reply reply = {0};
    char query[160];
    if (len > self->part_size || number >= LODE_STORE_PARTS_MAX)
        return lode_err_set(
            err, LODE_INVALID,
            "part %u of %s with %zu bytes: parts have at most %zu bytes and numbers "
            "below %u",
            number, lode_q(self->key), len, self->part_size, LODE_STORE_PARTS_MAX);
    if (len == 0)
        return 0;
    int n = snprintf(query, sizeof query, "?part=%u&part_size=%zu", number, self->part_size);
    if (self->size != UINT64_MAX)
        n += snprintf(query + n, sizeof query - (size_t)n, "&size=%" PRIu64, self->size);
    if (self->mode)
        snprintf(query + n, sizeof query - (size_t)n, "&mode=%o", self->mode);
    atomic_store(&self->begun, true);
    int r = http_ask(self->store, "PUT", self->key, query, data, len, &reply, err);
    return r < 0 || reply.status < 300
               ? r
               : http_strange(self->store, self->key, &reply, "did not take a part", err);
}

int http_write_complete(struct lode_store_write *write, uint64_t size, bool if_absent,
                        struct lode_err *err)
{
    struct http_write *self = write_of(write);
    _cleanup_http_reply_ struct lode_http_reply reply = {0};
    char query[128];
    int n =
        snprintf(query, sizeof query, "?complete&size=%" PRIu64 "&if_absent=%d", size, if_absent);
    if (size == 0 && self->mode)
        snprintf(query + n, sizeof query - (size_t)n, "&mode=%o", self->mode);
    int r = http_ask(self->store, "POST", self->key, query, NULL, 0, &reply, err);
    if (r == 0 && reply.status != 200)
        r = http_strange(self->store, self->key, &reply, "did not complete it", err);
    /* Parts that do not fit together will not do so later; what was only not reached may be
     * there. */
    if (r == LODE_INVALID || r == LODE_EXISTS)
        http_write_abort(write, false);
    else
        write_free(self);
    return r;
}

static int drop(struct http_store *self, const char *key, struct lode_err *err)
{
    _cleanup_http_reply_ struct lode_http_reply reply = {0};
    return http_ask(self, "DELETE", key, "?parts", NULL, 0, &reply, err);
}

/* Best effort: what cannot be dropped now goes with its attempt. */
void http_write_abort(struct lode_store_write *write, bool keep)
{
    struct http_write *self = write_of(write);
    if (!keep && atomic_load(&self->begun)) {
        int r = drop(self->store, self->key, NULL);
        (void)r;
    }
    write_free(self);
}

/* ---- unfinished ---- */

static int add_unfinished(const json_t *item, const char *dir,
                          struct lode_store_unfinished_list *list, struct lode_err *err)
{
    const char *key;
    int64_t started_ms;
    int r = lode_json_str(item, "key", &key, err);
    if (r == 0)
        r = lode_json_i64(item, "started_ms", &started_ms, err);
    if (r == 0)
        r = lode_key_check(key, strlen(key), false, err);
    if (r < 0 || !lode_key_beneath(key, dir))
        return r;
    struct lode_store_unfinished *out = &list->items[list->n++];
    *out = (struct lode_store_unfinished){lode_strdup(key), lode_strdup(RESUME_ID), started_ms};
    return out->key && out->id ? 0 : lode_err_nomem(err, "a list");
}

int http_unfinished(struct lode_store *store, const char *dir,
                    struct lode_store_unfinished_list *out, struct lode_err *err)
{
    _cleanup_json_ json_t *doc = NULL;
    struct lode_store_unfinished_list list = {0};
    json_t *items;
    int r = ask_json(http_of(store), "", "?unfinished", &doc, err);
    if (r == 0)
        r = lode_json_arr(doc, "unfinished", &items, err);
    if (r < 0)
        return r;
    list.items = lode_calloc(json_array_size(items), sizeof *list.items);
    if (!list.items)
        return lode_err_nomem(err, "a list");
    for (size_t i = 0; r == 0 && i < json_array_size(items); i++)
        r = add_unfinished(json_array_get(items, i), dir, &list, err);
    if (r < 0)
        lode_store_unfinished_release(&list);
    else
        *out = list;
    return r;
}

int http_discard(struct lode_store *store, const char *key, const char *id, struct lode_err *err)
{
    int r = lode_store_may_write(store, key, err);
    if (r < 0)
        return r;
    if (strcmp(id, RESUME_ID) != 0)
        return lode_err_set(err, LODE_NOT_FOUND, "no unfinished write %s of %s", lode_q(id),
                            lode_q(key));
    return drop(http_of(store), key, err);
}
