/* Where the database may lie: see coord/sqlite_impl.h.
 *
 * WAL needs memory shared by all users of the file, and locks that hold: one kernel. Network and
 * user-space file systems give neither, and corrupt silently; a disk moved to another machine, or
 * seen by two, is caught by the id of the machine that opened the database last. Processes in
 * different containers of one kernel share its boot id: they may share the file, whatever their
 * machine ids.
 */
#include <errno.h>
#include <string.h>
#include "base/fs.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/sys.h"
#include "coord/sqlite_impl.h"

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return lode_strdup(".");
    return slash == path ? lode_strdup("/") : lode_strndup(path, (size_t)(slash - path));
}

int lode_sq_check_file_system(const char *path, struct lode_err *err)
{
    struct statfs fs;
    _cleanup_free_ char *dir = dir_of(path);
    if (!dir)
        return lode_err_nomem(err, "a path");
    _cleanup_close_ int fd = lode_sys->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 && errno == ENOENT)
        return lode_err_sys(err, "there is no directory %s for the root's database", lode_q(dir));
    if (fd < 0 || lode_sys->fstatfs(fd, &fs) < 0)
        return lode_err_sys(err, "cannot look at the directory %s of the root's database",
                            lode_q(dir));
    const char *name = lode_fs_not_local((uint32_t)fs.f_type);
    if (!name || LODE_PLANTED(coord_any_file_system))
        return 0;
    return lode_err_set(
        err, LODE_UNSUPPORTED,
        "%s lies on %s, which several machines may share: SQLite would lose data there. Put the "
        "root on a "
        "local disk, run `lode serve` on the machine that has it, or keep the models there and the "
        "small facts elsewhere: --store file://... --coord sqlite:///local/dir/coord.db",
        lode_q(dir), name);
}

/* One line of a small file of the system; "" when it is not there. */
static int read_line(const char *path, char *out, size_t room, struct lode_err *err)
{
    size_t n = 0;
    _cleanup_free_ char *text = lode_read_file(AT_FDCWD, path, 4096, &n);
    if (!text && errno != ENOENT && errno != EACCES && errno != ENOTDIR)
        return lode_err_sys(err, "cannot read %s", path);
    n = text ? strcspn(text, "\n") : 0;
    n = lode_min(n, room - 1);
    memcpy(out, text ? text : "", n);
    out[n] = 0;
    return 0;
}

int lode_sq_read_machine(struct lode_sq_machine *out, struct lode_err *err)
{
    struct lode_sq_machine m = {0};
    int r = read_line("/etc/machine-id", m.machine, sizeof m.machine, err);
    if (r == 0)
        r = read_line("/proc/sys/kernel/random/boot_id", m.boot, sizeof m.boot, err);
    if (r == 0 && !*m.boot)
        r = lode_err_set(
            err, LODE_UNSUPPORTED,
            "the kernel's boot id cannot be read (/proc is not mounted?): leases need it");
    if (r == 0)
        *out = m;
    return r;
}

int lode_sq_check_machine(const struct lode_sq_machine *last, const struct lode_sq_machine *here,
                          const char *path, struct lode_err *err)
{
    bool known = *last->machine && *here->machine;
    if (!known || strcmp(last->machine, here->machine) == 0 ||
        strcmp(last->boot, here->boot) == 0 || LODE_PLANTED(coord_any_machine))
        return 0;
    return lode_err_set(
        err, LODE_DENIED,
        "%s was last opened by another machine (id %.8s..., this one is %.8s...): two machines at "
        "once would "
        "destroy it. If it was moved here for good, and nobody has it open there, run `lode doctor "
        "--take-over`",
        lode_q(path), last->machine, here->machine);
}
