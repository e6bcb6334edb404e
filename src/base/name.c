/* Checked names: see base/name.h. */
#include "base/name.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/limits.h"
#include "base/plant.h"

static bool is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name_char(unsigned char c)
{
    return is_alnum(c) || c == '.' || c == '_' || c == '-';
}

bool lode_name_ok(const char *s, size_t len)
{
    if (len == 0 || len > LODE_NAME_MAX || !is_alnum((unsigned char)s[0]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!is_name_char((unsigned char)s[i]))
            return false;
    }
    return true;
}

bool lode_name_is_seq(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
    }
    return len > 0;
}

static const char *const kind_names[] = {"namespace", "model", "version", "alias"};

int lode_name_check(enum lode_name_kind kind, const char *s, size_t len, struct lode_err *err)
{
    const char *what = kind_names[kind];
    if (len == 0)
        return lode_err_set(err, LODE_INVALID, "the %s name is empty", what);
    if (len > LODE_NAME_MAX)
        return lode_err_set(err, LODE_INVALID,
                            "%s name %s is %zu bytes long; at most %d are allowed", what,
                            lode_qn(s, len), len, LODE_NAME_MAX);
    if (!lode_name_ok(s, len))
        return lode_err_set(
            err, LODE_INVALID,
            "%s name %s is not allowed: it must start with a letter or digit and hold only "
            "letters, digits, '.', '_' and '-'",
            what, lode_qn(s, len));
    if (kind < LODE_NAME_VERSION)
        return 0;
    if (lode_name_is_seq(s, len))
        return lode_err_set(
            err, LODE_INVALID,
            "%s name %s is not allowed: digits alone mean a version's number; try 'v%.*s'", what,
            lode_qn(s, len), (int)len, s);
    if (len == 6 && memcmp(s, "latest", 6) == 0)
        return lode_err_set(err, LODE_INVALID,
                            "%s name 'latest' is not allowed: it always means the newest "
                            "version",
                            what);
    return 0;
}

/* Bytes of the UTF-8 sequence at s, 0 when it is not a valid one (RFC 3629, table 3-7 of Unicode).
 */
static size_t utf8_sequence(const unsigned char *s, size_t len)
{
    unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    size_t need = c >= 0xC2 && c <= 0xDF   ? 2
                  : (c & 0xF0) == 0xE0     ? 3
                  : c >= 0xF0 && c <= 0xF4 ? 4
                                           : 0;
    if (need == 0 || len < need)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    }
    if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F) || (c == 0xF0 && s[1] < 0x90) ||
        (c == 0xF4 && s[1] > 0x8F))
        return 0;
    return need;
}

size_t lode_utf8_valid(const char *s, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t n = utf8_sequence((const unsigned char *)s + at, len - at);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

/* C0, DEL, and C1 (which UTF-8 writes as C2 80..9F). */
static bool has_control(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || (c == 0x7F && !LODE_PLANTED(control_del)))
            return true;
        if (c == 0xC2 && i + 1 < len && (unsigned char)s[i + 1] >= 0x80 &&
            (unsigned char)s[i + 1] < 0xA0)
            return true;
    }
    return false;
}

static const char *part_fault(const char *part, size_t len)
{
    if (len == 0)
        return "a part of it is empty";
    if (len > LODE_PATH_PART_MAX)
        return "a part of it is longer than 255 bytes";
    if (LODE_PLANTED(path_dots))
        return NULL;
    if ((len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.'))
        return "'.' and '..' are not allowed in it";
    return NULL;
}

static int path_check(const char *what, const char *s, size_t len, size_t max_parts,
                      struct lode_err *err)
{
    const char *fault = NULL;
    size_t parts = 0;
    if (len > LODE_PATH_MAX)
        fault = "it is longer than 4096 bytes";
    else if (lode_utf8_valid(s, len) != len)
        fault = "it is not valid UTF-8";
    else if (has_control(s, len))
        fault = "it holds a control character";
    for (size_t at = 0; !fault; parts++) {
        const char *slash = memchr(s + at, '/', len - at);
        size_t n = slash ? (size_t)(slash - s) - at : len - at;
        fault = part_fault(s + at, n);
        if (!slash)
            break;
        at += n + 1;
    }
    if (!fault && parts + 1 > max_parts)
        fault = "it has too many parts";
    return fault ? lode_err_set(err, LODE_INVALID, "%s %s is not allowed: %s", what,
                                lode_qn(s, len), fault)
                 : 0;
}

int lode_path_check(const char *s, size_t len, struct lode_err *err)
{
    int r = path_check("file path", s, len, LODE_PATH_PARTS_MAX, err);
    if (r < 0)
        return r;
    if (len >= 5 && memcmp(s, "_lode", 5) == 0 && (len == 5 || s[5] == '/'))
        return lode_err_set(err, LODE_INVALID,
                            "file path %s is not allowed: '_lode' is Lode's own folder",
                            lode_qn(s, len));
    return 0;
}

int lode_key_check(const char *s, size_t len, bool allow_empty, struct lode_err *err)
{
    if (len == 0 && allow_empty)
        return 0;
    return path_check("key", s, len, LODE_PATH_PARTS_MAX + 8, err);
}

char *lode_quote(const char *s, size_t len, char *out, size_t room)
{
    size_t used = 0, at = 0;
    out[used++] = '\'';
    while (at < len && used + 12 < room) {
        size_t n = utf8_sequence((const unsigned char *)s + at, len - at);
        if (n == 0 || has_control(s + at, n)) {
            used += (size_t)snprintf(out + used, room - used, "\\x%02x", (unsigned char)s[at]);
            at++;
            continue;
        }
        memcpy(out + used, s + at, n);
        used += n;
        at += n;
    }
    snprintf(out + used, room - used, at < len ? "...'" : "'");
    return out;
}

bool lode_looks_like_path(const char *s)
{
    return s[0] == '/' || s[0] == '~' || strcmp(s, ".") == 0 || strcmp(s, "..") == 0 ||
           strncmp(s, "./", 2) == 0 || strncmp(s, "../", 3) == 0;
}
