/* The system calls, clock and random source that Lode uses, in one replaceable table.
 *
 * Everything fallible that a fault test must reach is called as lode_sys->call(...). Production
 * code never changes the pointer; tests do, before any thread starts (tests/support/fault_sys.h).
 * This table and the logger's sink are the only globals of the library. The members have the
 * meaning, the errno and the signatures of the calls they are named after.
 */
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct lode_sys {
    /* Opens `path` below dirfd; never leaves it and follows no symbolic link when `beneath`
     * (openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, a checked walk where the kernel lacks
     * it). */
    int (*open_beneath)(int dirfd, const char *path, int flags, mode_t mode);
    int (*openat)(int dirfd, const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *buf, size_t n);
    ssize_t (*write)(int fd, const void *buf, size_t n);
    ssize_t (*pread)(int fd, void *buf, size_t n, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buf, size_t n, off_t offset);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*sync_file_range)(int fd, off_t offset, off_t n, unsigned flags);
    int (*ftruncate)(int fd, off_t len);
    int (*fallocate)(int fd, int mode, off_t offset, off_t len);
    int (*fstat)(int fd, struct stat *st);
    int (*fstatat)(int dirfd, const char *path, struct stat *st, int flags);
    int (*fstatvfs)(int fd, struct statvfs *st);
    int (*fstatfs)(int fd, struct statfs *st);
    int (*mkdirat)(int dirfd, const char *path, mode_t mode);
    int (*unlinkat)(int dirfd, const char *path, int flags);
    int (*linkat)(int from_dir, const char *from, int to_dir, const char *to, int flags);
    int (*renameat2)(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
    ssize_t (*readlinkat)(int dirfd, const char *path, char *buf, size_t n);
    int (*fchmod)(int fd, mode_t mode);
    int (*futimens)(int fd, const struct timespec times[2]);
    ssize_t (*copy_file_range)(int in, off_t *in_off, int out, off_t *out_off, size_t n,
                               unsigned flags);
    void *(*mmap)(void *addr, size_t n, int prot, int flags, int fd, off_t offset);
    int (*munmap)(void *addr, size_t n);
    int (*flock)(int fd, int op);
    int (*ofd_lock)(int fd, int cmd, struct flock *lock); /* fcntl(F_OFD_*, F_SETLK ...) */
    DIR *(*fdopendir)(int fd);
    struct dirent *(*readdir)(DIR *dir);
    int (*closedir)(DIR *dir);
    int (*clock_gettime)(clockid_t clock, struct timespec *ts);
    int (*nanosleep)(const struct timespec *ts);
    ssize_t (*getrandom)(void *buf, size_t n);
    /* The last word on what a ring request did: `result` as the kernel gave it (bytes or -errno);
     * the identity. */
    int (*ring_result)(bool is_write, int fd, int result);
    void *(*malloc)(size_t n);
    void *(*realloc)(void *p, size_t n);
    void *(*memalign)(size_t alignment, size_t n);
    void (*free)(void *p);
};

extern const struct lode_sys *lode_sys;     /* what is called */
extern const struct lode_sys lode_sys_real; /* the kernel's and libc's own */

/* Loops over EINTR and short transfers; 0 bytes before n is an error of pread_full (errno ENODATA).
 * All answer 0, or -1 with errno. */
int lode_pread_full(int fd, void *buf, size_t n, uint64_t offset);
int lode_pwrite_full(int fd, const void *buf, size_t n, uint64_t offset);
int lode_write_full(int fd, const void *buf, size_t n);

/* Reads a whole small file below dirfd into owned, NUL-terminated memory; errno EFBIG above max.
 * NULL on failure. */
char *lode_read_file(int dirfd, const char *path, size_t max, size_t *len);

static inline void lode_closep(int *fd)
{
    if (*fd >= 0)
        lode_sys->close(*fd);
}
#define _cleanup_close_ __attribute__((cleanup(lode_closep)))
#define lode_steal_fd(var)                                                                         \
    ({                                                                                             \
        int lode_fd_ = (var);                                                                      \
        (var) = -1;                                                                                \
        lode_fd_;                                                                                  \
    })
