/* Page tokens: any text gets an answer, and a mark made from the input comes back as it was. */
#include <string.h>
#include "base/mem.h"
#include "catalog/page_token.h"
#include "fuzz/fuzz.h"

static void any_text(const uint8_t *data, size_t size)
{
    char text[2048];
    struct lode_page_mark mark = {0};
    if (size >= sizeof text)
        return;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    if (lode_page_parse(text, 7, &mark, NULL) == 0)
        lode_page_mark_release(&mark);
}

static void round_trip(const uint8_t *data, size_t size)
{
    struct lode_page_mark mark = {.query = data[0], .id = (int8_t)data[1], .missing = data[2] & 1},
                          back = {0};
    mark.kind = data[3] % 3;
    if (mark.kind == LODE_MARK_WHOLE)
        memcpy(&mark.whole, data + 4, 8);
    if (mark.kind == LODE_MARK_TEXT) {
        mark.len = size - 4 < 1000 ? size - 4 : 1000;
        mark.text = lode_strndup((const char *)data + 4, mark.len);
    }
    char *token = lode_page_token(&mark);
    must(token != NULL);
    must(lode_page_parse(token, mark.query + 1, &back, NULL) == LODE_INVALID);
    must(lode_page_parse(token, mark.query, &back, NULL) == 0);
    must(back.id == mark.id && back.missing == mark.missing && back.kind == mark.kind &&
         back.whole == mark.whole);
    must(back.len == mark.len && (mark.len == 0 || memcmp(back.text, mark.text, mark.len) == 0));
    token[size % strlen(token)] ^= 1;
    struct lode_page_mark none = {0};
    must(lode_page_parse(token, mark.query, &none, NULL) == LODE_INVALID);
    lode_free(token);
    lode_page_mark_release(&back);
    lode_page_mark_release(&mark);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    any_text(data, size);
    if (size >= 12)
        round_trip(data, size);
    return 0;
}
