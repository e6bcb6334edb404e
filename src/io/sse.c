/* Server-sent events: see io/sse.h. The rules are those of the HTML standard, section "Interpreting
 * an event stream": an event ends with an empty line; one without data is none; what the stream's
 * end cuts off is dropped. */
#include "io/sse.h"
#include <string.h>

void lode_sse_init(struct lode_sse *s, size_t max,
                   int (*event)(void *arg, const struct lode_sse_event *event), void *arg)
{
    *s = (struct lode_sse){.event = event, .arg = arg};
    lode_buf_init(&s->line, max);
    lode_buf_init(&s->id, max);
    lode_buf_init(&s->name, max);
    lode_buf_init(&s->data, max);
}

void lode_sse_release(struct lode_sse *s)
{
    lode_buf_release(&s->line);
    lode_buf_release(&s->id);
    lode_buf_release(&s->name);
    lode_buf_release(&s->data);
}

static void set(struct lode_buf *b, const char *p, size_t n)
{
    lode_buf_clear(b);
    lode_buf_add(b, p, n);
}

static int dispatch(struct lode_sse *s)
{
    int r = 0;
    if (s->has_data) {
        struct lode_sse_event e = {.id = lode_buf_str(&s->id),
                                   .name = lode_buf_str(&s->name),
                                   .data = lode_buf_str(&s->data),
                                   .data_len = s->data.len};
        r = s->event(s->arg, &e);
    }
    lode_buf_clear(&s->data);
    lode_buf_clear(&s->name);
    s->has_data = false;
    return r;
}

static bool is_field(const char *line, size_t n, const char *field)
{
    return n == strlen(field) && memcmp(line, field, n) == 0;
}

static int end_line(struct lode_sse *s)
{
    const char *line = lode_buf_str(&s->line);
    size_t len = s->line.len;
    if (len == 0)
        return dispatch(s);
    const char *colon = memchr(line, ':', len);
    size_t name = colon ? (size_t)(colon - line) : len;
    const char *value = colon ? colon + 1 : line + len;
    size_t n = (size_t)(line + len - value);
    if (n && value[0] == ' ') {
        value++;
        n--;
    }
    if (is_field(line, name, "data")) {
        if (s->has_data)
            lode_buf_addc(&s->data, '\n');
        lode_buf_add(&s->data, value, n);
        s->has_data = true;
    } else if (is_field(line, name, "event")) {
        set(&s->name, value, n);
    } else if (is_field(line, name, "id") && !memchr(value, 0, n)) {
        set(&s->id, value, n);
    }
    return 0;
}

static int take_line(struct lode_sse *s)
{
    static const char mark[] = "\xef\xbb\xbf";
    if (!s->begun && s->line.len >= 3 && memcmp(s->line.data, mark, 3) == 0)
        lode_buf_drop_front(&s->line, 3);
    s->begun = true;
    int r = end_line(s);
    lode_buf_clear(&s->line);
    return r;
}

static int check(const struct lode_sse *s)
{
    int r = s->line.failed ? s->line.failed : s->data.failed;
    r = r ? r : s->name.failed;
    return r ? r : s->id.failed;
}

int lode_sse_feed(struct lode_sse *s, const void *p, size_t n)
{
    const char *at = p, *end = at + n;
    int r = 0;
    while (at < end && r == 0) {
        if (s->after_cr && *at == '\n')
            at++;
        s->after_cr = false;
        const char *stop = at;
        while (stop < end && *stop != '\n' && *stop != '\r')
            stop++;
        lode_buf_add(&s->line, at, (size_t)(stop - at));
        r = check(s);
        if (stop == end || r)
            break;
        s->after_cr = *stop == '\r';
        at = stop + 1;
        r = take_line(s);
        r = r ? r : check(s);
    }
    return r;
}
