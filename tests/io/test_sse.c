/* The event stream parser: the standard's examples, cut at every byte, and its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/buf.h"
#include "io/sse.h"

static int note(void *arg, const struct lode_sse_event *e)
{
    lode_buf_addf(arg, "[%s|%s|%s]", e->id, e->name, e->data);
    return 0;
}

static int refuse(void *arg, const struct lode_sse_event *e)
{
    return LODE_CANCELLED;
}

/* Feeds `text` in pieces of `step` bytes. */
static const char *parse(const char *text, size_t step, struct lode_buf *out)
{
    struct lode_sse s;
    lode_buf_clear(out);
    lode_sse_init(&s, 1000, note, out);
    for (size_t at = 0, n = strlen(text); at < n; at += step)
        assert_int_equal(lode_sse_feed(&s, text + at, lode_min(step, n - at)), 0);
    lode_sse_release(&s);
    return lode_buf_str(out);
}

static void streams(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"data: hello\n\n", "[||hello]"},
        {"data: a\ndata: b\n\ndata: c\n\n", "[||a\nb][||c]"},
        {"data: a\r\ndata:b\r\n\r\n", "[||a\nb]"},
        {"data: a\rdata: b\r\r", "[||a\nb]"},
        {": comment\n\nid: 7\nevent: x\ndata: 1\n\ndata: 2\n\n", "[7|x|1][7||2]"},
        {"data\n\ndata\ndata\n\ndata:", "[||][||\n]"},
        {"data:  two\n\nretry: 5\nfoo: bar\n\n", "[|| two]"},
        {"event: lost\n\ndata: cut off", ""},
        {"\xef\xbb\xbf"
         "data: marked\n\n",
         "[||marked]"},
    };
    struct lode_buf out = LODE_BUF_INIT(10000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 30; step++)
            assert_string_equal(parse(cases[i].in, step, &out), cases[i].out);
    }
    lode_buf_release(&out);
}

static void limits(void **state)
{
    struct lode_sse s;
    struct lode_buf out = LODE_BUF_INIT(10000);
    char line[2000];
    int r = 0;
    memset(line, 'x', sizeof line);
    lode_sse_init(&s, 1000, note, &out);
    assert_int_equal(lode_sse_feed(&s, line, sizeof line), LODE_LIMIT);
    lode_sse_release(&s);
    lode_sse_init(&s, 1000, note, &out);
    for (int i = 0; i < 1000 && r == 0; i++)
        r = lode_sse_feed(&s, "data: 0123456789\n", 17);
    assert_int_equal(r, LODE_LIMIT);
    lode_sse_release(&s);
    lode_sse_init(&s, 1000, refuse, NULL);
    assert_int_equal(lode_sse_feed(&s, "data: a\n\ndata: b\n\n", 18), LODE_CANCELLED);
    lode_sse_release(&s);
    lode_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(streams), cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
