/* References: see model/ref.h.
 *
 * A reference is split, never guessed: the scheme first, then the revision behind the only '@' (a
 * path may hold more, behind it), then the names. Every name passes base/name.h before it is
 * copied, so that a reference that parsed can become a key or a directory.
 */
#include "model/ref.h"
#include <stdio.h>
#include <string.h>
#include "base/name.h"

#define FORM "a reference is [ns/]name[@version|@number|@alias]"

struct slice {
    const char *s;
    size_t len;
};

static struct slice slice_of(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static void copy_slice(char *into, struct slice from)
{
    memcpy(into, from.s, from.len);
    into[from.len] = 0;
}

/* Cuts `in` at the first `c`: what stands before goes to *head, what follows stays. False without
 * one. */
static bool cut(struct slice *in, char c, struct slice *head)
{
    const char *at = memchr(in->s, c, in->len);
    if (!at)
        return false;
    *head = (struct slice){in->s, (size_t)(at - in->s)};
    *in = (struct slice){at + 1, in->len - head->len - 1};
    return true;
}

static int check_length(const char *s, struct lode_err *err)
{
    size_t len = strlen(s);
    if (len == 0)
        return lode_err_set(err, LODE_INVALID, "the reference is empty; " FORM);
    if (len > LODE_REF_MAX)
        return lode_err_set(err, LODE_INVALID,
                            "reference %s is %zu bytes long; at most %d are allowed",
                            lode_qn(s, len), len, LODE_REF_MAX);
    return 0;
}

static int set_model(struct lode_ref *out, struct slice ns, struct slice name, struct lode_err *err)
{
    int r = 0;
    if (ns.s && !(ns.len == 1 && ns.s[0] == '_'))
        r = lode_name_check(LODE_NAME_NAMESPACE, ns.s, ns.len, err);
    if (r == 0)
        r = lode_name_check(LODE_NAME_MODEL, name.s, name.len, err);
    if (r < 0)
        return r;
    copy_slice(out->ns, ns.s ? ns : slice_of(LODE_DEFAULT_NS));
    copy_slice(out->name, name);
    return 0;
}

/* "[ns/]name" */
static int parse_names(struct slice in, struct lode_ref *out, struct lode_err *err)
{
    struct slice ns = {0};
    struct slice rest = in;
    if (!cut(&rest, '/', &ns))
        return set_model(out, (struct slice){0}, in, err);
    if (memchr(rest.s, '/', rest.len))
        return lode_err_set(err, LODE_INVALID, "%s has too many '/'; " FORM, lode_qn(in.s, in.len));
    return set_model(out, ns, rest, err);
}

static int parse_seq(struct slice rev, struct lode_ref *out, struct lode_err *err)
{
    uint64_t seq = 0;
    for (size_t i = 0; i < rev.len; i++) {
        uint64_t digit = (uint64_t)(rev.s[i] - '0');
        if (seq > (INT64_MAX - digit) / 10)
            return lode_err_set(err, LODE_INVALID, "version number %s is too large",
                                lode_qn(rev.s, rev.len));
        seq = seq * 10 + digit;
    }
    if (seq == 0)
        return lode_err_set(err, LODE_INVALID, "version numbers begin at 1");
    out->kind = LODE_REV_SEQ;
    out->seq = seq;
    return 0;
}

static int parse_rev(struct slice rev, struct lode_ref *out, struct lode_err *err)
{
    if (rev.len == 6 && memcmp(rev.s, "latest", 6) == 0) {
        out->kind = LODE_REV_LATEST;
        return 0;
    }
    if (lode_name_is_seq(rev.s, rev.len))
        return parse_seq(rev, out, err);
    int r = lode_name_check(LODE_NAME_VERSION, rev.s, rev.len, err);
    if (r < 0) {
        lode_err_prefix(err, "behind the '@'");
        return r;
    }
    out->kind = LODE_REV_NAME;
    copy_slice(out->rev, rev);
    return 0;
}

static bool is_host_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           strchr(".-_:[]", c);
}

/* "lode://host[:port]/rest": takes scheme and host away. */
static int take_host(struct slice *in, struct lode_ref *out, struct lode_err *err)
{
    struct slice host;
    *in = (struct slice){in->s + 7, in->len - 7};
    if (!cut(in, '/', &host) || host.len == 0 || host.len >= sizeof out->host)
        return lode_err_set(err, LODE_INVALID,
                            "a lode:// reference is lode://host[:port]/[ns/]name[@rev]");
    for (size_t i = 0; i < host.len; i++) {
        if (!host.s[i] || !is_host_char(host.s[i]))
            return lode_err_set(err, LODE_INVALID, "%s is not a host name",
                                lode_qn(host.s, host.len));
    }
    copy_slice(out->host, host);
    return 0;
}

static bool has_scheme(struct slice in, const char *scheme)
{
    size_t n = strlen(scheme);
    return in.len >= n && memcmp(in.s, scheme, n) == 0;
}

/* "models:/name/3" or "models:/name@alias", as MLflow writes them: no namespace, the revision must
 * be there. */
static int parse_mlflow(struct slice in, struct lode_ref *out, struct lode_err *err)
{
    struct slice name, rev = {in.s + 8, in.len - 8};
    if (!cut(&rev, '@', &name) && !cut(&rev, '/', &name))
        return lode_err_set(err, LODE_INVALID,
                            "%s: a models:/ reference is models:/name/number or models:/name@alias",
                            lode_qn(in.s, in.len));
    int r = set_model(out, (struct slice){0}, name, err);
    return r < 0 ? r : parse_rev(rev, out, err);
}

/* "[ns/]name[@rev]" without a scheme. */
static int parse_plain(struct slice in, struct lode_ref *out, struct lode_err *err)
{
    struct slice names;
    out->kind = LODE_REV_LATEST;
    if (!cut(&in, '@', &names))
        return parse_names(in, out, err);
    int r = parse_names(names, out, err);
    return r < 0 ? r : parse_rev(in, out, err);
}

int lode_ref_parse(const char *s, struct lode_ref *out, struct lode_err *err)
{
    struct lode_ref ref = {0};
    struct slice in = slice_of(s);
    int r = check_length(s, err);
    if (r == 0 && has_scheme(in, "lode://"))
        r = take_host(&in, &ref, err);
    if (r < 0)
        return r;
    if (lode_looks_like_path(s))
        return lode_err_set(err, LODE_INVALID, "%s is a path, not a reference; " FORM, lode_q(s));
    r = has_scheme(in, "models:/") ? parse_mlflow(in, &ref, err) : parse_plain(in, &ref, err);
    if (r == 0)
        *out = ref;
    return r;
}

int lode_ref_parse_model(const char *s, struct lode_ref *out, struct lode_err *err)
{
    if (strchr(s, '@') || has_scheme(slice_of(s), "models:/"))
        return lode_err_set(err, LODE_INVALID,
                            "%s: a model alone is meant here, [ns/]name without a revision",
                            lode_q(s));
    return lode_ref_parse(s, out, err);
}

static int check_file_path(const char *path, struct lode_err *err)
{
    int r = lode_path_check(path, strlen(path), err);
    if (r < 0)
        lode_err_prefix(err, "the file behind the reference");
    return r;
}

/* "names@rev/path": the revision ends at the first '/' behind the '@'. */
static int parse_pinned_file(struct slice in, struct lode_file_ref *out, struct lode_err *err)
{
    struct slice names, rev;
    cut(&in, '@', &names);
    if (!cut(&in, '/', &rev))
        return lode_err_set(err, LODE_INVALID, "%s names no file; write [ns/]name[@rev]/path",
                            lode_qn(names.s, names.len));
    int r = parse_names(names, &out->ref, err);
    if (r == 0)
        r = parse_rev(rev, &out->ref, err);
    if (r == 0)
        r = check_file_path(in.s, err);
    out->path = in.s;
    return r;
}

/* "a/rest": model a, file rest. */
static int parse_short_file(struct slice in, struct lode_file_ref *out, struct lode_err *err)
{
    struct slice name, rest = in;
    if (!cut(&rest, '/', &name))
        return lode_err_set(err, LODE_INVALID, "%s names no file; write [ns/]name[@rev]/path",
                            lode_qn(in.s, in.len));
    int r = set_model(&out->ref, (struct slice){0}, name, err);
    if (r == 0)
        r = check_file_path(rest.s, err);
    out->path = rest.s;
    return r;
}

/* "a/b/rest": namespace a, model b, file rest. */
static int parse_long_file(struct slice in, struct lode_file_ref *out)
{
    struct slice ns, name, rest = in;
    if (!cut(&rest, '/', &ns) || !cut(&rest, '/', &name))
        return LODE_INVALID;
    out->path = rest.s;
    int r = set_model(&out->ref, ns, name, NULL);
    return r < 0 ? r : check_file_path(rest.s, NULL);
}

int lode_ref_parse_file(const char *s, struct lode_file_ref out[2], unsigned *n,
                        struct lode_err *err)
{
    struct lode_file_ref first = {0}, second = {0};
    struct slice in = slice_of(s);
    if (in.len == 0 || in.len > LODE_REF_MAX + LODE_PATH_MAX)
        return lode_err_set(err, LODE_INVALID,
                            "a file is named [ns/]name[@rev]/path, at most %d bytes",
                            LODE_REF_MAX + LODE_PATH_MAX);
    int r = has_scheme(in, "lode://") ? take_host(&in, &first.ref, err) : 0;
    if (r < 0)
        return r;
    memcpy(second.ref.host, first.ref.host, sizeof second.ref.host);
    const char *at = memchr(in.s, '@', in.len);
    const char *slash = memchr(in.s, '/', in.len);
    const char *slash2 = slash ? strchr(slash + 1, '/') : NULL;
    /* An '@' behind the second '/' belongs to the path. */
    bool pinned = at && (!slash2 || at < slash2);
    r = pinned ? parse_pinned_file(in, &first, err) : parse_short_file(in, &first, err);
    if (r < 0)
        return r;
    *n = !pinned && parse_long_file(in, &second) == 0 ? 2 : 1;
    out[0] = first;
    out[1] = second;
    return 0;
}

char *lode_ref_text(const struct lode_ref *ref, char out[LODE_REF_TEXT])
{
    bool shown = strcmp(ref->ns, LODE_DEFAULT_NS) != 0;
    int n =
        snprintf(out, LODE_REF_TEXT, "%s%s%s@", shown ? ref->ns : "", shown ? "/" : "", ref->name);
    size_t room = LODE_REF_TEXT - (size_t)n;
    if (ref->kind == LODE_REV_SEQ)
        snprintf(out + n, room, "%llu", (unsigned long long)ref->seq);
    else
        snprintf(out + n, room, "%s", ref->kind == LODE_REV_NAME ? ref->rev : "latest");
    return out;
}
