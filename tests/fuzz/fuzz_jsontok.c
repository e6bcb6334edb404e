/* The tokenizer: the tokens do not depend on how the bytes are cut, and it accepts what jansson
 * accepts. */
#include <jansson.h>
#include "base/jsontok.h"
#include "base/limits.h"
#include "fuzz/one_format.h"

static void add_token(struct lode_buf *out, const struct lode_json_tok *tok)
{
    lode_buf_add(out, &tok->type, sizeof tok->type);
    lode_buf_add(out, &tok->at, sizeof tok->at);
    lode_buf_add(out, &tok->u64, sizeof tok->u64);
    lode_buf_add(out, &tok->number, sizeof tok->number);
    lode_buf_add(out, tok->text, tok->len);
}

static int tokens(const uint8_t *data, size_t size, size_t step, struct lode_buf *out)
{
    struct lode_jsontok t;
    struct lode_json_tok tok;
    size_t fed = 0;
    int r;
    lode_jsontok_init(&t, "the text", 1 << 20);
    while ((r = lode_jsontok_next(&t, &tok, NULL)) > 0) {
        if (r == LODE_JSONTOK_TOK) {
            add_token(out, &tok);
        } else if (fed == size) {
            lode_jsontok_end(&t);
        } else {
            size_t n = lode_min(step, size - fed);
            lode_jsontok_feed(&t, data + fed, n);
            fed += n;
        }
    }
    lode_jsontok_release(&t);
    return r;
}

/* jansson refuses what no double and no i64 can hold, and NUL in keys; depth has a limit of its own
 * there. */
static bool same_as_jansson(const uint8_t *data, size_t size, int ours)
{
    json_error_t e;
    if (memchr(data, 0, size))
        return true;
    json_t *doc = json_loadb((const char *)data, size,
                             JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);
    bool theirs = doc != NULL;
    json_decref(doc);
    if (theirs)
        return ours == 0 || ours == LODE_LIMIT;
    enum json_error_code code = json_error_code(&e);
    bool narrower = code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
                    code == json_error_stack_overflow;
    return ours < 0 || narrower;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lode_buf whole = LODE_BUF_INIT(1 << 24), cut = LODE_BUF_INIT(1 << 24);
    int r = tokens(data, size, size ? size : 1, &whole);
    for (size_t step = 1; step < 8; step += 3) {
        lode_buf_clear(&cut);
        must(tokens(data, size, step, &cut) == r && cut.len == whole.len);
        must(cut.len == 0 || memcmp(cut.data, whole.data, cut.len) == 0);
    }
    must(size == 0 || same_as_jansson(data, size, r));
    lode_buf_release(&whole);
    lode_buf_release(&cut);
    return 0;
}
