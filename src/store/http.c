/* The http store: opening, asking, looking, and its tables of operations. See store/http.h for
 * the design. */
#include "store/http.h"
#include <string.h>
#include "base/json.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/size.h"
#include "store/util.h"

#define CONNECTIONS 32

extern const struct lode_store_ops lode_store_http_ops, lode_store_https_ops;

bool http_number(const char *s, const char *end, uint64_t *out)
{
    uint64_t n = 0;
    if (s == end)
        return false;
    for (; s < end; s++) {
        if (*s < '0' || *s > '9' || !lode_mul_u64(n, 10, &n) ||
            !lode_add_u64(n, (uint64_t)(*s - '0'), &n))
            return false;
    }
    *out = n;
    return true;
}

/* ---- asking ---- */

char *http_url(const struct http_store *self, const char *key, const char *query,
               struct lode_err *err)
{
    struct lode_buf url = LODE_BUF_INIT(HTTP_URL_MAX);
    lode_buf_adds(&url, self->base.url);
    if (*key) {
        lode_buf_addc(&url, '/');
        lode_http_add_escaped(&url, key, strlen(key), true);
    }
    lode_buf_adds(&url, query);
    char *text = lode_buf_check(&url, "a URL", err) < 0 ? NULL : lode_buf_steal(&url);
    lode_buf_release(&url);
    return text;
}

/* The code and message of {"error":{"code","message"}}; false for another body. */
static bool server_says(const struct lode_http_reply *reply, int *code, char *message, size_t room)
{
    _cleanup_json_ json_t *doc = NULL;
    json_t *error;
    const char *name, *text;
    if (reply->body.len == 0 ||
        lode_json_parse(reply->body.data, reply->body.len, "the reply", &doc, NULL) < 0 ||
        lode_json_obj(doc, "error", &error, NULL) < 0 ||
        lode_json_str(error, "code", &name, NULL) < 0 ||
        lode_json_str(error, "message", &text, NULL) < 0)
        return false;
    int known = lode_code_of_name(name);
    if (known != LODE_INTERNAL || strcmp(name, "internal") == 0)
        *code = known;
    size_t len = lode_min(strlen(text), room - 1);
    memcpy(message, text, len);
    message[len] = 0;
    return true;
}

int http_refused(const struct http_store *self, const char *what, const char *key,
                 const struct lode_http_reply *reply, struct lode_err *err)
{
    char message[LODE_ERR_TEXT_MAX / 2];
    int code = lode_code_of_http(reply->status);
    if (code >= 0)
        code = LODE_IO;
    if (server_says(reply, &code, message, sizeof message))
        return lode_err_set(err, code, "cannot %s %s in %s: %s", what, lode_q(key), self->base.url,
                            message);
    return lode_err_set(err, code, "cannot %s %s in %s: the server answers %d", what, lode_q(key),
                        self->base.url, reply->status);
}

int http_strange(const struct http_store *self, const char *key,
                 const struct lode_http_reply *reply, const char *why, struct lode_err *err)
{
    return lode_err_set(err, LODE_IO,
                        "the server answers %d for %s in %s, but %s: is it a Lode server's URL?",
                        reply->status, lode_q(key), self->base.url, why);
}

int http_ask(struct http_store *self, const char *method, const char *key, const char *query,
             const void *body, size_t len, struct lode_http_reply *reply, struct lode_err *err)
{
    _cleanup_free_ char *url = http_url(self, key, query, err);
    if (!url)
        return LODE_LIMIT;
    bool sends = strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0;
    struct lode_http_ask ask = {
        .method = method,
        .url = url,
        .body = sends ? (body ? body : "") : NULL,
        .body_len = len,
        .expect_continue = len > (64u << 10), /* so that a refusal comes before the bytes go */
    };
    int r = lode_http_do(self->http, &ask, reply, err);
    if (r < 0) {
        lode_err_prefix(err, "%s of %s in %s", method, lode_q(key), self->base.url);
        return r;
    }
    return reply->status >= 400 ? http_refused(self, method, key, reply, err) : 0;
}

/* ---- looking ---- */

static int http_stat(struct lode_store *store, const char *key, struct lode_store_stat *out,
                     struct lode_err *err)
{
    struct http_store *self = http_of(store);
    _cleanup_http_reply_ struct lode_http_reply reply = {0};
    uint64_t size;
    if (!*key)
        return lode_store_unsupported(store, "look at its base", err);
    int r = http_ask(self, "HEAD", key, "", NULL, 0, &reply, err);
    if (r < 0)
        return r;
    const char *length = lode_http_header(&reply, "content-length");
    if (reply.status != 200 || !length || !http_number(length, length + strlen(length), &size))
        return http_strange(self, key, &reply, "does not tell its length", err);
    *out = (struct lode_store_stat){.kind = LODE_STORE_OBJECT, .size = size};
    return 0;
}

static int http_open_local(struct lode_store *self, const char *key, int *fd, struct lode_err *err)
{
    return lode_store_unsupported(self, "open a local file", err);
}

static int http_list(struct lode_store *self, const char *dir, const char *after, size_t limit,
                     struct lode_store_page *out, struct lode_err *err)
{
    return lode_store_unsupported(self, "list", err);
}

static int http_remove(struct lode_store *self, const char *key, struct lode_err *err)
{
    return lode_store_unsupported(self, "remove", err);
}

static int http_rename_dir(struct lode_store *self, const char *from, const char *to,
                           struct lode_err *err)
{
    return lode_store_unsupported(self, "rename", err);
}

static int http_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
                     struct lode_err *err)
{
    return lode_store_unsupported(self, "copy", err);
}

static int http_placement(struct lode_store *self, const char *key,
                          struct lode_store_placement *out, struct lode_err *err)
{
    return lode_store_unsupported(self, "say where bytes lie", err);
}

static int http_space(struct lode_store *self, struct lode_store_space *out, struct lode_err *err)
{
    return lode_store_unsupported(self, "say how much space is left", err);
}

/* ---- open, close ---- */

static void http_close(struct lode_store *store)
{
    struct http_store *self = http_of(store);
    lode_http_free(self->http);
    lode_free(self->base.url);
    lode_free(self);
}

/* scheme://authority, of a URL that has no user, query or fragment: those are no part of a base. */
static int check_url(const char *url, char **origin, struct lode_err *err)
{
    const char *authority = strstr(url, "://");
    size_t len = authority ? strcspn(authority + 3, "/") : 0;
    if (len == 0 || url[strcspn(url, "?#")] || memchr(authority + 3, '@', len))
        return lode_err_set(
            err, LODE_INVALID,
            "the URL of a store over HTTP is scheme://host[:port]/path, without user, "
            "query or fragment (a token is given apart)");
    *origin = lode_strndup(url, (size_t)(authority + 3 - url) + len);
    return *origin ? 0 : lode_err_nomem(err, "a URL");
}

static int set_up(struct http_store *self, const struct lode_store_config *config,
                  struct lode_err *err)
{
    _cleanup_free_ char *origin = NULL;
    int r = check_url(config->url, &origin, err);
    if (r < 0)
        return r;
    size_t len = strlen(config->url);
    while (config->url[len - 1] == '/')
        len--;
    self->base.url = lode_strndup(config->url, len);
    if (!self->base.url)
        return lode_err_nomem(err, "a URL");
    struct lode_http_options options = {
        .token = lode_store_option(config, "token"),
        .origin = origin,
        .ca_file = lode_store_option(config, "cacert"),
        .connections = CONNECTIONS,
    };
    return lode_http_new(&options, &self->http, err);
}

static int http_open(const struct lode_store_config *config, struct lode_store **out,
                     struct lode_err *err)
{
    struct http_store *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a store");
    self->base.ops = config->url[4] == 's' ? &lode_store_https_ops : &lode_store_http_ops;
    self->base.caps = LODE_STORE_RESUME | (config->read_only ? LODE_STORE_READ_ONLY : 0);
    int r = set_up(self, config, err);
    if (r < 0) {
        http_close((struct lode_store *)(void *)self);
        return r;
    }
    *out = (struct lode_store *)(void *)self;
    return 0;
}

/* Both schemes do the same; the client speaks TLS where the URL says so. */
#define OPS(scheme_)                                                                               \
    {                                                                                              \
        .abi = LODE_STORE_ABI, .scheme = scheme_, .open = http_open, .close = http_close,          \
        .stat = http_stat, .read = http_read, .read_wait = http_read_wait,                         \
        .read_cancel = http_read_cancel, .write_begin = http_write_begin,                          \
        .write_parts = http_write_parts, .write_part = http_write_part,                            \
        .write_complete = http_write_complete, .write_abort = http_write_abort,                    \
        .unfinished = http_unfinished, .discard = http_discard, .open_local = http_open_local,     \
        .list = http_list, .remove = http_remove, .rename_dir = http_rename_dir,                   \
        .copy = http_copy, .placement = http_placement, .space = http_space,                       \
    }

const struct lode_store_ops lode_store_http_ops = OPS("http");
const struct lode_store_ops lode_store_https_ops = OPS("https");
