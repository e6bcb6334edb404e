/* Directories of a user: see registry/dirs.h. */
#include "registry/dirs.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int home_under(const char *rest, char **out, struct lode_err *err)
{
    const char *home = env("HOME");
    if (!home || home[0] != '/')
        return lode_err_set(err, LODE_INVALID,
                            "HOME is not set: set LODE_HOME, or name a root with --url");
    char *path = lode_asprintf("%s/%s", home, rest);
    if (!path)
        return lode_err_nomem(err, "a path");
    *out = path;
    return 0;
}

int lode_dir_home(char **out, struct lode_err *err)
{
    const char *home = env("LODE_HOME");
    return home ? lode_dir_absolute(home, out, err) : home_under(".lode", out, err);
}

int lode_dir_config(char **out, struct lode_err *err)
{
    const char *config = env("LODE_CONFIG"), *xdg = env("XDG_CONFIG_HOME");
    if (config)
        return lode_dir_absolute(config, out, err);
    if (!xdg || xdg[0] != '/')
        return home_under(".config/lode/config.json", out, err);
    *out = lode_asprintf("%s/lode/config.json", xdg);
    return *out ? 0 : lode_err_nomem(err, "a path");
}

/* Decodes %XX of a file: URL in place; false where it is malformed or hides a NUL. */
static bool decode(char *s)
{
    char *to = s;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '%') {
            if (!lode_unhex(s + 1, strnlen(s + 1, 2), &c, 1) || c == 0)
                return false;
            s += 2;
        }
        *to++ = (char)c;
    }
    *to = 0;
    return true;
}

static int of_file_url(const char *url, char **out, struct lode_err *err)
{
    const char *path = url + 5;
    if (strncmp(path, "//localhost/", 12) == 0)
        path += 11;
    else if (strncmp(path, "///", 3) == 0)
        path += 2;
    _cleanup_free_ char *copy = lode_strdup(path);
    if (!copy)
        return lode_err_nomem(err, "a path");
    if (path[0] != '/' || path[1] == '/' || !decode(copy))
        return lode_err_set(err, LODE_INVALID,
                            "%s names no directory; write file:///srv/lode or /srv/lode",
                            lode_q(url));
    *out = lode_steal(copy);
    return 0;
}

int lode_dir_absolute(const char *path, char **out, struct lode_err *err)
{
    char here[LODE_PATH_MAX];
    const char *from = "";
    if (strncmp(path, "file:", 5) == 0)
        return of_file_url(path, out, err);
    if (!*path)
        return lode_err_set(err, LODE_INVALID, "the path is empty");
    if (path[0] == '~' && (path[1] == 0 || path[1] == '/')) {
        if (!(from = env("HOME")))
            return lode_err_set(err, LODE_INVALID, "HOME is not set, so %s means nothing",
                                lode_q(path));
        path++;
    } else if (path[0] != '/') {
        if (!getcwd(here, sizeof here))
            return lode_err_sys(err, "cannot tell the current directory");
        from = here;
        while (strncmp(path, "./", 2) == 0)
            path += 2;
    }
    char *full = lode_asprintf("%s%s%s", from, *from && *path && *path != '/' ? "/" : "",
                               strcmp(path, ".") ? path : "");
    if (!full)
        return lode_err_nomem(err, "a path");
    for (size_t n = strlen(full); n > 1 && full[n - 1] == '/'; n--)
        full[n - 1] = 0;
    *out = full;
    return 0;
}

static int make_one(const char *path, unsigned mode, struct lode_err *err)
{
    struct stat st;
    if (lode_sys->mkdirat(AT_FDCWD, path, mode) == 0)
        return 0;
    int saved = errno;
    if (lode_sys->fstatat(AT_FDCWD, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return 0;
    errno = saved == EEXIST ? ENOTDIR : saved;
    return lode_err_sys(err, "cannot make the directory %s", lode_q(path));
}

int lode_dir_make_above(const char *path, unsigned mode, struct lode_err *err)
{
    _cleanup_free_ char *part = lode_strdup(path);
    if (!part)
        return lode_err_nomem(err, "a path");
    for (char *slash = strchr(part + (*part == '/'), '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int r = *part ? make_one(part, mode, err) : 0;
        if (r < 0)
            return r;
        *slash = '/';
    }
    return 0;
}

int lode_dir_make(const char *path, unsigned mode, struct lode_err *err)
{
    struct stat st;
    if (lode_sys->fstatat(AT_FDCWD, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return 0;
    int r = lode_dir_make_above(path, mode, err);
    return r < 0 ? r : make_one(path, mode, err);
}
