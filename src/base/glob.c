/* Globs: see base/glob.h. The matcher goes on greedily and keeps two places to return to: behind
 * the last '*' and behind the last '**'. A star that already let everything before it match never
 * has to be tried again. */
#include "base/glob.h"
#include <string.h>

/* Length of the pattern's next single-byte element at p if it takes byte c, else 0. */
static size_t take_set(const char *p, unsigned char c)
{
    const char *at = p + 1;
    bool negate = *at == '!' || *at == '^', found = false;
    at += negate;
    for (bool first = true; *at && (first || *at != ']'); first = false) {
        unsigned char low = (unsigned char)*at++, high = low;
        if (at[0] == '-' && at[1] && at[1] != ']') {
            high = (unsigned char)at[1];
            at += 2;
        }
        found |= low <= c && c <= high;
    }
    if (*at != ']')
        return c == '[' ? 1 : 0;
    return found != negate ? (size_t)(at + 1 - p) : 0;
}

static size_t take(const char *p, char c, bool path)
{
    if (*p == '?')
        return !(path && c == '/');
    if (*p == '[' && path && c == '/')
        return 0;
    if (*p == '[')
        return take_set(p, (unsigned char)c);
    if (*p == '\\' && p[1])
        return p[1] == c ? 2 : 0;
    return *p == c;
}

struct back {
    const char *p, *s; /* pattern behind the star, next text that the star may take too */
};

/* A star at p: remembers where to return to and answers the pattern behind it. */
static const char *star(const char *p, const char *s, bool path, struct back *one,
                        struct back *many)
{
    if (!path || p[1] == '*') {
        while (*p == '*')
            p++;
        if (path && *p == '/')
            p++;
        *many = (struct back){p, s};
        *one = (struct back){NULL, NULL};
        return p;
    }
    *one = (struct back){p + 1, s};
    return p + 1;
}

/* "**" followed by a slash takes whole parts only: its text goes on behind a slash. */
static bool widen(struct back *many, bool path)
{
    bool parts = path && many->p[-1] == '/';
    if (!*many->s)
        return false;
    if (!parts) {
        many->s++;
        return true;
    }
    const char *slash = strchr(many->s, '/');
    if (!slash)
        return false;
    many->s = slash + 1;
    return true;
}

bool lode_glob_match(const char *p, const char *s, bool path)
{
    struct back one = {NULL, NULL}, many = {NULL, NULL};
    for (;;) {
        size_t n;
        if (*p == '*') {
            p = star(p, s, path, &one, &many);
            continue;
        }
        if (!*p && !*s)
            return true;
        if (*p && *s && (n = take(p, *s, path)) > 0) {
            p += n;
            s++;
        } else if (one.p && *one.s && *one.s != '/') {
            p = one.p;
            s = ++one.s;
        } else if (many.p && widen(&many, path)) {
            p = many.p;
            s = many.s;
            one = (struct back){NULL, NULL};
        } else {
            return false;
        }
    }
}

bool lode_glob_any(const char *const *patterns, size_t n, const char *s, bool path, bool none)
{
    for (size_t i = 0; i < n; i++) {
        if (lode_glob_match(patterns[i], s, path))
            return true;
    }
    return n == 0 && none;
}
