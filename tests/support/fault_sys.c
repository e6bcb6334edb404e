/* The failing syscall table: see fault_sys.h. The power cut lives in fault_track.c. */
#include "support/fault_sys.h"
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "support/fault_track.h"

static const char *const kind_names[FAULT_KINDS] = {
    "open",  "read",   "write",   "sync",   "truncate", "fallocate",     "stat",
    "mkdir", "unlink", "link",    "rename", "readlink", "attr",          "copy",
    "mmap",  "lock",   "readdir", "random", "malloc",   "sqlite_malloc",
};

/* All under `mutex`; a sleep is never taken under it. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t counts[FAULT_KINDS];
static struct {
    bool on;
    enum fault_kind kind;
    uint64_t at; /* value of the counter that is hit */
    int error, flags;
    char below[4096];
} armed;
static uint64_t fired;
static int sync_ms, read_ms;
static atomic_long ahead_s; /* of the wall and boot clocks */
static bool pretend_syncs;  /* set before threads start */
static bool recording;
static struct fault_event events[FAULT_EVENTS_MAX];
static size_t n_events;

/* What to do with one call. */
struct verdict {
    enum fault_kind kind;
    int error; /* 0: pass; FAULT_SHORT; else the errno */
    bool after;
};

static void path_of(int fd, const char *name, char *out, size_t room)
{
    char link[64];
    if (name && name[0] == '/') {
        snprintf(out, room, "%s", name);
        return;
    }
    if (fd == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, room - 1);
    out[n < 0 ? 0 : n] = 0;
    if (name)
        snprintf(out + strlen(out), room - strlen(out), "/%s", name);
}

static bool is_below(const char *dir, int fd, const char *name)
{
    char path[8192];
    size_t n = strlen(dir);
    path_of(fd, name, path, sizeof path);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == 0 || path[n] == ' ');
}

static void show_where(enum fault_kind kind, uint64_t n)
{
    if (!getenv("LODE_FAULT_TRACE"))
        return;
    void *frames[32];
    fprintf(stderr, "fault: %s %llu fails at\n", kind_names[kind], (unsigned long long)n);
    backtrace_symbols_fd(frames, backtrace(frames, 32), 2);
}

/* Counts a call and decides. fd -1 with no name: a call without a place. */
static struct verdict judge(enum fault_kind kind, int fd, const char *name)
{
    struct verdict v = {.kind = kind};
    pthread_mutex_lock(&mutex);
    uint64_t n = ++counts[kind];
    bool hit = armed.on && armed.kind == kind &&
               (armed.flags & FAULT_STICKY ? n >= armed.at : n == armed.at);
    if (hit && armed.below[0])
        hit = is_below(armed.below, fd, name);
    if (hit) {
        fired++;
        v.error = armed.error;
        v.after = armed.flags & FAULT_AFTER;
    }
    int ms = kind == FAULT_SYNC ? sync_ms : kind == FAULT_READ ? read_ms : 0;
    pthread_mutex_unlock(&mutex);
    if (ms)
        usleep((useconds_t)ms * 1000);
    if (hit)
        show_where(kind, n);
    return v;
}

/* True when the call must not be made. */
static bool blocked(struct verdict v)
{
    if (v.error <= 0 || v.after)
        return false;
    errno = v.error;
    return true;
}

static void record(enum fault_kind kind, int fd, const char *name, int result)
{
    int saved = errno;
    pthread_mutex_lock(&mutex);
    if (recording && n_events < FAULT_EVENTS_MAX) {
        struct fault_event *e = &events[n_events++];
        e->kind = kind;
        e->result = result < 0 ? saved : 0;
        path_of(fd, name, e->path, sizeof e->path);
    }
    pthread_mutex_unlock(&mutex);
    errno = saved;
}

/* The answer of a call that was made: denied if so ordered. */
static int answer(struct verdict v, int fd, const char *name, int result)
{
    if (result == 0 && v.after && v.error > 0) {
        errno = v.error;
        result = -1;
    }
    record(v.kind, fd, name, result);
    return result;
}

static size_t shorten(struct verdict v, size_t n)
{
    return v.error == FAULT_SHORT && n > 1 ? n / 2 : n;
}

#define PLAIN(kind, fd, name, call)                                                                \
    struct verdict v = judge(kind, fd, name);                                                      \
    return blocked(v) ? -1 : answer(v, fd, name, call)

#define MOVING(kind, fd, n, call)                                                                  \
    struct verdict v = judge(kind, fd, NULL);                                                      \
    if (blocked(v))                                                                                \
        return -1;                                                                                 \
    n = shorten(v, n);                                                                             \
    return call

static int f_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    struct verdict v = judge(FAULT_OPEN, dirfd, path);
    return blocked(v) ? -1 : lode_sys_real.open_beneath(dirfd, path, flags, mode);
}

static int f_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    struct verdict v = judge(FAULT_OPEN, dirfd, path);
    return blocked(v) ? -1 : lode_sys_real.openat(dirfd, path, flags, mode);
}

static ssize_t f_read(int fd, void *buf, size_t n)
{
    MOVING(FAULT_READ, fd, n, read(fd, buf, n));
}

static ssize_t f_pread(int fd, void *buf, size_t n, off_t offset)
{
    MOVING(FAULT_READ, fd, n, pread(fd, buf, n, offset));
}

static ssize_t f_write(int fd, const void *buf, size_t n)
{
    struct verdict v = judge(FAULT_WRITE, fd, NULL);
    ssize_t put = blocked(v) ? -1 : write(fd, buf, shorten(v, n));
    record(FAULT_WRITE, fd, NULL, put < 0 ? -1 : 0);
    return put;
}

static ssize_t f_pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    struct verdict v = judge(FAULT_WRITE, fd, NULL);
    ssize_t put = blocked(v) ? -1 : pwrite(fd, buf, shorten(v, n), offset);
    record(FAULT_WRITE, fd, NULL, put < 0 ? -1 : 0);
    return put;
}

/* What a sync made durable is noted before its success is told. */
static int tracked_sync(int fd, int result)
{
    if (result == 0)
        fault_track_synced(fd);
    return result;
}

/* A pretended sync still fails for what is no file. */
static int real_sync(int fd, int (*sync)(int))
{
    struct stat st;
    return pretend_syncs ? fstat(fd, &st) : sync(fd);
}

static int f_fsync(int fd)
{
    PLAIN(FAULT_SYNC, fd, NULL, tracked_sync(fd, real_sync(fd, fsync)));
}

static int f_fdatasync(int fd)
{
    PLAIN(FAULT_SYNC, fd, NULL, tracked_sync(fd, real_sync(fd, fdatasync)));
}

static int f_sync_file_range(int fd, off_t offset, off_t n, unsigned flags)
{
    PLAIN(FAULT_FALLOCATE, fd, NULL, sync_file_range(fd, offset, n, flags));
}

static int f_ftruncate(int fd, off_t len)
{
    PLAIN(FAULT_TRUNCATE, fd, NULL, ftruncate(fd, len));
}

static int f_fallocate(int fd, int mode, off_t offset, off_t len)
{
    PLAIN(FAULT_FALLOCATE, fd, NULL, fallocate(fd, mode, offset, len));
}

static int f_fstat(int fd, struct stat *st)
{
    struct verdict v = judge(FAULT_STAT, fd, NULL);
    return blocked(v) ? -1 : fstat(fd, st);
}

static int f_fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
    struct verdict v = judge(FAULT_STAT, dirfd, path);
    return blocked(v) ? -1 : fstatat(dirfd, path, st, flags);
}

static int f_fstatvfs(int fd, struct statvfs *st)
{
    struct verdict v = judge(FAULT_STAT, fd, NULL);
    return blocked(v) ? -1 : fstatvfs(fd, st);
}

static int f_mkdirat(int dirfd, const char *path, mode_t mode)
{
    PLAIN(FAULT_MKDIR, dirfd, path, mkdirat(dirfd, path, mode));
}

static int f_unlinkat(int dirfd, const char *path, int flags)
{
    PLAIN(FAULT_UNLINK, dirfd, path, unlinkat(dirfd, path, flags));
}

static int f_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    PLAIN(FAULT_LINK, to_dir, to, linkat(from_dir, from, to_dir, to, flags));
}

static int f_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    PLAIN(FAULT_RENAME, to_dir, to, renameat2(from_dir, from, to_dir, to, flags));
}

static ssize_t f_readlinkat(int dirfd, const char *path, char *buf, size_t n)
{
    struct verdict v = judge(FAULT_READLINK, dirfd, path);
    return blocked(v) ? -1 : readlinkat(dirfd, path, buf, n);
}

static int f_fchmod(int fd, mode_t mode)
{
    PLAIN(FAULT_ATTR, fd, NULL, fchmod(fd, mode));
}

static int f_futimens(int fd, const struct timespec times[2])
{
    PLAIN(FAULT_ATTR, fd, NULL, futimens(fd, times));
}

static ssize_t f_copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t n,
                                 unsigned flags)
{
    MOVING(FAULT_COPY, out, n, copy_file_range(in, in_off, out, out_off, n, flags));
}

static void *f_mmap(void *addr, size_t n, int prot, int flags, int fd, off_t offset)
{
    struct verdict v = judge(FAULT_MMAP, fd, NULL);
    return blocked(v) ? MAP_FAILED : mmap(addr, n, prot, flags, fd, offset);
}

static int f_flock(int fd, int op)
{
    struct verdict v = judge(FAULT_LOCK, fd, NULL);
    return blocked(v) ? -1 : lode_sys_real.flock(fd, op);
}

static int f_ofd_lock(int fd, int cmd, struct flock *lock)
{
    struct verdict v = judge(FAULT_LOCK, fd, NULL);
    return blocked(v) ? -1 : fcntl(fd, cmd, lock);
}

static DIR *f_fdopendir(int fd)
{
    struct verdict v = judge(FAULT_READDIR, fd, NULL);
    return blocked(v) ? NULL : fdopendir(fd);
}

static struct dirent *f_readdir(DIR *dir)
{
    struct verdict v = judge(FAULT_READDIR, dirfd(dir), NULL);
    return blocked(v) ? NULL : readdir(dir);
}

static int f_clock_gettime(clockid_t clock, struct timespec *ts)
{
    int r = clock_gettime(clock, ts);
    if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME))
        ts->tv_sec += atomic_load(&ahead_s);
    return r;
}

static ssize_t f_getrandom(void *buf, size_t n)
{
    MOVING(FAULT_RANDOM, -1, n, lode_sys_real.getrandom(buf, n));
}

static int f_ring_result(bool is_write, int fd, int result)
{
    struct verdict v = judge(is_write ? FAULT_WRITE : FAULT_READ, fd, NULL);
    if (v.error > 0)
        result = -v.error;
    else if (v.error == FAULT_SHORT && result > 1)
        result /= 2;
    if (is_write) {
        errno = result < 0 ? -result : 0;
        record(FAULT_WRITE, fd, NULL, result < 0 ? -1 : 0);
    }
    return result;
}

static void *f_malloc(size_t n)
{
    struct verdict v = judge(FAULT_MALLOC, -1, NULL);
    return blocked(v) ? NULL : malloc(n);
}

static void *f_realloc(void *p, size_t n)
{
    struct verdict v = judge(FAULT_MALLOC, -1, NULL);
    return blocked(v) ? NULL : realloc(p, n);
}

static void *f_memalign(size_t alignment, size_t n)
{
    struct verdict v = judge(FAULT_MALLOC, -1, NULL);
    return blocked(v) ? NULL : lode_sys_real.memalign(alignment, n);
}

static struct lode_sys table;

void fault_install(void)
{
    table = lode_sys_real;
    table.open_beneath = f_open_beneath;
    table.openat = f_openat;
    table.read = f_read;
    table.pread = f_pread;
    table.write = f_write;
    table.pwrite = f_pwrite;
    table.fsync = f_fsync;
    table.fdatasync = f_fdatasync;
    table.sync_file_range = f_sync_file_range;
    table.ftruncate = f_ftruncate;
    table.fallocate = f_fallocate;
    table.fstat = f_fstat;
    table.fstatat = f_fstatat;
    table.fstatvfs = f_fstatvfs;
    table.mkdirat = f_mkdirat;
    table.unlinkat = f_unlinkat;
    table.linkat = f_linkat;
    table.renameat2 = f_renameat2;
    table.readlinkat = f_readlinkat;
    table.fchmod = f_fchmod;
    table.futimens = f_futimens;
    table.copy_file_range = f_copy_file_range;
    table.mmap = f_mmap;
    table.flock = f_flock;
    table.ofd_lock = f_ofd_lock;
    table.fdopendir = f_fdopendir;
    table.readdir = f_readdir;
    table.clock_gettime = f_clock_gettime;
    table.getrandom = f_getrandom;
    table.ring_result = f_ring_result;
    table.malloc = f_malloc;
    table.realloc = f_realloc;
    table.memalign = f_memalign;
    fault_disarm();
    fault_zero();
    fault_slow_sync(0);
    fault_slow_read(0);
    fault_pretend_syncs(false);
    atomic_store(&ahead_s, 0);
    fault_record(false);
    lode_sys = &table;
}

void fault_uninstall(void)
{
    fault_track_end();
    lode_sys = &lode_sys_real;
}

void fault_fail(enum fault_kind kind, uint64_t nth, int error, int flags)
{
    pthread_mutex_lock(&mutex);
    armed.on = true;
    armed.kind = kind;
    armed.at = counts[kind] + nth;
    armed.error = error;
    armed.flags = flags;
    armed.below[0] = 0;
    fired = 0;
    pthread_mutex_unlock(&mutex);
}

void fault_only_below(const char *dir)
{
    pthread_mutex_lock(&mutex);
    snprintf(armed.below, sizeof armed.below, "%s", dir ? dir : "");
    pthread_mutex_unlock(&mutex);
}

void fault_disarm(void)
{
    pthread_mutex_lock(&mutex);
    armed.on = false;
    pthread_mutex_unlock(&mutex);
}

uint64_t fault_fired(void)
{
    pthread_mutex_lock(&mutex);
    uint64_t n = fired;
    pthread_mutex_unlock(&mutex);
    return n;
}

uint64_t fault_count(enum fault_kind kind)
{
    pthread_mutex_lock(&mutex);
    uint64_t n = counts[kind];
    pthread_mutex_unlock(&mutex);
    return n;
}

void fault_zero(void)
{
    pthread_mutex_lock(&mutex);
    memset(counts, 0, sizeof counts);
    pthread_mutex_unlock(&mutex);
}

const char *fault_kind_name(enum fault_kind kind)
{
    return kind_names[kind];
}

void fault_slow_sync(int ms)
{
    pthread_mutex_lock(&mutex);
    sync_ms = ms;
    pthread_mutex_unlock(&mutex);
}

void fault_slow_read(int ms)
{
    pthread_mutex_lock(&mutex);
    read_ms = ms;
    pthread_mutex_unlock(&mutex);
}

void fault_advance_clocks(long seconds)
{
    atomic_fetch_add(&ahead_s, seconds);
}

void fault_pretend_syncs(bool on)
{
    pretend_syncs = on;
}

void fault_record(bool on)
{
    pthread_mutex_lock(&mutex);
    recording = on;
    if (on)
        n_events = 0;
    pthread_mutex_unlock(&mutex);
}

const struct fault_event *fault_events(size_t *n)
{
    *n = n_events;
    return events;
}

int fault_open_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n - 3 - fault_track_fds(); /* ".", "..", the listing's own */
}

/* ---- SQLite's memory: a size in front of each block, for xSize ---- */

#define HEAD 16

static void *sq_malloc(int n)
{
    struct verdict v = judge(FAULT_SQLITE_MALLOC, -1, NULL);
    char *p = blocked(v) ? NULL : malloc((size_t)n + HEAD);
    if (!p)
        return NULL;
    *(int *)(void *)p = n;
    return p + HEAD;
}

static void sq_free(void *p)
{
    if (p)
        free((char *)p - HEAD);
}

static void *sq_realloc(void *p, int n)
{
    struct verdict v = judge(FAULT_SQLITE_MALLOC, -1, NULL);
    char *q = blocked(v) ? NULL : realloc((char *)p - HEAD, (size_t)n + HEAD);
    if (!q)
        return NULL;
    *(int *)(void *)q = n;
    return q + HEAD;
}

static int sq_size(void *p)
{
    return p ? *(int *)(void *)((char *)p - HEAD) : 0;
}

static int sq_round(int n)
{
    return (n + 7) & ~7;
}

static int sq_init(void *arg)
{
    return SQLITE_OK;
}

static void sq_shutdown(void *arg)
{
}

void fault_sqlite_malloc(void)
{
    static const sqlite3_mem_methods m = {sq_malloc, sq_free, sq_realloc,  sq_size,
                                          sq_round,  sq_init, sq_shutdown, NULL};
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &m) != SQLITE_OK) {
        fprintf(stderr, "fault_sqlite_malloc: SQLite is already in use\n");
        abort();
    }
}
