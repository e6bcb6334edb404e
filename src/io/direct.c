/* Direct I/O: see io/direct.h. */
#include "io/direct.h"
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/sys.h"

#define SYS_CACHESTAT 451 /* Linux 6.5; the same number everywhere */

struct cache_range {
    uint64_t offset, len;
};
struct cache_stat {
    uint64_t cached, dirty, writeback, evicted, recently_evicted; /* pages */
};

int lode_direct_open(int fd, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return lode_sys->openat(AT_FDCWD, path, flags | O_DIRECT, 0);
}

/* How much of a transfer direct I/O takes. */
static size_t direct_part(int direct, const void *buf, size_t n, uint64_t offset)
{
    bool aligned = (uintptr_t)buf % LODE_DIRECT_ALIGN == 0 && offset % LODE_DIRECT_ALIGN == 0;
    return direct >= 0 && aligned ? n - n % LODE_DIRECT_ALIGN : 0;
}

int lode_direct_pread(int direct, int fd, void *buf, size_t n, uint64_t offset)
{
    size_t first = direct_part(direct, buf, n, offset);
    if (first && lode_pread_full(direct, buf, first, offset) < 0) {
        if (errno != EINVAL)
            return -1;
        first = 0;
    }
    return first == n ? 0 : lode_pread_full(fd, (char *)buf + first, n - first, offset + first);
}

int lode_direct_pwrite(int direct, int fd, const void *buf, size_t n, uint64_t offset)
{
    size_t first = direct_part(direct, buf, n, offset);
    if (first && lode_pwrite_full(direct, buf, first, offset) < 0) {
        if (errno != EINVAL)
            return -1;
        first = 0;
    }
    if (first == n)
        return 0;
    if (lode_pwrite_full(fd, (const char *)buf + first, n - first, offset + first) < 0)
        return -1;
    lode_sys->sync_file_range(fd, (off_t)(offset + first), (off_t)(n - first),
                              SYNC_FILE_RANGE_WRITE); /* a hint */
    return 0;
}

bool lode_direct_resident(int fd, uint64_t size)
{
    struct cache_range all = {0, 0}; /* to the end */
    struct cache_stat stat;
    if (syscall(SYS_CACHESTAT, fd, &all, &stat, 0) < 0)
        return true;
    return stat.cached * (uint64_t)sysconf(_SC_PAGESIZE) >= size / 2;
}
