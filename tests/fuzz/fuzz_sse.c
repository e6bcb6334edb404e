/* Event streams: the events do not depend on how the bytes arrive. */
#include <string.h>
#include "base/attr.h"
#include "base/err.h"
#include "fuzz/fuzz.h"
#include "io/sse.h"

static int on_event(void *arg, const struct lode_sse_event *e)
{
    struct lode_buf *out = arg;
    must(strlen(e->data) <= e->data_len);
    lode_buf_addf(out, "[%s|%s|%zu|", e->id, e->name, e->data_len);
    lode_buf_add(out, e->data, e->data_len);
    return 0;
}

static int feed(const uint8_t *data, size_t size, size_t step, struct lode_buf *out)
{
    struct lode_sse s;
    int r = 0;
    lode_sse_init(&s, 256, on_event, out);
    for (size_t at = 0; at < size && r == 0; at += step)
        r = lode_sse_feed(&s, data + at, lode_min(step, size - at));
    lode_sse_release(&s);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lode_buf whole = LODE_BUF_INIT(1 << 24), cut = LODE_BUF_INIT(1 << 24);
    int r = feed(data, size, size ? size : 1, &whole);
    must(r == 0 || r == LODE_LIMIT);
    for (size_t step = 1; step < 10; step += 4) {
        lode_buf_clear(&cut);
        must(feed(data, size, step, &cut) == r && cut.len == whole.len);
        must(cut.len == 0 || memcmp(cut.data, whole.data, cut.len) == 0);
    }
    lode_buf_release(&whole);
    lode_buf_release(&cut);
    return 0;
}
