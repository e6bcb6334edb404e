/* Who gets in: tokens, scopes, patterns, Host, Origin, paths, limits, slow clients. Over real
 * sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "support/root.h"
#include "support/serving.h"

static struct serving s;

static int setup(void **state)
{
    struct lode_serve_options options = {.header_s = 1, .idle_s = 2, .connections_per_ip = 64};
    s = serving_start(&options, true);
    serving_push(&s, "rank-a", "v1", "a.txt", "hello", 5);
    serving_push(&s, "other", "v1", "a.txt", "hello", 5);
    return 0;
}

static int teardown(void **state)
{
    serving_stop(&s);
    return 0;
}

static void expect(const char *method, const char *path, const char *headers, const char *body,
                   int status, const char *code)
{
    struct answer a = serving_ask(&s, method, path, headers, body, body ? strlen(body) : 0);
    if (a.status != status || (code && strcmp(answer_code(&a), code) != 0))
        print_error("%s %s [%s]: %d %s\n", method, path, headers ? headers : "", a.status,
                    a.body ? a.body : "");
    assert_int_equal(a.status, status);
    if (code)
        assert_string_equal(answer_code(&a), code);
    answer_release(&a);
}

static const char *auth_of(const char *name, enum lode_scope scope, const char *pattern)
{
    static char lines[8][300];
    static unsigned next;
    struct lode_err err = {0};
    char *secret;
    root_ok(lode_token_add(s.lode, name, scope, &pattern, pattern ? 1 : 0, &secret, NULL, &err),
            &err);
    char *line = lines[next++ % 8];
    snprintf(line, sizeof lines[0], "Authorization: Bearer %s\r\n", secret);
    lode_string_free(secret);
    for (int i = 0; i < 200; i++) { /* the server follows the root */
        struct answer a = serving_ask(&s, "GET", "/v1/root", line, NULL, 0);
        int status = a.status;
        answer_release(&a);
        if (status != 401)
            return line;
        usleep(10000);
    }
    fail_msg("the token %s never came to the server", name);
    return NULL;
}

static void tokens(void **state)
{
    expect("GET", "/v1/root", NULL, NULL, 200, NULL);
    expect("GET", "/v1/root", "Authorization:\r\n", NULL, 401, "unauthenticated");
    expect("GET", "/v1/root", "Authorization: Bearer nonsense\r\n", NULL, 401, "unauthenticated");
    expect("GET", "/v1/root", "Authorization: Basic YTpi\r\n", NULL, 401, "unauthenticated");
    char wrong[300];
    snprintf(wrong, sizeof wrong, "Authorization: Bearer %s\r\n", s.token);
    wrong[strlen(wrong) - 3] ^= 1;
    expect("GET", "/v1/root", wrong, NULL, 401, "unauthenticated");
    expect("GET", "/healthz", "Authorization:\r\n", NULL, 200, NULL);
    expect("GET", "/readyz", "Authorization:\r\n", NULL, 200, NULL);
    expect("GET", "/metrics", "Authorization:\r\n", NULL, 401, NULL);
    expect("GET", "/metrics", NULL, NULL, 200, NULL);
}

static void scopes(void **state)
{
    const char *reader = auth_of("reader", LODE_SCOPE_READ, NULL),
               *writer = auth_of("writer", LODE_SCOPE_WRITE, NULL);
    char json[400];
    expect("GET", "/v1/models/_/other", reader, NULL, 200, NULL);
    expect("GET", "/v1/models/_/other/versions/v1", reader, NULL, 200, NULL);
    expect("DELETE", "/v1/models/_/other/versions/v1", reader, NULL, 403, "denied");
    expect("DELETE", "/v1/models/_/other/aliases/none", reader, NULL, 403, "denied");
    expect("GET", "/v1/jobs", reader, NULL, 403, "denied");
    expect("GET", "/v1/jobs", writer, NULL, 403, "denied");
    expect("GET", "/v1/tokens", writer, NULL, 403, "denied");
    snprintf(json, sizeof json, "%sContent-Type: application/json\r\n", reader);
    expect("PUT", "/v1/models/_/other/aliases/x", json, "{\"version\":\"v1\"}", 403, "denied");
    expect("POST", "/v1/models/_/other/attempts", json, "{}", 403, "denied");
    snprintf(json, sizeof json, "%sContent-Type: application/json\r\n", writer);
    expect("PUT", "/v1/models/_/other/aliases/x", json, "{\"version\":\"v1\"}", 200, NULL);
    expect("DELETE", "/v1/models/_/other/aliases/x", writer, NULL, 200, NULL);
    json_t *journal = serving_json(&s, "GET", "/v1/models/_/other/journal", NULL, 200);
    const json_t *first = json_array_get(json_object_get(journal, "entries"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "who")), "writer");
    json_decref(journal);
}

static void patterns(void **state)
{
    const char *limited = auth_of("limited", LODE_SCOPE_WRITE, "rank-*");
    char json[400];
    snprintf(json, sizeof json, "%sContent-Type: application/json\r\n", limited);
    expect("GET", "/v1/models/_/rank-a/versions/v1", limited, NULL, 200, NULL);
    expect("GET", "/v1/models/_/other/versions/v1", limited, NULL, 403, "denied");
    expect("GET", "/v1/models/_/other/versions/v1", limited, NULL, 403,
           "denied"); /* also when it is kept ready */
    expect("GET", "/v1/models/_/other/versions/v1", NULL, NULL, 200, NULL);
    expect("GET", "/v1/models/_/other/versions/v1", limited, NULL, 403, "denied");
    expect("GET", "/v1/resolve?ref=other@v1", limited, NULL, 403, "denied");
    expect("GET", "/v1/diff?from=other@v1&to=other@v1", limited, NULL, 403, "denied");
    expect("GET", "/v1/watch?name=other", limited, NULL, 403, "denied");
    expect("GET", "/v1/models/_/other/versions/v1/files/a.txt", limited, NULL, 403, "denied");
    expect("POST", "/v1/models/_/other/attempts", json, "{}", 403, "denied");
    expect("PUT", "/v1/models/_/other/aliases/x", json, "{\"version\":\"v1\"}", 403, "denied");
    struct answer a = serving_ask(&s, "GET", "/v1/models", limited, NULL, 0);
    assert_non_null(strstr(a.body, "rank-a"));
    assert_null(strstr(a.body, "other"));
    answer_release(&a);
    a = serving_ask(&s, "GET", "/v1/journal", limited, NULL, 0);
    assert_null(strstr(a.body, "\"other\""));
    answer_release(&a);
    a = serving_ask(&s, "GET", "/v1/versions", limited, NULL, 0);
    assert_null(strstr(a.body, "\"other\""));
    answer_release(&a);
    /* an upload's id is no way around the pattern */
    json_t *upload = serving_json(&s, "POST", "/v1/models/_/other/attempts", "{}", 201);
    char path[128];
    snprintf(path, sizeof path, "/v1/attempts/%s",
             json_string_value(json_object_get(upload, "id")));
    expect("GET", path, limited, NULL, 403, "denied");
    expect("DELETE", path, limited, NULL, 403, "denied");
    expect("DELETE", path, NULL, NULL, 204, NULL);
    json_decref(upload);
}

static void taken_back(void **state)
{
    struct lode_err err = {0};
    const char *line = auth_of("brief", LODE_SCOPE_READ, NULL);
    expect("GET", "/v1/root", line, NULL, 200, NULL);
    expect("DELETE", "/v1/tokens/brief", NULL, NULL, 204, NULL);
    expect("GET", "/v1/root", line, NULL, 401, NULL);
    root_refused(lode_token_rm(s.lode, "brief", &err), LODE_NOT_FOUND, &err, "brief");
    expect("DELETE", "/v1/tokens/admin", NULL, NULL, 409, "held");
    json_t *made =
        serving_json(&s, "POST", "/v1/tokens",
                     "{\"name\":\"web\",\"scope\":\"read\",\"models\":[\"rank-*\"]}", 201);
    char auth[300];
    snprintf(auth, sizeof auth, "Authorization: Bearer %s\r\n",
             json_string_value(json_object_get(made, "token")));
    expect("GET", "/v1/models/_/rank-a", auth, NULL, 200, NULL);
    expect("GET", "/v1/models/_/other", auth, NULL, 403, NULL);
    json_decref(made);
    struct answer a = serving_ask(&s, "GET", "/v1/tokens", NULL, NULL, 0);
    assert_non_null(strstr(a.body, "\"web\""));
    assert_null(strstr(a.body, "sha256"));
    assert_null(strstr(a.body, "\"token\""));
    answer_release(&a);
}

static void hosts(void **state)
{
    expect("GET", "/healthz", "Host: evil.example\r\n", NULL, 403, "denied");
    expect("GET", "/healthz", "Host: 127.0.0.1:80\r\n", NULL, 200, NULL);
    expect("GET", "/healthz", "Host: [::1]:80\r\n", NULL, 200, NULL);
    expect("GET", "/healthz", "Host: localhost@evil\r\n", NULL, 403, "denied");
    expect("GET", "/healthz", "Host: 192.168.0.1\r\n", NULL, 403, "denied");
    expect("GET", "/healthz", "Origin: https://evil.example\r\n", NULL, 403, "denied");
    expect("GET", "/healthz", "Origin: null\r\n", NULL, 403, "denied");
    expect("GET", "/healthz", "Origin: http://localhost\r\n", NULL, 200, NULL);
}

static void paths(void **state)
{
    static const struct {
        const char *path;
        int status;
    } cases[] = {
        {"/v1/models/_/..", 400},
        {"/v1/models/_/%2e%2e", 400},
        {"/v1/models/_/other%2Fversions", 400},
        {"/v1/models/_/other%00", 400},
        {"/v1/models/_/other%252Fx", 400},
        {"/v1/models/_/%c0%af", 400},
        {"/v1/models/_/.hidden", 400},
        {"/v1/models/_/a%20b", 400},
        {"/v1/models/_/other/", 404},
        {"/v1//models", 404},
        {"/v1/models/_/other/versions/v1/files/", 400},
        {"/v1/models/_/other/versions/v1/files/../a.txt", 400},
        {"/v1/models/_/other/versions/v1/files/%2e%2e/a.txt", 400},
        {"/v1/models/_/other/versions/v1/files/%252e%252e/a.txt", 404},
        {"/v1/models/_/other/versions/v1/files/x%2Fa.txt", 400},
        {"/v1/models/_/other/versions/v1/files/_lode/manifest", 400},
        {"/v1/models/_/other/versions/v1/files//etc/passwd", 400},
        {"/v1/models/_/other/versions/v1/files/a.txt%00.png", 400},
        {"/v1/models/_/other/versions/v1/files/a.txt;x", 404},
        {"/v1/models/_/other/versions/v1/files/a.txt%23", 404},
        {"/v1/models/_/other/versions/v1/files/a.txt%3F", 404},
        {"/v1/models/_/other/versions/v1/files/a.txt", 200},
        {"/v1/models/_/other?x=1", 400},
        {"/v1/models?limit=a", 400},
        {"/v1/models?limit=1001", 400},
        {"/v1/models?limit=1&limit=2", 400},
        {"/v1/models?filter=%00", 400},
        {"/nothing", 404},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect("GET", cases[i].path, NULL, NULL, cases[i].status, NULL);
    char deep[2000] = "/v1/models/_/other/versions/v1/files";
    for (int i = 0; i < 60; i++)
        strcat(deep, "/a");
    expect("GET", deep, NULL, NULL, 413, "limit");
}

static void methods(void **state)
{
    struct answer a = serving_ask(&s, "PUT", "/v1/models", NULL, NULL, 0);
    assert_int_equal(a.status, 405);
    assert_string_equal(answer_header(&a, "Allow"), "GET, HEAD");
    answer_release(&a);
    a = serving_ask(&s, "HEAD", "/v1/models/_/other/versions/v1/files/a.txt", NULL, NULL, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Content-Length"), "5");
    assert_int_equal(a.len, 0);
    answer_release(&a);
    expect("BREW", "/v1/models", NULL, NULL, 405, NULL);
}

static void bodies(void **state)
{
    const char *json = "Content-Type: application/json\r\n", *to = "/v1/models/_/other/attempts";
    expect("POST", to, "Content-Type: text/plain\r\n", "{}", 415, "invalid");
    expect("POST", to, json, "{", 400, "invalid");
    expect("POST", to, json, "[]", 400, "invalid");
    expect("POST", to, json, "{\"x\":1}", 400, "invalid");
    expect("POST", to, json, "{\"size\":1,\"size\":2}", 400, "invalid");
    expect("POST", to, json, "{\"version\":\"7\"}", 400, "invalid");
    expect("POST", to, json, "{\"version\":\"../x\"}", 400, "invalid");
    expect("POST", to, json, "{\"aliases\":[\"latest\"]}", 400, "invalid");
    expect("GET", "/v1/models", json, "{}", 400, "invalid");
    char *large = malloc(5 << 20);
    memset(large, ' ', 5 << 20);
    struct answer a = serving_ask(&s, "POST", to, json, large, 5 << 20);
    assert_true(a.status == 413 || a.status == 0); /* closed on us while we sent is a refusal too */
    answer_release(&a);
    free(large);
    static const char declared[] = "POST /v1/models/_/other/attempts HTTP/1.1\r\nHost: "
                                   "localhost\r\nContent-Type: application/json\r\n"
                                   "Authorization: Bearer %s\r\nContent-Length: 5242880\r\n\r\n";
    char head[600];
    int n = snprintf(head, sizeof head, declared, s.token);
    a = serving_raw(&s, head, (size_t)n, 5000);
    assert_int_equal(a.status, 413);
    answer_release(&a);
}

static void doubtful_framing(void **state)
{
    static const char both[] = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                               "4\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct answer a = serving_raw(&s, both, sizeof both - 1, 3000);
    assert_true(a.status == 400 || a.status == 0);
    assert_null(a.body ? strstr(a.body, "\"ok\"") : NULL);
    answer_release(&a);
    static const char no_host[] = "GET /healthz HTTP/1.1\r\n\r\n";
    a = serving_raw(&s, no_host, sizeof no_host - 1, 3000);
    assert_int_equal(a.status, 400);
    answer_release(&a);
}

static void large_heads(void **state)
{
    char *head = malloc(200000);
    int n = snprintf(head, 200000, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: ");
    memset(head + n, 'a', 40000);
    memcpy(head + n + 40000, "\r\n\r\n", 4);
    struct answer a = serving_raw(&s, head, (size_t)n + 40004, 3000);
    assert_true(a.status == 431 || a.status == 413 || a.status == 0);
    answer_release(&a);
    memset(head + n, 'a', 150000);
    a = serving_raw(&s, head, (size_t)n + 150000, 4000);
    assert_true(a.status != 200);
    answer_release(&a);
    free(head);
    expect("GET", "/healthz", NULL, NULL, 200, NULL);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A byte of the head now and then keeps no connection: it is closed after header_s. Others are
 * served meanwhile. */
static void slow_heads(void **state)
{
    int fds[20];
    double begin = now_s();
    for (int i = 0; i < 20; i++) {
        fds[i] = serving_connect(&s);
        assert_int_equal(send(fds[i], "GET /he", 7, MSG_NOSIGNAL), 7);
    }
    int open = 20;
    while (open && now_s() - begin < 15) {
        expect("GET", "/healthz", NULL, NULL, 200, NULL);
        usleep(100000);
        for (int i = 0; i < 20; i++) {
            char c;
            if (fds[i] >= 0 && (send(fds[i], "a", 1, MSG_NOSIGNAL) < 0 ||
                                recv(fds[i], &c, 1, MSG_DONTWAIT) == 0)) {
                close(fds[i]);
                fds[i] = -1;
                open--;
            }
        }
    }
    assert_int_equal(open, 0);
    assert_true(now_s() - begin < 10);
}

static void too_many(void **state)
{
    int fds[100];
    for (int i = 0; i < 100; i++)
        fds[i] = serving_connect(&s);
    usleep(300000);
    int closed = 0;
    for (int i = 0; i < 100; i++) {
        char c;
        closed += recv(fds[i], &c, 1, MSG_DONTWAIT) == 0;
        close(fds[i]);
    }
    assert_true(closed >= 30); /* of one address at most 64 stay */
    usleep(300000);
    expect("GET", "/healthz", NULL, NULL, 200, NULL);
}

static void exposure(void **state)
{
    struct lode_err err = {0};
    struct lode_open_options root = {.url = root_path("bare"), .create = true};
    struct lode_serve_options o = {.root = &root, .listen = "0.0.0.0:0"};
    struct lode_server *server;
    root_refused(lode_server_start(&o, &server, &err), LODE_DENIED, &err, "token");
    struct lode_open_options with = {.url = s.dir};
    o.root = &with;
    root_refused(lode_server_start(&o, &server, &err), LODE_DENIED, &err, "--plain-http");
    o.plain_http = true;
    root_ok(lode_server_start(&o, &server, &err), &err);
    lode_server_stop(server);
    o.listen = "nonsense";
    root_refused(lode_server_start(&o, &server, &err), LODE_INVALID, &err, "nonsense");
    o.listen = NULL;
    o.cert = "/nonexistent";
    root_refused(lode_server_start(&o, &server, &err), LODE_INVALID, &err, "both");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens),
        cmocka_unit_test(scopes),
        cmocka_unit_test(patterns),
        cmocka_unit_test(taken_back),
        cmocka_unit_test(hosts),
        cmocka_unit_test(paths),
        cmocka_unit_test(methods),
        cmocka_unit_test(bodies),
        cmocka_unit_test(doubtful_framing),
        cmocka_unit_test(large_heads),
        cmocka_unit_test(slow_heads),
        cmocka_unit_test(too_many),
        cmocka_unit_test(exposure),
    };
    root_scratch();
    return cmocka_run_group_tests(tests, setup, teardown);
}
