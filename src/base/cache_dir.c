/* The cache directory: see base/cache_dir.h. The environment is read at call time. */
#include "base/cache_dir.h"
#include <errno.h>
#include <string.h>
#include "base/mem.h"
#include "base/sys.h"

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* mkdir -p; true when the directory is there. */
static bool make_path(char *path)
{
    for (char *at = strchr(path + 1, '/');; at = strchr(at + 1, '/')) {
        if (at)
            *at = 0;
        bool made = lode_sys->mkdirat(AT_FDCWD, path, 0700) == 0 || errno == EEXIST;
        if (at)
            *at = '/';
        if (!made || !at)
            return made;
    }
}

static char *place(const char *name)
{
    const char *cache = env("LODE_CACHE"), *xdg = env("XDG_CACHE_HOME"), *home = env("HOME");
    if (cache)
        return lode_asprintf("%s/%s", cache, name);
    if (xdg && xdg[0] == '/')
        return lode_asprintf("%s/lode/%s", xdg, name);
    return home && home[0] == '/' ? lode_asprintf("%s/.cache/lode/%s", home, name) : NULL;
}

char *lode_cache_dir(const char *name, bool make)
{
    char *path = place(name);
    if (path && make && !make_path(path)) {
        lode_free(path);
        return NULL;
    }
    return path;
}
