/* Event streams: told once and in order, gone on with by Last-Event-ID, by a thousand at once,
 * ended when the server stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "support/root.h"
#include "support/serving.h"

static struct serving s;

static int setup(void **state)
{
    s = serving_start(NULL, true);
    serving_push(&s, "m", "v1", "a", "1", 1);
    serving_push(&s, "m", "v2", "a", "2", 1);
    serving_push(&s, "other", "v1", "a", "3", 1);
    return 0;
}

static int teardown(void **state)
{
    serving_stop(&s);
    return 0;
}

static int stream_open(const char *query, const char *last_id)
{
    char head[600];
    int n = snprintf(
        head, sizeof head,
        "GET /v1/watch%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s%s%s\r\n",
        query, s.token, last_id ? "Last-Event-ID: " : "", last_id ? last_id : "",
        last_id ? "\r\n" : "");
    int fd = serving_connect(&s);
    assert_int_equal(send(fd, head, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

/* Appends what comes to `text` until it holds `until`, or `ms` pass. */
static bool read_until(int fd, char *text, size_t room, const char *until, int ms)
{
    while (!strstr(text, until)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        size_t have = strlen(text);
        if (poll(&p, 1, ms) <= 0 || have + 1 >= room)
            return false;
        ssize_t n = recv(fd, text + have, room - have - 1, 0);
        if (n <= 0)
            return false;
        text[have + (size_t)n] = '\0';
    }
    return true;
}

static void alias(const char *ref, const char *name)
{
    struct lode_err err = {0};
    struct lode_journal_entry e = {0};
    root_ok(lode_alias_set(s.lode, ref, name, NULL, &e, &err), &err);
    lode_journal_entry_release(&e);
}

static void told_in_order(void **state)
{
    static char text[200000];
    memset(text, 0, sizeof text);
    int fd = stream_open("?name=m", NULL);
    assert_true(read_until(fd, text, sizeof text, "event: open", 5000));
    assert_non_null(strstr(text, "text/event-stream"));
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "a%02d", i);
        alias(i % 2 ? "m@v1" : "m@v2", name);
        alias("other@v1", name);
    }
    alias("m@v1", "end");
    assert_true(read_until(fd, text, sizeof text, "\"alias\":\"end\"", 10000));
    const char *at = text;
    for (int i = 0; i < 40; i++) {
        char want[64];
        snprintf(want, sizeof want, "\"alias\":\"a%02d\"", i);
        at = strstr(at, want);
        assert_non_null(at);
        assert_null(strstr(at + 1, want));
    }
    assert_null(strstr(text, "\"name\":\"other\""));
    close(fd);
}

static void last_id_of(const char *text, char out[64])
{
    const char *at = NULL;
    for (const char *p = text; (p = strstr(p, "id: ")); p++)
        at = p;
    assert_non_null(at);
    snprintf(out, 64, "%.*s", (int)strcspn(at + 4, "\r\n"), at + 4);
}

static void gone_on_with(void **state)
{
    static char text[100000], id[64];
    memset(text, 0, sizeof text);
    int fd = stream_open("?name=m", NULL);
    assert_true(read_until(fd, text, sizeof text, "event: open", 5000));
    alias("m@v1", "before");
    assert_true(read_until(fd, text, sizeof text, "\"alias\":\"before\"", 5000));
    read_until(fd, text, sizeof text, "\n\n\r\n0", 100);
    last_id_of(text, id);
    close(fd);
    alias("m@v1", "while1");
    alias("m@v2", "while2");
    memset(text, 0, sizeof text);
    fd = stream_open("?name=m", id);
    assert_true(read_until(fd, text, sizeof text, "\"alias\":\"while2\"", 5000));
    assert_non_null(strstr(text, "\"alias\":\"while1\""));
    assert_null(strstr(text, "\"alias\":\"before\""));
    alias("m@v1", "after");
    assert_true(read_until(fd, text, sizeof text, "\"alias\":\"after\"", 5000));
    const char *first = strstr(text, "\"alias\":\"while2\"");
    assert_null(strstr(first + 1, "\"alias\":\"while2\""));
    close(fd);
}

/* Where to go on from is told at once: what happens before the first event is not lost either. */
static void gone_on_with_from_the_start(void **state)
{
    static char text[100000], id[64];
    memset(text, 0, sizeof text);
    int fd = stream_open("", NULL);
    assert_true(read_until(fd, text, sizeof text, "data: {\"revision\"", 5000));
    last_id_of(text, id);
    close(fd);
    alias("m@v1", "missed");
    memset(text, 0, sizeof text);
    fd = stream_open("", id);
    assert_true(read_until(fd, text, sizeof text, "\"alias\":\"missed\"", 5000));
    close(fd);
}

static void refused(void **state)
{
    static const struct {
        const char *id;
        int status;
    } cases[] = {{"9:1.0", 410}, {"1:99999999.0", 410}, {"nonsense", 400}, {"1:2", 400}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[100];
        snprintf(line, sizeof line, "Last-Event-ID: %s\r\n", cases[i].id);
        struct answer a = serving_ask(&s, "GET", "/v1/watch", line, NULL, 0);
        assert_int_equal(a.status, cases[i].status);
        answer_release(&a);
    }
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void a_thousand(void **state)
{
    enum { N = 1000 };
    static int fds[N];
    static char texts[N][4096];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < 4096)
        skip();
    files.rlim_cur = files.rlim_cur < 4096 ? 4096 : files.rlim_cur;
    setrlimit(RLIMIT_NOFILE, &files);
    memset(texts, 0, sizeof texts);
    for (int i = 0; i < N; i++)
        fds[i] = stream_open("?name=m", NULL);
    for (int i = 0; i < N; i++)
        assert_true(read_until(fds[i], texts[i], sizeof texts[i], "event: open", 20000));
    alias("m@v1", "everybody");
    for (int i = 0; i < N; i++)
        assert_true(
            read_until(fds[i], texts[i], sizeof texts[i], "\"alias\":\"everybody\"", 20000));
    /* and the server ends with all of them open */
    double begin = now_ms();
    serving_stop(&s);
    double took = now_ms() - begin;
    for (int i = 0; i < N; i++) {
        texts[i][0] = '\0';
        assert_false(read_until(fds[i], texts[i], sizeof texts[i], "never", 1000));
        close(fds[i]);
    }
    print_message("ended 1,000 streams in %.0f ms\n", took);
    assert_true(took < 5000); /* sanitizers; without them the bound of 2 s is the system test's */
    setup(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_in_order),
        cmocka_unit_test(gone_on_with),
        cmocka_unit_test(gone_on_with_from_the_start),
        cmocka_unit_test(refused),
        cmocka_unit_test(a_thousand),
    };
    root_scratch();
    return cmocka_run_group_tests(tests, setup, teardown);
}
