/* The real system calls: see base/sys.h. */
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/mem.h"

/* One step of the walk: opens `part` below `at` and nothing else; ".." is refused, a symbolic link
 * too. */
static int open_part(int at, const char *part, size_t n, int flags, mode_t mode)
{
    char name[256];
    if (n >= sizeof name || (n == 2 && memcmp(part, "..", 2) == 0)) {
        errno = n >= sizeof name ? ENAMETOOLONG : EXDEV;
        return -1;
    }
    memcpy(name, part, n);
    name[n] = 0;
    return openat(at, n ? name : ".", flags | O_NOFOLLOW | O_CLOEXEC, mode);
}

/* For kernels and sandboxes without openat2: the same answers, part by part. */
static int open_walk(int dirfd, const char *path, int flags, mode_t mode)
{
    int at = dirfd, next = -1;
    bool last = false;
    if (*path == '/') {
        errno = EXDEV;
        return -1;
    }
    while (!last) {
        size_t n = strcspn(path, "/");
        last = path[n] == 0;
        next = last ? open_part(at, path, n, flags, mode)
                    : open_part(at, path, n, O_PATH | O_DIRECTORY, 0);
        int saved = errno;
        if (at != dirfd)
            close(at);
        errno = saved;
        if (next < 0)
            return -1;
        at = next;
        path += n + !last;
    }
    return next;
}

static int real_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
        .mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    int fd;
    do {
        fd = (int)syscall(SYS_openat2, dirfd, *path ? path : ".", &how, sizeof how);
    } while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return open_walk(dirfd, path, flags, mode);
    return fd;
}

static int real_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    return openat(dirfd, path, flags | O_CLOEXEC, mode);
}

static int real_fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
    return fstatat(dirfd, path, st, flags);
}

static int real_ofd_lock(int fd, int cmd, struct flock *lock)
{
    return fcntl(fd, cmd, lock);
}

static int real_nanosleep(const struct timespec *ts)
{
    return nanosleep(ts, NULL);
}

static ssize_t real_getrandom(void *buf, size_t n)
{
    return getrandom(buf, n, 0);
}

static int real_ring_result(bool is_write, int fd, int result)
{
    return result;
}

const struct lode_sys lode_sys_real = {
    .open_beneath = real_open_beneath,
    .openat = real_openat,
    .close = close,
    .read = read,
    .write = write,
    .pread = pread,
    .pwrite = pwrite,
    .fsync = fsync,
    .fdatasync = fdatasync,
    .sync_file_range = sync_file_range,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .fstat = fstat,
    .fstatat = real_fstatat,
    .fstatvfs = fstatvfs,
    .fstatfs = fstatfs,
    .mkdirat = mkdirat,
    .unlinkat = unlinkat,
    .linkat = linkat,
    .renameat2 = renameat2,
    .readlinkat = readlinkat,
    .fchmod = fchmod,
    .futimens = futimens,
    .copy_file_range = copy_file_range,
    .mmap = mmap,
    .munmap = munmap,
    .flock = flock,
    .ofd_lock = real_ofd_lock,
    .fdopendir = fdopendir,
    .readdir = readdir,
    .closedir = closedir,
    .clock_gettime = clock_gettime,
    .nanosleep = real_nanosleep,
    .getrandom = real_getrandom,
    .ring_result = real_ring_result,
    .malloc = malloc,
    .realloc = realloc,
    .memalign = aligned_alloc,
    .free = free,
};

const struct lode_sys *lode_sys = &lode_sys_real;

int lode_pread_full(int fd, void *buf, size_t n, uint64_t offset)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = lode_sys->pread(fd, (char *)buf + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0) {
            errno = ENODATA;
            return -1;
        }
        done += (size_t)got;
    }
    return 0;
}

int lode_pwrite_full(int fd, const void *buf, size_t n, uint64_t offset)
{
    for (size_t done = 0; done < n;) {
        ssize_t put =
            lode_sys->pwrite(fd, (const char *)buf + done, n - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put == 0 ? ENOSPC : errno;
            return -1;
        }
        done += (size_t)put;
    }
    return 0;
}

int lode_write_full(int fd, const void *buf, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = lode_sys->write(fd, (const char *)buf + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put == 0 ? ENOSPC : errno;
            return -1;
        }
        done += (size_t)put;
    }
    return 0;
}

static char *read_open_file(int fd, size_t max, size_t *len)
{
    size_t cap = 4096, used = 0;
    char *data = lode_alloc(cap + 1);
    while (data) {
        ssize_t got = lode_sys->read(fd, data + used, cap - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || used + (size_t)got > max) {
            errno = got < 0 ? errno : EFBIG;
            break;
        }
        used += (size_t)got;
        if (got == 0) {
            data[used] = 0;
            *len = used;
            return data;
        }
        if (used < cap)
            continue;
        char *more = lode_realloc(data, cap * 2 + 1);
        if (!more) {
            errno = ENOMEM;
            break;
        }
        data = more;
        cap *= 2;
    }
    int saved = data ? errno : ENOMEM;
    lode_free(data);
    errno = saved;
    return NULL;
}

char *lode_read_file(int dirfd, const char *path, size_t max, size_t *len)
{
    int fd = lode_sys->openat(dirfd, path, O_RDONLY, 0);
    if (fd < 0)
        return NULL;
    char *data = read_open_file(fd, max, len);
    int saved = errno;
    lode_sys->close(fd);
    errno = saved;
    return data;
}
