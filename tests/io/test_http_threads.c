/* The HTTP client against a real server that behaves and misbehaves on demand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "io/http.h"
#include "io/sse.h"
#include "support/fault_sys.h"
#include "support/http_server.h"
#include "support/support.h"

static struct http_server server;
static struct lode_http *http;
static char url_text[256];

static const char *url(const char *path)
{
    snprintf(url_text, sizeof url_text, "%s%s", server.url, path);
    return url_text;
}

static int get(const char *path, struct lode_http_reply *reply, struct lode_err *err)
{
    struct lode_http_ask ask = {.method = "GET", .url = url(path)};
    return lode_http_do(http, &ask, reply, err);
}

static void plain_get(void **state)
{
    _cleanup_http_reply_ struct lode_http_reply reply;
    assert_int_equal(get("/hello", &reply, NULL), 0);
    assert_int_equal(reply.status, 200);
    assert_string_equal(lode_buf_str(&reply.body), "hello");
    assert_string_equal(lode_http_header(&reply, "etag"), "\"abc\"");
    assert_string_equal(lode_http_header(&reply, "x-twice"), "spaced");
    assert_null(lode_http_header(&reply, "x-none"));
}

static void head_and_delete(void **state)
{
    struct lode_http_reply reply;
    struct lode_http_ask ask = {.method = "HEAD", .url = url("/bytes/1000")};
    assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
    assert_string_equal(lode_http_header(&reply, "content-length"), "1000");
    assert_int_equal(reply.body.len, 0);
    lode_http_reply_release(&reply);
    ask = (struct lode_http_ask){.method = "DELETE", .url = url("/echo")};
    assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
    assert_non_null(strstr(lode_buf_str(&reply.body), "\"method\": \"DELETE\""));
    lode_http_reply_release(&reply);
}

/* ---- sending ---- */

struct source {
    const char *data;
    size_t len, at;
    atomic_int pauses;
    struct lode_http_call *call;
};

static int next_piece(void *arg, void *buf, size_t room, size_t *n)
{
    struct source *s = arg;
    if (s->pauses > 0) {
        s->pauses--;
        return LODE_HTTP_PAUSE;
    }
    *n = lode_min(lode_min(room, (size_t)10007), s->len - s->at);
    memcpy(buf, s->data + s->at, *n);
    s->at += *n;
    return 0;
}

static void check_echo(const struct lode_http_reply *reply, const char *data, size_t len)
{
    struct lode_sha256 digest;
    char hex[LODE_SHA256_HEX];
    json_t *doc;
    const char *told;
    int64_t length;
    assert_int_equal(reply->status, 200);
    assert_int_equal(lode_sha256_of(data, len, &digest, NULL), 0);
    assert_int_equal(lode_json_parse(reply->body.data, reply->body.len, "echo", &doc, NULL), 0);
    assert_int_equal(lode_json_i64(doc, "length", &length, NULL), 0);
    assert_int_equal(length, len);
    assert_int_equal(lode_json_str(doc, "sha256", &told, NULL), 0);
    assert_string_equal(told, lode_sha256_text(&digest, hex));
    json_decref(doc);
}

static void uploads(void **state)
{
    size_t len = 3000000;
    char *data = malloc(len + 100);
    struct lode_http_reply reply;
    for (size_t i = 0; i < len + 100; i++)
        data[i] = (char)(i * 13 + (i >> 9));
    struct lode_http_ask ask = {
        .method = "PUT", .url = url("/echo"), .body = data, .body_len = len};
    assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
    check_echo(&reply, data, len);
    lode_http_reply_release(&reply);
    int fd = memfd_create("body", 0);
    assert_int_equal(write(fd, data, len + 100), len + 100);
    ask = (struct lode_http_ask){.method = "PUT",
                                 .url = url("/echo"),
                                 .body_is_file = true,
                                 .body_fd = fd,
                                 .body_offset = 50,
                                 .body_len = len,
                                 .expect_continue = true};
    assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
    check_echo(&reply, data + 50, len);
    lode_http_reply_release(&reply);
    for (int known = 0; known < 2; known++) {
        struct source s = {.data = data, .len = len};
        ask = (struct lode_http_ask){.method = "POST",
                                     .url = url("/echo"),
                                     .body_next = next_piece,
                                     .arg = &s,
                                     .body_len = known ? len : LODE_HTTP_UNKNOWN};
        assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
        check_echo(&reply, data, len);
        lode_http_reply_release(&reply);
    }
    ask = (struct lode_http_ask){.method = "POST", .url = url("/echo")};
    assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
    check_echo(&reply, "", 0);
    lode_http_reply_release(&reply);
    close(fd);
    free(data);
}

static void paused_upload(void **state)
{
    char data[200];
    struct source s = {.data = data, .len = sizeof data, .pauses = 1};
    struct lode_http_ask ask = {.method = "PUT",
                                .url = url("/echo"),
                                .body_next = next_piece,
                                .arg = &s,
                                .body_len = sizeof data};
    struct lode_http_reply reply;
    memset(data, 'p', sizeof data);
    assert_int_equal(lode_http_start(http, &ask, NULL, &s.call, NULL), 0);
    while (atomic_load(&s.pauses) > 0)
        usleep(1000);
    usleep(5000);
    lode_http_resume(s.call);
    assert_int_equal(lode_http_finish(s.call, &reply, NULL), 0);
    check_echo(&reply, data, sizeof data);
    lode_http_reply_release(&reply);
}

static void file_ends_early(void **state)
{
    struct lode_http_reply reply;
    struct lode_err err = {0};
    int fd = memfd_create("body", 0);
    struct lode_http_ask ask = {
        .method = "PUT", .url = url("/echo"), .body_is_file = true, .body_fd = fd, .body_len = 10};
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_IO);
    assert_non_null(strstr(err.text, "ends early"));
    lode_http_reply_release(&reply);
    close(fd);
}

/* ---- receiving ---- */

static void ranges_into_memory(void **state)
{
    const char *const headers[] = {"Range: bytes=1000-2999", NULL};
    unsigned char room[3000];
    struct lode_http_ask ask = {.method = "GET",
                                .url = url("/bytes/100000"),
                                .headers = headers,
                                .into = room,
                                .into_len = 2000};
    struct lode_http_reply reply;
    struct lode_err err = {0};
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), 0);
    assert_int_equal(reply.status, 206);
    assert_int_equal(reply.received, 2000);
    assert_string_equal(lode_http_header(&reply, "content-range"), "bytes 1000-2999/100000");
    for (size_t i = 0; i < 2000; i++)
        assert_int_equal(room[i], (unsigned char)((i + 1000) * 7 + ((i + 1000) >> 8)));
    lode_http_reply_release(&reply);
    ask.into_len = 1999; /* a server that sends more than was asked for writes nowhere */
    room[1999] = 0xee;
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_LIMIT);
    assert_int_equal(room[1999], 0xee);
    lode_http_reply_release(&reply);
}

struct sink {
    struct lode_http_call *call;
    uint64_t got;
    int pauses, code, heads;
    atomic_bool paused;
};

static int take(void *arg, const void *p, size_t n)
{
    struct sink *s = arg;
    if (s->pauses > 0) {
        s->pauses--;
        atomic_store(&s->paused, true);
        return LODE_HTTP_PAUSE;
    }
    s->got += n;
    return s->code;
}

static int see_head(void *arg, const struct lode_http_reply *reply)
{
    struct sink *s = arg;
    s->heads++;
    return reply->status == 307 ? LODE_MOVED : 0;
}

static void back_pressure(void **state)
{
    struct sink s = {.pauses = 3};
    struct lode_http_ask ask = {.method = "GET",
                                .url = url("/big/20000000"),
                                .on_body = take,
                                .on_head = see_head,
                                .arg = &s};
    struct lode_http_reply reply;
    assert_int_equal(lode_http_start(http, &ask, NULL, &s.call, NULL), 0);
    for (int i = 0; i < 3; i++) {
        while (!atomic_exchange(&s.paused, false))
            usleep(500);
        lode_http_resume(s.call);
    }
    assert_int_equal(lode_http_finish(s.call, &reply, NULL), 0);
    assert_int_equal(s.got, 20000000);
    assert_int_equal(reply.received, 20000000);
    assert_int_equal(s.heads, 1);
    lode_http_reply_release(&reply);
}

static void callbacks_end_calls(void **state)
{
    struct sink s = {.code = LODE_NO_SPACE};
    struct lode_http_ask ask = {.method = "GET",
                                .url = url("/big/20000000"),
                                .on_body = take,
                                .on_head = see_head,
                                .arg = &s};
    struct lode_http_reply reply;
    struct lode_err err = {0};
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_NO_SPACE);
    assert_int_equal(err.code, LODE_NO_SPACE);
    lode_http_reply_release(&reply);
    ask.url = url("/redirect");
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_MOVED);
    lode_http_reply_release(&reply);
}

static void errors_do_not_reach_the_sink(void **state)
{
    struct sink s = {0};
    struct lode_http_ask ask = {
        .method = "GET", .url = url("/status/409"), .on_body = take, .arg = &s};
    struct lode_http_reply reply;
    assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
    assert_int_equal(reply.status, 409);
    assert_int_equal(s.got, 0);
    assert_int_equal(reply.body.len, 65536); /* cut, not refused */
    assert_int_equal(strncmp(reply.body.data, "{\"error\"", 8), 0);
    lode_http_reply_release(&reply);
    assert_int_equal(get("/redirect", &reply, NULL), 0);
    assert_int_equal(reply.status, 307);
    assert_string_equal(lode_http_header(&reply, "location"), "/hello");
    lode_http_reply_release(&reply);
}

static void early_refusal(void **state)
{
    size_t len = 20000000;
    char *data = calloc(1, len);
    struct lode_http_ask ask = {.method = "PUT",
                                .url = url("/refuse-upload"),
                                .body = data,
                                .body_len = len,
                                .expect_continue = true};
    struct lode_http_reply reply;
    assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
    assert_int_equal(reply.status, 413);
    lode_http_reply_release(&reply);
    free(data);
}

static void limits(void **state)
{
    struct lode_http_reply reply;
    struct lode_err err = {0};
    assert_int_equal(get("/big/5000000", &reply, &err), LODE_LIMIT);
    lode_http_reply_release(&reply);
    struct lode_http_ask ask = {.method = "GET", .url = url("/big/5000000"), .max_body = 5000000};
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), 0);
    assert_int_equal(reply.body.len, 5000000);
    lode_http_reply_release(&reply);
    assert_int_equal(get("/big-head", &reply, &err), LODE_LIMIT);
    lode_http_reply_release(&reply);
}

static void broken_servers(void **state)
{
    struct lode_http_reply reply;
    struct lode_err err = {0};
    char where[300];
    assert_int_equal(get("/short", &reply, &err), LODE_UNAVAILABLE);
    lode_http_reply_release(&reply);
    assert_int_equal(get("/reset?secret=1", &reply, &err), LODE_UNAVAILABLE);
    assert_null(strstr(err.text, "secret"));
    snprintf(where, sizeof where, "GET %s/reset: ", server.url);
    assert_int_equal(strncmp(err.text, where, strlen(where)), 0);
    lode_http_reply_release(&reply);
    struct lode_http_ask ask = {.method = "GET", .url = "http://127.0.0.1:1/"};
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_UNAVAILABLE);
    lode_http_reply_release(&reply);
    static const char *const bad[] = {"file:///etc/passwd", "http://a/b c", "http://a/\r\nX: y",
                                      "gopher://x", ""};
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++) {
        ask.url = bad[i];
        assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_INVALID);
        lode_http_reply_release(&reply);
    }
    const char *const headers[] = {"X: a\r\nY: b", NULL};
    ask.url = url("/hello");
    ask.headers = headers;
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_INVALID);
    lode_http_reply_release(&reply);
}

static void kept_connections(void **state)
{
    struct lode_http_reply reply;
    char first[32];
    assert_int_equal(get("/connection", &reply, NULL), 0);
    snprintf(first, sizeof first, "%s", lode_buf_str(&reply.body));
    lode_http_reply_release(&reply);
    assert_int_equal(get("/connection", &reply, NULL), 0);
    assert_string_equal(lode_buf_str(&reply.body), first);
    lode_http_reply_release(&reply);
    for (int i = 0; i < 3; i++) { /* a kept connection that died meanwhile is no failure */
        assert_int_equal(get("/drop-kept", &reply, NULL), 0);
        lode_http_reply_release(&reply);
        usleep(5000);
        struct lode_http_ask ask = {
            .method = "PUT", .url = url("/echo"), .body = "again", .body_len = 5};
        assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
        check_echo(&reply, "again", 5);
        lode_http_reply_release(&reply);
    }
}

/* ---- time ---- */

static void timeouts(void **state)
{
    struct lode_http_options o = {.idle_ms = 1000};
    struct lode_http *impatient;
    struct lode_http_reply reply;
    struct lode_err err = {0};
    struct lode_http_ask ask = {.method = "GET", .url = url("/slow/5000"), .total_ms = 100};
    int64_t begin = lode_mono_ms();
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_TIMEOUT);
    assert_true(lode_mono_ms() - begin < 2000);
    lode_http_reply_release(&reply);
    assert_int_equal(lode_http_new(&o, &impatient, NULL), 0);
    ask = (struct lode_http_ask){.method = "GET", .url = url("/slow/30000")};
    assert_int_equal(lode_http_do(impatient, &ask, &reply, &err), LODE_TIMEOUT);
    lode_http_reply_release(&reply);
    ask.url = url("/drip/5/300"); /* slow, but never a second without a byte */
    assert_int_equal(lode_http_do(impatient, &ask, &reply, &err), 0);
    lode_http_reply_release(&reply);
    lode_http_free(impatient);
}

static int after_three(void *arg)
{
    int *asked = arg;
    return ++*asked >= 3;
}

static void *cancel_soon(void *arg)
{
    usleep(20000);
    lode_http_cancel(arg);
    return NULL;
}

static void note_end(void *arg, int result, const struct lode_http_reply *reply,
                     const struct lode_err *err)
{
    atomic_store((atomic_int *)arg, 1);
}

static void cancelling(void **state)
{
    atomic_int over = 0;
    struct lode_http_reply reply;
    struct lode_http_call *call;
    struct lode_err err = {0};
    pthread_t id;
    int asked = 0;
    struct lode_http_ask ask = {
        .method = "GET", .url = url("/stall"), .cancelled = after_three, .arg = &asked};
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_CANCELLED);
    lode_http_reply_release(&reply);
    ask.cancelled = NULL;
    assert_int_equal(lode_http_start(http, &ask, NULL, &call, NULL), 0);
    pthread_create(&id, NULL, cancel_soon, call);
    usleep(10000);
    pthread_join(id, NULL);
    assert_int_equal(lode_http_finish(call, NULL, &err), LODE_CANCELLED);
    ask.url = url("/hello");
    ask.arg = &over;
    assert_int_equal(lode_http_start(http, &ask, note_end, &call, NULL), 0);
    while (!atomic_load(&over))
        usleep(1000);
    lode_http_cancel(call); /* too late: it is over */
    assert_int_equal(lode_http_finish(call, &reply, &err), 0);
    assert_string_equal(lode_buf_str(&reply.body), "hello");
    lode_http_reply_release(&reply);
}

/* ---- many at once ---- */

struct many {
    atomic_int done, bad;
};

static void one_done(void *arg, int result, const struct lode_http_reply *reply,
                     const struct lode_err *err)
{
    struct many *m = arg;
    if (result || reply->status != 200 || reply->body.len != 5000)
        atomic_fetch_add(&m->bad, 1);
    atomic_fetch_add(&m->done, 1);
}

static void *ask_many(void *arg)
{
    struct lode_http_call *calls[40];
    char where[256];
    snprintf(where, sizeof where, "%s/bytes/5000", server.url);
    struct lode_http_ask ask = {.method = "GET", .url = where, .arg = arg};
    for (int i = 0; i < 40; i++) {
        if (lode_http_start(http, &ask, one_done, &calls[i], NULL) < 0)
            abort();
    }
    for (int i = 0; i < 40; i++)
        lode_http_finish(calls[i], NULL, NULL);
    return NULL;
}

static void many_at_once(void **state)
{
    struct many m = {0};
    pthread_t ids[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&ids[i], NULL, ask_many, &m);
    for (int i = 0; i < 4; i++)
        pthread_join(ids[i], NULL);
    assert_int_equal(m.done, 160);
    assert_int_equal(m.bad, 0);
}

/* ---- secrets and TLS ---- */

static void token_stays_home(void **state)
{
    struct lode_http_options o = {.token = "s3cret", .origin = server.url, .agent = "lode-test/1"};
    struct lode_http *with;
    struct lode_http_reply reply;
    struct lode_http_ask ask = {.method = "GET", .url = url("/echo")};
    char other[256];
    assert_int_equal(lode_http_new(&o, &with, NULL), 0);
    assert_int_equal(lode_http_do(with, &ask, &reply, NULL), 0);
    assert_non_null(strstr(lode_buf_str(&reply.body), "\"authorization\": \"Bearer s3cret\""));
    assert_non_null(strstr(lode_buf_str(&reply.body), "lode-test/1"));
    lode_http_reply_release(&reply);
    snprintf(other, sizeof other, "http://localhost:%d/echo", server.port);
    ask.url = other;
    assert_int_equal(lode_http_do(with, &ask, &reply, NULL), 0);
    assert_null(strstr(lode_buf_str(&reply.body), "s3cret"));
    lode_http_reply_release(&reply);
    lode_http_free(with);
}

static void tls(void **state)
{
    struct http_server secure;
    struct lode_http *trusting;
    struct lode_http_reply reply;
    struct lode_err err = {0};
    char ca[96], where[96];
    if (!http_server_start(&secure, true)) {
        print_message("no openssl to make a certificate\n");
        skip();
    }
    snprintf(ca, sizeof ca, "%s/cert.pem", secure.dir);
    snprintf(where, sizeof where, "%s/hello", secure.url);
    struct lode_http_ask ask = {.method = "GET", .url = where};
    assert_int_equal(lode_http_do(http, &ask, &reply, &err), LODE_DENIED);
    lode_http_reply_release(&reply);
    struct lode_http_options o = {.ca_file = ca};
    assert_int_equal(lode_http_new(&o, &trusting, NULL), 0);
    assert_int_equal(lode_http_do(trusting, &ask, &reply, &err), 0);
    assert_string_equal(lode_buf_str(&reply.body), "hello");
    lode_http_reply_release(&reply);
    snprintf(where, sizeof where, "https://localhost:%d/hello",
             secure.port); /* trusted, but for another name */
    assert_int_equal(lode_http_do(trusting, &ask, &reply, &err), LODE_DENIED);
    lode_http_reply_release(&reply);
    lode_http_free(trusting);
    o.ca_file = "/nowhere/ca.pem";
    assert_int_equal(lode_http_new(&o, &trusting, &err), LODE_INVALID);
    http_server_stop(&secure);
}

/* ---- events ---- */

static int note_event(void *arg, const struct lode_sse_event *e)
{
    lode_buf_addf(arg, "[%s|%s|%s]", e->id, e->name, e->data);
    return 0;
}

static int feed(void *arg, const void *p, size_t n)
{
    return lode_sse_feed(arg, p, n);
}

static void events(void **state)
{
    struct lode_buf out = LODE_BUF_INIT(1000);
    struct lode_sse sse;
    lode_sse_init(&sse, 1000, note_event, &out);
    struct lode_http_ask ask = {
        .method = "GET", .url = url("/events"), .on_body = feed, .arg = &sse};
    struct lode_http_reply reply;
    assert_int_equal(lode_http_do(http, &ask, &reply, NULL), 0);
    assert_string_equal(lode_buf_str(&out), "[1|alias|{}][2||a\nb]");
    lode_http_reply_release(&reply);
    lode_sse_release(&sse);
    lode_buf_release(&out);
}

/* Every allocation of ours fails in turn: an error, never less. */
static void out_of_memory(void **state)
{
    struct lode_http_options o = {.token = "t", .origin = server.url};
    struct lode_http_ask ask = {.method = "GET", .url = url("/hello")};
    bool hit = true;
    for (uint64_t nth = 1; hit; nth++) {
        struct lode_http *client = NULL;
        struct lode_http_reply reply = {0};
        struct lode_err err = {0};
        fault_install();
        fault_fail(FAULT_MALLOC, nth, ENOMEM, FAULT_ONCE);
        int r = lode_http_new(&o, &client, &err);
        if (r == 0)
            r = lode_http_do(client, &ask, &reply, &err);
        fault_disarm();
        hit = fault_fired() > 0;
        assert_int_equal(r, hit ? LODE_NO_MEMORY : 0);
        assert_true(r == 0 || err.text[0]);
        lode_http_reply_release(&reply);
        lode_http_free(client);
        fault_uninstall();
        assert_true(nth < 100);
    }
}

static void escaping(void **state)
{
    struct lode_buf b = LODE_BUF_INIT(100);
    lode_http_add_escaped(&b, "a/b c%\xc3\xa9+~", 10, true);
    assert_string_equal(lode_buf_str(&b), "a/b%20c%25%C3%A9%2B~");
    lode_buf_clear(&b);
    lode_http_add_escaped(&b, "a/b\0c", 5, false);
    assert_string_equal(lode_buf_str(&b), "a%2Fb%00c");
    lode_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_get),
        cmocka_unit_test(head_and_delete),
        cmocka_unit_test(uploads),
        cmocka_unit_test(paused_upload),
        cmocka_unit_test(file_ends_early),
        cmocka_unit_test(ranges_into_memory),
        cmocka_unit_test(back_pressure),
        cmocka_unit_test(callbacks_end_calls),
        cmocka_unit_test(errors_do_not_reach_the_sink),
        cmocka_unit_test(early_refusal),
        cmocka_unit_test(limits),
        cmocka_unit_test(broken_servers),
        cmocka_unit_test(kept_connections),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(cancelling),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(token_stays_home),
        cmocka_unit_test(tls),
        cmocka_unit_test(events),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(escaping),
    };
    /* A proxy of the surroundings is none of this test's. */
    setenv("no_proxy", "*", 1);
    if (!http_server_start(&server, false))
        lode_test_skip("no python3 for the test server");
    if (lode_http_new(NULL, &http, NULL) < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lode_http_free(http);
    http_server_stop(&server);
    return failed;
}
