/* A server for tests: see support/serving.h. */
#include "support/serving.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "support/root.h"

struct serving serving_start(const struct lode_serve_options *options, bool with_token)
{
    static unsigned number;
    struct serving s = {0};
    struct lode_err err = {0};
    struct lode_serve_options o = options ? *options : (struct lode_serve_options){0};
    snprintf(s.dir, sizeof s.dir, "%s", root_path("served-%u", ++number));
    struct lode_open_options root = {.url = s.dir, .create = true};
    root_ok(lode_open(&root, &s.lode, &err), &err);
    if (with_token) {
        char *secret;
        root_ok(lode_token_add(s.lode, "admin", LODE_SCOPE_ADMIN, NULL, 0, &secret, NULL, &err),
                &err);
        snprintf(s.token, sizeof s.token, "%s", secret);
        lode_string_free(secret);
    }
    o.root = &root;
    o.listen = o.listen ? o.listen : "127.0.0.1:0";
    root_ok(lode_server_start(&o, &s.server, &err), &err);
    s.port = atoi(strrchr(lode_server_url(s.server), ':') + 1);
    return s;
}

void serving_stop(struct serving *s)
{
    lode_server_stop(s->server);
    lode_close(s->lode);
}

void answer_release(struct answer *a)
{
    free(a->head);
    free(a->body);
    *a = (struct answer){0};
}

int serving_connect(const struct serving *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* refused half way: the answer tells */
        bytes += n;
        len -= (size_t)n;
    }
}

static void split(struct answer *a, char *all, size_t len)
{
    char *end = memmem(all, len, "\r\n\r\n", 4);
    if (!end) {
        free(all);
        return;
    }
    a->head = strndup(all, (size_t)(end - all));
    a->len = len - (size_t)(end + 4 - all);
    a->body = malloc(a->len + 1);
    memcpy(a->body, end + 4, a->len);
    a->body[a->len] = '\0';
    a->status = strlen(a->head) > 12 ? atoi(a->head + 9) : 0;
    free(all);
}

static struct answer receive(int fd, int ms)
{
    struct answer a = {0};
    char *all = malloc(1);
    size_t len = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, ms) <= 0)
            break;
        all = realloc(all, len + 65536);
        assert_non_null(all);
        ssize_t n = recv(fd, all + len, 65536, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    split(&a, all, len);
    return a;
}

struct answer serving_raw(const struct serving *s, const char *bytes, size_t len, int ms)
{
    int fd = serving_connect(s);
    send_all(fd, bytes, len);
    struct answer a = receive(fd, ms);
    close(fd);
    return a;
}

struct answer serving_ask(const struct serving *s, const char *method, const char *path,
                          const char *headers, const void *body, size_t len)
{
    char head[20000], length[64] = "";
    bool own_auth = headers && strcasestr(headers, "authorization:");
    if (body || strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", len);
    int n = snprintf(
        head, sizeof head, "%s %s HTTP/1.1\r\n%sConnection: close\r\n%s%s%s%s%s\r\n", method, path,
        headers && strcasestr(headers, "host:") ? "" : "Host: localhost\r\n", length,
        headers ? headers : "", s->token[0] && !own_auth ? "Authorization: Bearer " : "",
        s->token[0] && !own_auth ? s->token : "", s->token[0] && !own_auth ? "\r\n" : "");
    assert_true(n > 0 && (size_t)n < sizeof head);
    int fd = serving_connect(s);
    send_all(fd, head, (size_t)n);
    if (body)
        send_all(fd, body, len);
    struct answer a = receive(fd, 30000);
    close(fd);
    return a;
}

json_t *serving_json(const struct serving *s, const char *method, const char *path,
                     const char *body, int status)
{
    struct answer a =
        serving_ask(s, method, path, body ? "Content-Type: application/json\r\n" : NULL, body,
                    body ? strlen(body) : 0);
    if (a.status != status)
        print_error("%s %s: %d, not %d: %s\n", method, path, a.status, status,
                    a.body ? a.body : "");
    assert_int_equal(a.status, status);
    json_t *doc = json_loads(a.body, 0, NULL);
    answer_release(&a);
    return doc;
}

const char *answer_header(const struct answer *a, const char *name)
{
    static char values[8][512];
    static unsigned next;
    size_t len = strlen(name);
    for (const char *line = a->head; line && (line = strstr(line, "\r\n"));) {
        line += 2;
        if (strncasecmp(line, name, len) != 0 || line[len] != ':')
            continue;
        const char *value = line + len + 1 + strspn(line + len + 1, " ");
        snprintf(values[next % 8], sizeof values[0], "%.*s", (int)strcspn(value, "\r"), value);
        return values[next++ % 8];
    }
    return "";
}

const char *answer_code(const struct answer *a)
{
    static char code[64];
    json_t *doc = a->body ? json_loads(a->body, 0, NULL) : NULL;
    const char *s = json_string_value(json_object_get(json_object_get(doc, "error"), "code"));
    snprintf(code, sizeof code, "%s", s ? s : "");
    json_decref(doc);
    return code;
}

void serving_push(const struct serving *s, const char *model, const char *version, const char *path,
                  const void *bytes, size_t len)
{
    static unsigned number;
    struct lode_err err = {0};
    const char *dir = root_path("pushed-%u", ++number);
    char file[1024];
    snprintf(file, sizeof file, "%s/%s", dir, path);
    root_write(file, bytes, len);
    root_ok(root_push(s->lode, model, dir, version, NULL, &err), &err);
}
