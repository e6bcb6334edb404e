/* A *.safetensors.index.json, {"metadata":{...},"weight_map":{"tensor":"file"}}, against the
 * shards.
 *
 * Every tensor of the map must be in the file that it names, and the files named must hold no other
 * tensor. metadata.total_size is not looked at: writers disagree on what it means.
 */
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "format/safetensors.h"
#include "format/sort.h"

enum { X_START, X_KEY, X_SKIP_VALUE, X_SKIP, X_MAP, X_TENSOR, X_FILE, X_END };

#define NOT_FOUND ((size_t)-1)

static int by_path(const void *arg, uint32_t a, uint32_t b)
{
    const struct st_shards *s = arg;
    return strcmp(s->files[a].path, s->files[b].path);
}

static int by_name_and_file(const void *arg, uint32_t a, uint32_t b)
{
    const struct st_shards *s = arg;
    struct lode_tensor x = lode_index_builder_get(s->into, a),
                       y = lode_index_builder_get(s->into, b);
    int order = strcmp(x.name, y.name);
    return order ? order : (x.file > y.file) - (x.file < y.file);
}

static uint32_t *sorted(const struct st_shards *s, size_t n, lode_sort_cmp *cmp)
{
    _cleanup_free_ uint32_t *order = lode_calloc(n, sizeof *order);
    if (!order)
        return NULL;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    return lode_sort_u32(order, n, cmp, s) < 0 ? NULL : lode_steal(order);
}

int st_shards_init(struct st_shards *s, const struct lode_format_file *index,
                   const struct lode_format_file *files, size_t n, struct lode_index_builder *into,
                   struct lode_err *err)
{
    *s = (struct st_shards){.index = index,
                            .files = files,
                            .n = n,
                            .into = into,
                            .state = X_START,
                            .last_file = NOT_FOUND,
                            .name = LODE_BUF_INIT(LODE_TENSOR_NAME_MAX)};
    s->n_tensors = lode_index_builder_count(into);
    s->by_path = sorted(s, n, by_path);
    s->by_name = sorted(s, s->n_tensors, by_name_and_file);
    s->mapped = lode_zalloc(s->n_tensors);
    s->used = lode_zalloc(n);
    if (s->by_path && s->by_name && s->mapped && s->used)
        return 0;
    st_shards_release(s);
    return lode_err_nomem(err, index->path);
}

void st_shards_release(struct st_shards *s)
{
    lode_free(s->by_path);
    lode_free(s->by_name);
    lode_free(s->mapped);
    lode_free(s->used);
    lode_buf_release(&s->name);
    s->by_path = s->by_name = NULL;
    s->mapped = s->used = NULL;
}

/* Compares "<the index's directory>/<shard>" with a path. */
static int compare_path(const struct st_shards *s, const char *shard, size_t len, const char *path)
{
    const char *slash = strrchr(s->index->path, '/');
    size_t dir = slash ? (size_t)(slash - s->index->path) + 1 : 0;
    int order = strncmp(s->index->path, path, dir);
    if (order)
        return order;
    order = strncmp(shard, path + dir, len);
    return order ? order : path[dir + len] ? -1 : 0;
}

static size_t find_file(struct st_shards *s, const char *shard, size_t len)
{
    if (s->last_file != NOT_FOUND && compare_path(s, shard, len, s->files[s->last_file].path) == 0)
        return s->last_file;
    size_t from = 0, to = s->n;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int order = compare_path(s, shard, len, s->files[s->by_path[mid]].path);
        if (order == 0)
            return s->by_path[mid];
        if (order < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return NOT_FOUND;
}

static size_t find_tensor(const struct st_shards *s, const char *name, unsigned file)
{
    size_t from = 0, to = s->n_tensors;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        struct lode_tensor t = lode_index_builder_get(s->into, s->by_name[mid]);
        int order = strcmp(name, t.name);
        if (order == 0)
            order = (file > t.file) - (file < t.file);
        if (order == 0)
            return s->by_name[mid];
        if (order < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return NOT_FOUND;
}

/* One line of the map: `name` is kept, `tok` is the shard. */
static int on_shard(struct st_shards *s, const struct lode_jsontok *json,
                    const struct lode_json_tok *tok, struct lode_err *err)
{
    const char *name = lode_buf_str(&s->name);
    if (tok->type != LODE_JSON_STRING)
        return lode_jsontok_refuse(json, tok, err, "weight_map does not map strings to strings");
    int e = lode_path_check(tok->text, tok->len, err);
    if (e < 0) {
        lode_err_prefix(err, "%s, at byte %llu", json->what, (unsigned long long)tok->at);
        return e;
    }
    size_t file = find_file(s, tok->text, tok->len);
    if (file == NOT_FOUND)
        return lode_jsontok_refuse(json, tok, err, "tensor %s should be in %s, which is not there",
                                   lode_q(name), lode_qn(tok->text, tok->len));
    size_t tensor =
        memchr(name, 0, s->name.len) ? NOT_FOUND : find_tensor(s, name, s->files[file].number);
    if (tensor == NOT_FOUND)
        return lode_jsontok_refuse(json, tok, err, "tensor %s should be in %s, but is not",
                                   lode_q(name), lode_qn(tok->text, tok->len));
    if (s->mapped[tensor])
        return lode_jsontok_refuse(json, tok, err, "tensor %s comes twice", lode_q(name));
    s->mapped[tensor] = 1;
    s->used[file] = 1;
    s->last_file = file;
    s->state = X_TENSOR;
    return 0;
}

static int on_tensor(struct st_shards *s, const struct lode_json_tok *tok, struct lode_err *err)
{
    if (tok->type == LODE_JSON_OBJECT_END) {
        s->state = X_KEY;
        return 0;
    }
    lode_buf_clear(&s->name);
    lode_buf_add(&s->name, tok->text, tok->len);
    s->state = X_FILE;
    return lode_buf_check(&s->name, "a tensor's name", err);
}

static int on_key(struct st_shards *s, const struct lode_jsontok *json,
                  const struct lode_json_tok *tok, struct lode_err *err)
{
    static const char map[] = "weight_map";
    if (tok->type == LODE_JSON_OBJECT_END) {
        s->state = X_END;
        return s->map_seen ? 0 : lode_jsontok_refuse(json, tok, err, "it has no weight_map");
    }
    s->state = X_SKIP_VALUE;
    if (tok->len != sizeof map - 1 || memcmp(tok->text, map, tok->len) != 0)
        return 0;
    if (s->map_seen)
        return lode_jsontok_refuse(json, tok, err, "weight_map comes twice");
    s->map_seen = true;
    s->state = X_MAP;
    return 0;
}

int st_shards_token(struct st_shards *s, const struct lode_jsontok *json,
                    const struct lode_json_tok *tok, struct lode_err *err)
{
    switch (s->state) {
    case X_START:
    case X_MAP:
        if (tok->type != LODE_JSON_OBJECT)
            return lode_jsontok_refuse(json, tok, err, "%s is no object",
                                       s->state == X_MAP ? "weight_map" : "it");
        s->state = s->state == X_MAP ? X_TENSOR : X_KEY;
        return 0;
    case X_KEY:
        return on_key(s, json, tok, err);
    case X_SKIP_VALUE:
        s->state = tok->type == LODE_JSON_OBJECT || tok->type == LODE_JSON_ARRAY ? X_SKIP : X_KEY;
        return 0;
    case X_SKIP:
        if (tok->depth == 1)
            s->state = X_KEY;
        return 0;
    case X_TENSOR:
        return on_tensor(s, tok, err);
    default:
        return on_shard(s, json, tok, err);
    }
}

bool st_shards_discards(const struct st_shards *s)
{
    return s->state == X_SKIP_VALUE || s->state == X_SKIP;
}

int st_shards_check(struct st_shards *s, struct lode_err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!s->used[i])
            continue;
        int e = lode_index_builder_group(s->into, s->files[i].number, s->index->number, err);
        if (e < 0)
            return e;
    }
    size_t at = 0; /* the files are in the order of their numbers, and so are their tensors */
    for (size_t i = 0; i < s->n_tensors; i++) {
        struct lode_tensor t = lode_index_builder_get(s->into, i);
        for (size_t k = 0; k < s->n && s->files[at].number != t.file; k++)
            at = (at + 1) % s->n;
        if (s->files[at].number == t.file && s->used[at] && !s->mapped[i])
            return lode_err_set(err, LODE_INVALID,
                                "%s: tensor %s is in %s, but not in the weight map", s->index->path,
                                lode_q(t.name), s->files[at].path);
    }
    return 0;
}
