/* Files beneath a directory: see registry/beneath.h. */
#include "registry/beneath.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY)

const char *lode_beneath_leaf(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int enter_or_make(int at, const char *part)
{
    for (int tries = 0;; tries++) {
        int fd = lode_sys->open_beneath(at, part, DIR_FLAGS, 0);
        if (fd >= 0 || errno != ENOENT || tries == 3)
            return fd;
        if (lode_sys->mkdirat(at, part, 0777) < 0 && errno != EEXIST)
            return -1;
    }
}

int lode_beneath_parent(int dir, const char *path, const char *shown, int *parent,
                        struct lode_err *err)
{
    _cleanup_free_ char *copy = lode_strdup(path);
    _cleanup_close_ int at = lode_sys->open_beneath(dir, "", DIR_FLAGS, 0);
    if (!copy)
        return lode_err_nomem(err, "a path");
    if (at < 0)
        return lode_err_sys(err, "cannot open %s", lode_q(shown));
    char *part = copy;
    for (char *slash; (slash = strchr(part, '/')); part = slash + 1) {
        *slash = 0;
        int next = enter_or_make(at, part);
        if (next < 0 && errno == ELOOP)
            return lode_err_set(err, LODE_DENIED, "%s in %s is a symbolic link; it is not followed",
                                lode_q(copy), lode_q(shown));
        if (next < 0)
            return lode_err_sys(err, "cannot make the directory %s in %s", lode_q(copy),
                                lode_q(shown));
        lode_sys->close(at);
        at = next;
        *slash = '/';
    }
    *parent = lode_steal_fd(at);
    return 0;
}

int lode_beneath_sync(int dir, const char *path, const char *shown, struct lode_err *err)
{
    _cleanup_free_ char *copy = lode_strdup(path);
    if (!copy)
        return lode_err_nomem(err, "a path");
    for (bool more = true; more;) {
        char *slash = strrchr(copy, '/');
        more = slash != NULL;
        *(slash ? slash : copy) = 0;
        _cleanup_close_ int fd = lode_sys->open_beneath(dir, copy, DIR_FLAGS, 0);
        if (fd < 0 || lode_sys->fsync(fd) < 0)
            return lode_err_sys(err, "cannot flush the directory %s in %s", lode_q(copy),
                                lode_q(shown));
    }
    return 0;
}
