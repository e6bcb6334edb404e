/* Request paths: split while raw, each part decoded once (invariant 1 of srv.h).
 *
 * "%2F" would make two parts of one and "%00" cut a name short, so a part that decodes to either is
 * refused; "%252F" decodes to the three characters "%2F", which no name may hold and which a file's
 * name may. */
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "server/srv.h"
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool srv_percent_decode(char *s, size_t *len)
{
    size_t n = 0;
    for (size_t i = 0; i < *len; i++, n++) {
        if (s[i] != '%') {
            s[n] = s[i];
            continue;
        }
        int high = i + 2 < *len ? hex_digit(s[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(s[i + 2]) : -1;
        if (low < 0 || (high == 0 && low == 0))
            return false;
        s[n] = (char)(high << 4 | low);
        i += 2;
    }
    s[n] = '\0';
    *len = n;
    return !memchr(s, '\0', n) && lode_utf8_valid(s, n) == n;
}

static int decode_part(char *part, size_t *len, struct lode_err *err)
{
    bool good = srv_percent_decode(part, len);
    if (good && LODE_PLANTED(decode_twice))
        good = srv_percent_decode(part, len);
    if (!good)
        return lode_err_set(err, LODE_INVALID,
                            "the path holds a bad percent-encoding, a NUL or what is no UTF-8");
    if (memchr(part, '/', *len))
        return lode_err_set(err, LODE_INVALID,
                            "the path holds an encoded slash; parts are divided by plain ones");
    return 0;
}

int srv_path_split(struct srv_request *request, const char *url, struct lode_err *err)
{
    if (url[0] != '/')
        return lode_err_set(err, LODE_INVALID, "the path has to begin with a slash");
    request->text = lode_strdup(url + 1);
    if (!request->text)
        return lode_err_nomem(err, "a path");
    char *part = request->text;
    for (bool more = true; more;) {
        size_t raw = strcspn(part, "/");
        more = part[raw] == '/';
        part[raw] = '\0';
        if (request->n_parts == SRV_PARTS_MAX)
            return lode_err_set(err, LODE_LIMIT, "the path has more than %d parts", SRV_PARTS_MAX);
        size_t len = raw;
        int r = decode_part(part, &len, err);
        if (r < 0)
            return r;
        request->parts[request->n_parts] = part;
        request->part_len[request->n_parts++] = len;
        part += raw + 1;
    }
    return 0;
}

char *srv_path_join(const struct srv_request *request, size_t first)
{
    struct lode_buf out = LODE_BUF_INIT(LODE_PATH_MAX);
    for (size_t i = first; i < request->n_parts; i++) {
        if (i > first)
            lode_buf_addc(&out, '/');
        lode_buf_add(&out, request->parts[i], request->part_len[i]);
    }
    if (out.len == 0)
        lode_buf_adds(&out, ""); /* memory of its own all the same */
    return lode_buf_steal(&out);
}
