/* A pretended world: see tests/support/world.h. */
#include "support/world.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/sys.h"

static struct lode_sys table;
static char machine[64], boot[64];
static bool has_machine, has_boot;
static _Atomic int64_t offsets[16]; /* ms, of each clock */
static uint32_t magic;

static int text_file(const char *text)
{
    int fd = memfd_create("world", MFD_CLOEXEC);
    if (fd >= 0 && dprintf(fd, "%s\n", text) > 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

static int world_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    if (has_machine && strcmp(path, "/etc/machine-id") == 0)
        return text_file(machine);
    if (has_boot && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
        return text_file(boot);
    return lode_sys_real.openat(dirfd, path, flags, mode);
}

static int world_clock(clockid_t clock, struct timespec *ts)
{
    int r = lode_sys_real.clock_gettime(clock, ts);
    int64_t ms = clock >= 0 && clock < 16 ? offsets[clock] : 0;
    ts->tv_sec += ms / 1000;
    ts->tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts->tv_nsec < 0) {
        ts->tv_nsec += 1000000000;
        ts->tv_sec--;
    } else if (ts->tv_nsec >= 1000000000) {
        ts->tv_nsec -= 1000000000;
        ts->tv_sec++;
    }
    return r;
}

static int world_fstatfs(int fd, struct statfs *fs)
{
    int r = lode_sys_real.fstatfs(fd, fs);
    if (r == 0 && magic)
        fs->f_type = (__typeof__(fs->f_type))magic;
    return r;
}

void world_install(void)
{
    table = lode_sys_real;
    table.openat = world_openat;
    table.clock_gettime = world_clock;
    table.fstatfs = world_fstatfs;
    lode_sys = &table;
}

void world_uninstall(void)
{
    lode_sys = &lode_sys_real;
    world_machine(NULL);
    world_boot(NULL);
    world_file_system(0);
    for (int i = 0; i < 16; i++)
        offsets[i] = 0;
}

void world_machine(const char *id)
{
    has_machine = id != NULL;
    snprintf(machine, sizeof machine, "%s", id ? id : "");
}

void world_boot(const char *id)
{
    has_boot = id != NULL;
    snprintf(boot, sizeof boot, "%s", id ? id : "");
}

void world_move_clock(clockid_t clock, int64_t ms)
{
    offsets[clock] += ms;
}

void world_file_system(uint32_t m)
{
    magic = m;
}
