/* JSON trees for small documents: see base/json.h. */
#include "base/json.h"
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"

/* jansson allocates where our fault tests can reach it. */
__attribute__((constructor)) static void set_allocators(void)
{
    json_set_alloc_funcs(lode_alloc, lode_free);
}

static bool too_deep(const json_t *v, int depth)
{
    size_t i;
    const char *key;
    json_t *item;
    if (depth > LODE_JSON_DEPTH_MAX)
        return true;
    if (json_is_array(v)) {
        json_array_foreach((json_t *)(uintptr_t)v, i,
                           item) if (too_deep(item, depth + 1)) return true;
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, key,
                            item) if (too_deep(item, depth + 1)) return true;
    }
    return false;
}

int lode_json_parse(const char *s, size_t len, const char *what, json_t **out, struct lode_err *err)
{
    json_error_t e;
    /* jansson passes over raw NUL bytes, which no JSON may hold */
    const char *nul = len ? memchr(s, 0, len) : NULL;
    if (nul)
        return lode_err_set(err, LODE_INVALID, "%s is not valid JSON: a NUL at byte %zu", what,
                            (size_t)(nul - s));
    json_t *doc = json_loadb(s, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!doc && json_error_code(&e) == json_error_out_of_memory)
        return lode_err_nomem(err, what);
    if (!doc)
        return lode_err_set(err, LODE_INVALID, "%s is not valid JSON: %s at byte %d", what, e.text,
                            e.position);
    if (too_deep(doc, 0)) {
        json_decref(doc);
        return lode_err_set(err, LODE_INVALID, "%s is nested deeper than %d levels", what,
                            LODE_JSON_DEPTH_MAX);
    }
    *out = doc;
    return 0;
}

static int dump(const char *p, size_t n, void *arg)
{
    struct lode_buf *b = arg;
    lode_buf_add(b, p, n);
    return b->failed ? -1 : 0;
}

/* Not json_dumps(): it passes over a failed allocation in the middle of an object's key and answers
 * a text that lacks it. The sticky error of our buffer tells. */
static char *text_of(const json_t *doc, size_t flags, size_t *len)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(SIZE_MAX / 2);
    int r = doc ? json_dump_callback(doc, dump, &b, flags | JSON_ENCODE_ANY) : -1;
    if (r < 0 || b.failed)
        return NULL;
    if (len)
        *len = b.len;
    return lode_buf_steal(&b);
}

char *lode_json_text(const json_t *doc, size_t *len)
{
    return text_of(doc, JSON_COMPACT, len);
}

char *lode_json_pretty(const json_t *doc)
{
    return text_of(doc, JSON_INDENT(2), NULL);
}

static int wrong(const char *key, const char *type, const json_t *v, struct lode_err *err)
{
    if (!v)
        return lode_err_set(err, LODE_INVALID, "field '%s' is missing", key);
    return lode_err_set(err, LODE_INVALID, "field '%s' must be %s", key, type);
}

int lode_json_str(const json_t *obj, const char *key, const char **out, struct lode_err *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
        return wrong(key, "a string without NUL", v, err);
    *out = json_string_value(v);
    return 0;
}

int lode_json_i64(const json_t *obj, const char *key, int64_t *out, struct lode_err *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_integer(v))
        return wrong(key, "an integer", v, err);
    *out = json_integer_value(v);
    return 0;
}

int lode_json_u64(const json_t *obj, const char *key, uint64_t *out, struct lode_err *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return wrong(key, "an integer of at least 0", v, err);
    *out = (uint64_t)json_integer_value(v);
    return 0;
}

int lode_json_obj(const json_t *obj, const char *key, json_t **out, struct lode_err *err)
{
    json_t *v = json_object_get(obj, key);
    if (!json_is_object(v))
        return wrong(key, "an object", v, err);
    *out = v;
    return 0;
}

int lode_json_arr(const json_t *obj, const char *key, json_t **out, struct lode_err *err)
{
    json_t *v = json_object_get(obj, key);
    if (!json_is_array(v))
        return wrong(key, "an array", v, err);
    *out = v;
    return 0;
}

static bool absent(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return !v || json_is_null(v);
}

int lode_json_opt_str(const json_t *obj, const char *key, const char **out, struct lode_err *err)
{
    return absent(obj, key) ? 0 : lode_json_str(obj, key, out, err);
}

int lode_json_opt_i64(const json_t *obj, const char *key, int64_t *out, struct lode_err *err)
{
    return absent(obj, key) ? 0 : lode_json_i64(obj, key, out, err);
}

int lode_json_opt_u64(const json_t *obj, const char *key, uint64_t *out, struct lode_err *err)
{
    return absent(obj, key) ? 0 : lode_json_u64(obj, key, out, err);
}

int lode_json_opt_bool(const json_t *obj, const char *key, bool *out, struct lode_err *err)
{
    if (absent(obj, key))
        return 0;
    const json_t *v = json_object_get(obj, key);
    if (!json_is_boolean(v))
        return wrong(key, "true or false", v, err);
    *out = json_is_true(v);
    return 0;
}

int lode_json_only(const json_t *obj, const char *const *allowed, const char *what,
                   struct lode_err *err)
{
    const char *key;
    json_t *v;
    if (!json_is_object(obj))
        return lode_err_set(err, LODE_INVALID, "%s must be a JSON object", what);
    json_object_foreach((json_t *)(uintptr_t)obj, key, v)
    {
        const char *const *a = allowed;
        while (*a && strcmp(*a, key) != 0)
            a++;
        if (!*a)
            return lode_err_set(err, LODE_INVALID, "%s has an unknown field %s", what, lode_q(key));
    }
    return 0;
}

void lode_json_quote(struct lode_buf *b, const char *s, size_t len)
{
    size_t from = 0; /* of the run that needs no escape */
    lode_buf_addc(b, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        lode_buf_add(b, s + from, i - from);
        from = i + 1;
        if (c < 0x20)
            lode_buf_addf(b, "\\u%04x", c);
        else
            lode_buf_addf(b, "\\%c", c);
    }
    lode_buf_add(b, s + from, len - from);
    lode_buf_addc(b, '"');
}
