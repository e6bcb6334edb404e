/* One HTTP transfer: its options, its callbacks, and what its end means. See io/http.h. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/size.h"
#include "base/sys.h"
#include "io/http_impl.h"

#define BUFFER_LEN                                                                                 \
    (512l << 10) /* bytes that curl reads and sends at once; its own maximum for reading */

/* ---- the reply ---- */

const char *lode_http_header(const struct lode_http_reply *reply, const char *name)
{
    const char *at = reply->head.data, *end = at + reply->head.len;
    while (at && at < end) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

void lode_http_reply_release(struct lode_http_reply *reply)
{
    lode_buf_release(&reply->head);
    lode_buf_release(&reply->body);
}

/* Ends the transfer with a code of ours: curl only knows that a callback stopped it. */
static size_t stop(struct lode_http_call *call, int code, const char *what)
{
    /* A positive code is a pause where none may be. */
    if (!call->own_code)
        call->own_code = lode_err_set(&call->own_err, code < 0 ? code : LODE_INTERNAL, "%s", what);
    return 0;
}

static void add_header(struct lode_http_call *call, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    if (!colon || memchr(line, 0, n))
        return;
    const char *value = colon + 1, *end = line + n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && strchr(" \t\r\n", end[-1]))
        end--;
    for (const char *c = line; c < colon; c++)
        lode_buf_addc(&call->reply.head, (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c));
    lode_buf_addc(&call->reply.head, 0);
    lode_buf_add(&call->reply.head, value, (size_t)(end - value));
    lode_buf_addc(&call->reply.head, 0);
}

static int tell_head(struct lode_http_call *call)
{
    if (call->head_told || call->reply.status < 200)
        return 0;
    call->head_told = true;
    return call->ask.on_head ? call->ask.on_head(call->ask.arg, &call->reply) : 0;
}

static size_t on_header(char *line, size_t one, size_t n, void *arg)
{
    struct lode_http_call *call = arg;
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        long status = 0;
        lode_buf_clear(&call->reply.head); /* what came before was a 100 */
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        call->reply.status = (int)status;
        return n;
    }
    bool end = n <= 2 && (line[0] == '\r' || line[0] == '\n');
    if (!end)
        add_header(call, line, n);
    if (call->reply.head.failed)
        return stop(call, call->reply.head.failed, "the reply's headers are too long");
    int r = end ? tell_head(call) : 0;
    return r < 0 ? stop(call, r, "refused after the reply's headers") : n;
}

static size_t into_memory(struct lode_http_call *call, const char *p, size_t n)
{
    const struct lode_http_ask *ask = &call->ask;
    if (n > ask->into_len - call->reply.received && !LODE_PLANTED(http_longer_than_asked))
        return stop(call, LODE_LIMIT, "the reply is longer than what was asked for");
    memcpy((char *)ask->into + call->reply.received, p, n);
    call->reply.received += n;
    int r = ask->on_body ? ask->on_body(ask->arg, p, n) : 0;
    return r ? stop(call, r, "stopped while bytes arrived") : n;
}

static size_t into_buffer(struct lode_http_call *call, const char *p, size_t n)
{
    struct lode_buf *body = &call->reply.body;
    if (call->reply.status >= 400) {
        /* Enough to say what went wrong; the rest is dropped. */
        if (body->len < LODE_HTTP_ERROR_MAX)
            lode_buf_add(body, p, lode_min(n, LODE_HTTP_ERROR_MAX - body->len));
    } else {
        lode_buf_add(body, p, n);
    }
    return body->failed ? stop(call, body->failed, "the reply is too long") : n;
}

static size_t on_data(char *p, size_t one, size_t n, void *arg)
{
    struct lode_http_call *call = arg;
    const struct lode_http_ask *ask = &call->ask;
    if (call->reply.status >= 400 || (!ask->into && !ask->on_body))
        return into_buffer(call, p, n);
    if (ask->into)
        return into_memory(call, p, n);
    int r = ask->on_body(ask->arg, p, n);
    if (r == LODE_HTTP_PAUSE)
        return CURL_WRITEFUNC_PAUSE;
    if (r < 0)
        return stop(call, r, "stopped while bytes arrived");
    call->reply.received += n;
    return n;
}

/* ---- the request's body ---- */

static size_t fail_read(struct lode_http_call *call, int code)
{
    call->own_code = code;
    return CURL_READFUNC_ABORT;
}

static size_t next_of_file(struct lode_http_call *call, char *buf, size_t room)
{
    const struct lode_http_ask *ask = &call->ask;
    ssize_t got;
    do {
        got = lode_sys->pread(ask->body_fd, buf, room, (off_t)(ask->body_offset + call->sent));
    } while (got < 0 && errno == EINTR);
    if (got > 0)
        return (size_t)got;
    errno = got == 0 ? ENODATA : errno;
    return fail_read(call,
                     lode_err_sys(&call->own_err, "cannot read the file that is sent, at byte %llu",
                                  (unsigned long long)(ask->body_offset + call->sent)));
}

static size_t next_of_callback(struct lode_http_call *call, char *buf, size_t room)
{
    size_t n = 0;
    int r = call->ask.body_next(call->ask.arg, buf, room, &n);
    if (r == LODE_HTTP_PAUSE)
        return CURL_READFUNC_PAUSE;
    if (r < 0)
        return fail_read(call, lode_err_set(&call->own_err, r, "stopped while bytes were sent"));
    return n;
}

static size_t on_send(char *buf, size_t one, size_t room, void *arg)
{
    struct lode_http_call *call = arg;
    const struct lode_http_ask *ask = &call->ask;
    size_t n = room;
    if (ask->body_len != LODE_HTTP_UNKNOWN)
        n = (size_t)lode_min((uint64_t)room, ask->body_len - call->sent);
    if (n == 0)
        return 0;
    if (ask->body_next)
        n = next_of_callback(call, buf, n);
    else if (ask->body_is_file)
        n = next_of_file(call, buf, n);
    else
        memcpy(buf, (const char *)ask->body + call->sent, n);
    if (n <= room)
        call->sent += n;
    return n;
}

/* For a request sent again on a fresh connection because the kept one was dead: only what can be
 * read again. */
static int on_rewind(void *arg, curl_off_t offset, int origin)
{
    struct lode_http_call *call = arg;
    if (call->ask.body_next || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    call->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* ---- setting up ---- */

static bool add_line(struct lode_http_call *call, const char *line)
{
    struct curl_slist *longer = line ? curl_slist_append(call->headers, line) : NULL;
    if (longer)
        call->headers = longer;
    return longer != NULL;
}

/* The token goes to the origin that it is for, and nowhere else. */
static bool is_home(const struct lode_http *http, const char *url)
{
    size_t n = http->origin ? strlen(http->origin) : 0;
    return n && strncasecmp(url, http->origin, n) == 0 &&
           (url[n] == '/' || url[n] == '?' || url[n] == 0);
}

static bool add_token(struct lode_http_call *call)
{
    const struct lode_http *http = call->http;
    if (!http->token || (!is_home(http, call->ask.url) && !LODE_PLANTED(http_token_abroad)))
        return true;
    char *line = lode_asprintf("Authorization: Bearer %s", http->token);
    bool ok = add_line(call, line);
    lode_free_secret(line);
    return ok;
}

static bool has_body(const struct lode_http_ask *ask)
{
    return ask->body || ask->body_is_file || ask->body_next || strcmp(ask->method, "PUT") == 0 ||
           strcmp(ask->method, "POST") == 0 || strcmp(ask->method, "PATCH") == 0;
}

static bool set_headers(struct lode_http_call *call)
{
    const struct lode_http_ask *ask = &call->ask;
    bool ok = add_token(call);
    for (size_t i = 0; ok && ask->headers && ask->headers[i]; i++)
        ok = add_line(call, ask->headers[i]);
    if (ok && has_body(ask) && !ask->expect_continue)
        ok = add_line(call, "Expect:");
    return ok && (!call->headers ||
                  curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK);
}

static void set_method(struct lode_http_call *call)
{
    const struct lode_http_ask *ask = &call->ask;
    CURL *easy = call->easy;
    if (has_body(ask)) {
        uint64_t len = ask->body_len;
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1l);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                         len == LODE_HTTP_UNKNOWN ? (curl_off_t)-1 : (curl_off_t)len);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
        curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_LEN);
    } else if (strcmp(ask->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1l);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, ask->method);
}

static void set_limits(struct lode_http_call *call)
{
    const struct lode_http *http = call->http;
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1l);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, http->connect_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1l);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (http->idle_ms + 999) / 1000);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, call->ask.total_ms);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1l);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_LEN);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0l);
}

static int set_up(struct lode_http_call *call, struct lode_err *err)
{
    const struct lode_http *http = call->http;
    CURL *easy = call->easy;
    bool ok =
        curl_easy_setopt(easy, CURLOPT_URL, call->ask.url) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
        (!http->ca_file || curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file) == CURLE_OK) &&
        curl_easy_setopt(easy, CURLOPT_USERAGENT, http->agent ? http->agent : "lode") == CURLE_OK &&
        set_headers(call);
    if (!ok)
        return lode_err_nomem(err, "an HTTP request");
    set_method(call);
    set_limits(call);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1l);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS,
                     1l); /* keys are checked names; nothing is to be folded */
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_text);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    return 0;
}

/* A line break in a header or URL would be a second header of an attacker's choice. */
static int check_ask(const struct lode_http_ask *ask, struct lode_err *err)
{
    for (size_t i = 0; ask->headers && ask->headers[i]; i++) {
        if (strpbrk(ask->headers[i], "\r\n"))
            return lode_err_set(err, LODE_INVALID, "a header of the request contains a line break");
    }
    if (strpbrk(ask->url, "\r\n \t"))
        return lode_err_set(err, LODE_INVALID, "the URL contains blanks: percent-encode it");
    if (strncasecmp(ask->url, "http://", 7) != 0 && strncasecmp(ask->url, "https://", 8) != 0)
        return lode_err_set(err, LODE_INVALID, "the URL must begin with http:// or https://");
    return 0;
}

int lode_http_call_new(struct lode_http *http, const struct lode_http_ask *ask,
                       struct lode_http_call **out, struct lode_err *err)
{
    pthread_condattr_t attr;
    int r = check_ask(ask, err);
    if (r < 0)
        return r;
    struct lode_http_call *call = lode_zalloc(sizeof *call);
    if (!call)
        return lode_err_nomem(err, "an HTTP request");
    call->http = http;
    call->ask = *ask;
    lode_buf_init(&call->reply.head, LODE_HTTP_HEADER_MAX);
    lode_buf_init(&call->reply.body,
                  lode_max(ask->max_body ? ask->max_body : (size_t)LODE_HTTP_BODY_MAX,
                           (size_t)LODE_HTTP_ERROR_MAX));
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&call->ended, &attr);
    pthread_condattr_destroy(&attr);
    call->easy = curl_easy_init();
    r = call->easy ? set_up(call, err) : lode_err_nomem(err, "an HTTP request");
    if (r < 0) {
        lode_http_call_free(call);
        return r;
    }
    *out = call;
    return 0;
}

void lode_http_call_free(struct lode_http_call *call)
{
    if (!call)
        return;
    curl_easy_cleanup(call->easy);
    /* The token stands in one of the lines. */
    for (struct curl_slist *line = call->headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(call->headers);
    pthread_cond_destroy(&call->ended);
    lode_http_reply_release(&call->reply);
    lode_free(call);
}

/* ---- the end ---- */

static int code_of(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CACERT_BADFILE:
        return LODE_INVALID;
    case CURLE_OUT_OF_MEMORY:
        return LODE_NO_MEMORY;
    case CURLE_OPERATION_TIMEDOUT:
        return LODE_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
        return LODE_DENIED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_SSL_CONNECT_ERROR:
        return LODE_UNAVAILABLE;
    default:
        return LODE_IO;
    }
}

/* For messages: without what a URL may hide behind '@' or '?'. */
static void show_url(const char *url, struct lode_buf *out)
{
    const char *host = strstr(url, "//") + 2;
    size_t authority = strcspn(host, "/?#");
    const char *at = memchr(host, '@', authority);
    lode_buf_add(out, url, (size_t)(host - url));
    host = at ? at + 1 : host;
    lode_buf_add(out, host, lode_min(strcspn(host, "?#"), (size_t)300));
}

void lode_http_call_judge(struct lode_http_call *call, CURLcode code)
{
    _cleanup_buf_ struct lode_buf where = LODE_BUF_INIT(1024);
    call->result = call->own_code ? call->own_code : code_of(code);
    if (call->result == 0)
        return;
    const char *why = call->own_code       ? call->own_err.text
                      : call->curl_text[0] ? call->curl_text
                                           : curl_easy_strerror(code);
    show_url(call->ask.url, &where);
    lode_err_set(&call->err, call->result, "%s %s: %s", call->ask.method, lode_buf_str(&where),
                 why);
    call->err.sys = call->own_code ? call->own_err.sys : 0;
}

void lode_http_add_escaped(struct lode_buf *b, const char *s, size_t len, bool keep_slash)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-._~", c)) || (c == '/' && keep_slash);
        if (plain)
            lode_buf_addc(b, (char)c);
        else
            lode_buf_addf(b, "%%%02X", c);
    }
}
