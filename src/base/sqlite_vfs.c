/* SQLite over lode_sys: see base/sqlite_vfs.h.
 *
 * The lock bytes and the layout of the shared memory file are SQLite's (os_unix.c), for they are
 * its file format among processes. What os_unix.c keeps per process and inode falls away here: an
 * OFD lock belongs to one connection's descriptor, so two connections of one process exclude each
 * other by the kernel's own rules.
 *
 * Invariants
 *  1. A connection holds on its database exactly the locks that `lock` says.
 *  2. `shm` regions stay mapped at their address until xShmUnmap.
 *  3. Every call on one file comes under its connection's mutex: nothing here locks.
 */
#include "base/sqlite_vfs.h"
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/sys.h"

/* Lock bytes of a database file. */
#define PENDING_BYTE 0x40000000
#define RESERVED_BYTE (PENDING_BYTE + 1)
#define SHARED_FIRST (PENDING_BYTE + 2)
#define SHARED_SIZE 510

/* Lock bytes of a shared memory file: 8 locks, then the dead man's switch that every user holds
 * shared. */
#define SHM_BASE 120
#define SHM_DMS (SHM_BASE + SQLITE_SHM_NLOCK)

#define SECTOR_SIZE 4096
#define PATH_ROOM 4096
/* Descriptors 0-2 are never used for a database: a stray print would overwrite it. */
#define FIRST_SAFE_FD 3

struct shm {
    int fd;
    void **regions; /* owned array of mappings; several regions share one where pages are large */
    size_t n_regions, cap_regions;
    size_t region_size; /* bytes */
    size_t per_map;     /* regions of one mapping */
    char *path;         /* owned */
};

struct vfs_file {
    sqlite3_file base;
    int fd;
    int lock; /* SQLITE_LOCK_* held */
    int last_errno;
    bool sync_dir; /* newly made: the next sync includes the directory */
    bool poisoned; /* a sync failed */
    bool persist_wal;
    const char *path; /* SQLite keeps it until xClose */
    struct shm *shm;  /* NULL until the first xShmMap */
};

static struct vfs_file *file_of(sqlite3_file *f)
{
    return (struct vfs_file *)(void *)f;
}

static int fail(struct vfs_file *f, int code)
{
    f->last_errno = errno;
    return code;
}

/* ---- reading and writing ---- */

static int vfs_read(sqlite3_file *file, void *buf, int n, sqlite3_int64 offset)
{
    struct vfs_file *f = file_of(file);
    int done = 0;
    while (done < n) {
        ssize_t got =
            lode_sys->pread(f->fd, (char *)buf + done, (size_t)(n - done), (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(f, SQLITE_IOERR_READ);
        if (got == 0)
            break;
        done += (int)got;
    }
    if (done == n)
        return SQLITE_OK;
    memset((char *)buf + done, 0, (size_t)(n - done)); /* SQLite asks for this */
    return SQLITE_IOERR_SHORT_READ;
}

static bool is_full(int number)
{
    return number == ENOSPC || number == EDQUOT;
}

static int vfs_write(sqlite3_file *file, const void *buf, int n, sqlite3_int64 offset)
{
    struct vfs_file *f = file_of(file);
    if (f->poisoned)
        return SQLITE_IOERR_WRITE;
    if (lode_pwrite_full(f->fd, buf, (size_t)n, (uint64_t)offset) < 0)
        return fail(f, is_full(errno) ? SQLITE_FULL : SQLITE_IOERR_WRITE);
    return SQLITE_OK;
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct vfs_file *f = file_of(file);
    int r;
    if (f->poisoned)
        return SQLITE_IOERR_TRUNCATE;
    do {
        r = lode_sys->ftruncate(f->fd, (off_t)size);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? fail(f, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

/* Makes the names in the directory of `path` durable. */
static int sync_dir_of(const char *path)
{
    char dir[PATH_ROOM];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof dir) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(dir, path, n);
    dir[n] = 0;
    const char *name = n ? dir : slash ? "/" : ".";
    _cleanup_close_ int fd = lode_sys->openat(AT_FDCWD, name, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? -1 : lode_sys->fsync(fd);
}

static int sync_file(int fd)
{
    int r;
    do {
        r = lode_sys->fdatasync(fd); /* sizes are data to it */
    } while (r < 0 && errno == EINTR);
    return r;
}

static int vfs_sync(sqlite3_file *file, int flags)
{
    struct vfs_file *f = file_of(file);
    if (f->poisoned)
        return SQLITE_IOERR_FSYNC;
    if (!LODE_PLANTED(vfs_no_sync) && sync_file(f->fd) < 0) {
        f->poisoned = !LODE_PLANTED(vfs_forgives_sync);
        return fail(f, SQLITE_IOERR_FSYNC);
    }
    if (f->sync_dir && !LODE_PLANTED(vfs_no_dir_sync) && sync_dir_of(f->path) < 0) {
        f->poisoned = true;
        return fail(f, SQLITE_IOERR_DIR_FSYNC);
    }
    f->sync_dir = false;
    return SQLITE_OK;
}

static int vfs_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct vfs_file *f = file_of(file);
    struct stat st;
    if (lode_sys->fstat(f->fd, &st) < 0)
        return fail(f, SQLITE_IOERR_FSTAT);
    *size = st.st_size;
    return SQLITE_OK;
}

/* ---- locks of the database file ---- */

/* Sets or clears a lock on [start, start + len) without waiting; len 0 means to the end. `code` is
 * answered for what is not contention. */
static int set_lock(struct vfs_file *f, int fd, short type, off_t start, off_t len, int code)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    int r;
    do {
        r = lode_sys->ofd_lock(fd, F_OFD_SETLK, &l);
    } while (r < 0 && errno == EINTR);
    if (r == 0)
        return SQLITE_OK;
    return errno == EAGAIN || errno == EACCES ? SQLITE_BUSY : fail(f, code);
}

/* Readers pass through PENDING, so that a waiting writer lets no new ones in. */
static int lock_shared(struct vfs_file *f)
{
    int rc = set_lock(f, f->fd, F_RDLCK, PENDING_BYTE, 1, SQLITE_IOERR_LOCK);
    if (rc)
        return rc;
    rc = set_lock(f, f->fd, F_RDLCK, SHARED_FIRST, SHARED_SIZE, SQLITE_IOERR_LOCK);
    int undone = set_lock(f, f->fd, F_UNLCK, PENDING_BYTE, 1, SQLITE_IOERR_UNLOCK);
    if (rc == SQLITE_OK && undone) {
        set_lock(f, f->fd, F_UNLCK, 0, 0, SQLITE_IOERR_UNLOCK);
        return SQLITE_IOERR_UNLOCK;
    }
    return rc;
}

static int lock_exclusive(struct vfs_file *f)
{
    if (f->lock < SQLITE_LOCK_PENDING) {
        int rc = set_lock(f, f->fd, F_WRLCK, PENDING_BYTE, 1, SQLITE_IOERR_LOCK);
        if (rc)
            return rc;
        f->lock = SQLITE_LOCK_PENDING;
    }
    return set_lock(f, f->fd, F_WRLCK, SHARED_FIRST, SHARED_SIZE, SQLITE_IOERR_LOCK);
}

static int vfs_lock(sqlite3_file *file, int want)
{
    struct vfs_file *f = file_of(file);
    int rc;
    if (f->lock >= want)
        return SQLITE_OK;
    if (want == SQLITE_LOCK_SHARED)
        rc = lock_shared(f);
    else if (want == SQLITE_LOCK_RESERVED)
        rc = set_lock(f, f->fd, F_WRLCK, RESERVED_BYTE, 1, SQLITE_IOERR_LOCK);
    else
        rc = lock_exclusive(f);
    if (rc == SQLITE_OK)
        f->lock = want;
    return rc;
}

static int vfs_unlock(sqlite3_file *file, int want)
{
    struct vfs_file *f = file_of(file);
    int rc = SQLITE_OK;
    if (f->lock <= want)
        return SQLITE_OK;
    if (want == SQLITE_LOCK_NONE) {
        rc = set_lock(f, f->fd, F_UNLCK, 0, 0, SQLITE_IOERR_UNLOCK);
        f->lock = SQLITE_LOCK_NONE;
        return rc;
    }
    if (set_lock(f, f->fd, F_RDLCK, SHARED_FIRST, SHARED_SIZE, SQLITE_IOERR_RDLOCK) != SQLITE_OK)
        return SQLITE_IOERR_RDLOCK;
    rc = set_lock(f, f->fd, F_UNLCK, PENDING_BYTE, 2,
                  SQLITE_IOERR_UNLOCK); /* PENDING and RESERVED */
    if (rc == SQLITE_OK)
        f->lock = SQLITE_LOCK_SHARED;
    return rc;
}

static int vfs_check_reserved(sqlite3_file *file, int *out)
{
    struct vfs_file *f = file_of(file);
    struct flock l = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RESERVED_BYTE, .l_len = 1};
    if (f->lock > SQLITE_LOCK_SHARED) {
        *out = 1;
        return SQLITE_OK;
    }
    if (lode_sys->ofd_lock(f->fd, F_OFD_GETLK, &l) < 0)
        return fail(f, SQLITE_IOERR_CHECKRESERVEDLOCK);
    *out = l.l_type != F_UNLCK;
    return SQLITE_OK;
}

/* ---- shared memory of the WAL ---- */

static void shm_free(struct shm *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_regions; i += s->per_map)
        lode_sys->munmap(s->regions[i], s->region_size * s->per_map);
    lode_closep(&s->fd);
    lode_free(s->regions);
    lode_free(s->path);
    lode_free(s);
}

/* The first user empties the file: what a crash left in it is not to be trusted. */
static int shm_join(struct vfs_file *f, struct shm *s)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = SHM_DMS, .l_len = 1};
    if (lode_sys->ofd_lock(s->fd, F_OFD_GETLK, &l) < 0)
        return fail(f, SQLITE_IOERR_LOCK);
    if (l.l_type == F_WRLCK)
        return SQLITE_BUSY;
    if (l.l_type == F_UNLCK) {
        int rc = set_lock(f, s->fd, F_WRLCK, SHM_DMS, 1, SQLITE_IOERR_SHMLOCK);
        if (rc)
            return rc;
        /* Not to 0: an odd length shows that this happened, as in SQLite itself. */
        if (lode_sys->ftruncate(s->fd, 3) < 0)
            return fail(f, SQLITE_IOERR_SHMOPEN);
    }
    return set_lock(f, s->fd, F_RDLCK, SHM_DMS, 1, SQLITE_IOERR_SHMLOCK);
}

/* A file beside the database gets its mode, and its owner where we may, so that its other users can
 * use it. */
static int open_like(const char *path, int flags, const struct stat *like)
{
    int fd;
    mode_t mode = like ? like->st_mode & 0777 : 0644;
    do {
        fd = lode_sys->openat(AT_FDCWD, path, flags, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0 && fd < FIRST_SAFE_FD) {
        int up = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
        int saved = errno;
        lode_sys->close(fd);
        errno = saved;
        fd = up;
    }
    struct stat st;
    if (fd < 0 || !like || !(flags & O_CREAT) || lode_sys->fstat(fd, &st) < 0 || st.st_size > 0)
        return fd;
    if ((st.st_mode & 0777) != mode)
        (void)lode_sys->fchmod(fd,
                               mode); /* the umask took bits; not being allowed to is no failure */
    if (geteuid() == 0 && st.st_uid != like->st_uid && fchown(fd, like->st_uid, like->st_gid) < 0)
        return fd;
    return fd;
}

static int shm_open_file(struct vfs_file *f)
{
    struct stat st;
    if (lode_sys->fstat(f->fd, &st) < 0)
        return fail(f, SQLITE_IOERR_FSTAT);
    struct shm *s = lode_zalloc(sizeof *s);
    if (!s)
        return SQLITE_NOMEM;
    s->fd = -1;
    s->path = lode_asprintf("%s-shm", f->path);
    if (!s->path) {
        shm_free(s);
        return SQLITE_NOMEM;
    }
    s->fd = open_like(s->path, O_RDWR | O_CREAT | O_NOFOLLOW, &st);
    int rc = s->fd < 0 ? fail(f, SQLITE_CANTOPEN) : shm_join(f, s);
    if (rc) {
        shm_free(s);
        return rc;
    }
    f->shm = s;
    return SQLITE_OK;
}

/* Grows the file to `size`; each page is written once, for a hole on a full disk would answer with
 * SIGBUS. */
static int shm_extend(struct vfs_file *f, off_t from, off_t size)
{
    for (off_t page = from / 4096; page < size / 4096; page++) {
        if (lode_pwrite_full(f->shm->fd, "", 1, (uint64_t)page * 4096 + 4095) < 0)
            return fail(f, is_full(errno) ? SQLITE_FULL : SQLITE_IOERR_SHMSIZE);
    }
    return SQLITE_OK;
}

/* Maps regions until `want` of them are there. */
static int shm_map_more(struct vfs_file *f, size_t want)
{
    struct shm *s = f->shm;
    if (lode_grow((void **)&s->regions, &s->cap_regions, want, sizeof *s->regions) < 0)
        return SQLITE_NOMEM;
    while (s->n_regions < want) {
        char *p = lode_sys->mmap(NULL, s->region_size * s->per_map, PROT_READ | PROT_WRITE,
                                 MAP_SHARED, s->fd, (off_t)(s->n_regions * s->region_size));
        if (p == MAP_FAILED)
            return fail(f, SQLITE_IOERR_SHMMAP);
        for (size_t i = 0; i < s->per_map; i++)
            s->regions[s->n_regions++] = p + i * s->region_size;
    }
    return SQLITE_OK;
}

static int shm_region(struct vfs_file *f, size_t region, int extend, void volatile **out)
{
    struct shm *s = f->shm;
    size_t want = (region / s->per_map + 1) * s->per_map;
    if (want > s->n_regions) {
        struct stat st;
        off_t size = (off_t)(want * s->region_size);
        if (lode_sys->fstat(s->fd, &st) < 0)
            return fail(f, SQLITE_IOERR_SHMSIZE);
        if (st.st_size < size && !extend)
            return SQLITE_OK;
        int rc = st.st_size < size ? shm_extend(f, st.st_size, size) : SQLITE_OK;
        if (rc == SQLITE_OK)
            rc = shm_map_more(f, want);
        if (rc)
            return rc;
    }
    *out = s->regions[region];
    return SQLITE_OK;
}

static int vfs_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
    struct vfs_file *f = file_of(file);
    *out = NULL;
    if (!f->shm) {
        int rc = shm_open_file(f);
        if (rc)
            return rc;
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        f->shm->region_size = (size_t)size;
        f->shm->per_map = page > (size_t)size ? page / (size_t)size : 1;
    }
    return shm_region(f, (size_t)region, extend, out);
}

static int vfs_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    struct vfs_file *f = file_of(file);
    if (!f->shm)
        return SQLITE_IOERR_SHMLOCK;
    short type = flags & SQLITE_SHM_UNLOCK   ? F_UNLCK
                 : flags & SQLITE_SHM_SHARED ? F_RDLCK
                                             : F_WRLCK;
    return set_lock(f, f->shm->fd, type, SHM_BASE + offset, n, SQLITE_IOERR_SHMLOCK);
}

static void vfs_shm_barrier(sqlite3_file *file)
{
    __sync_synchronize(); /* the old name, for the thread sanitizer knows no fences of the new one
                           */
}

/* SQLite asks for `remove` only when it holds the database exclusively: nobody else is in the file.
 */
static int vfs_shm_unmap(sqlite3_file *file, int remove)
{
    struct vfs_file *f = file_of(file);
    if (f->shm && remove)
        (void)lode_sys->unlinkat(AT_FDCWD, f->shm->path,
                                 0); /* a leftover is emptied by its next first user */
    shm_free(f->shm);
    f->shm = NULL;
    return SQLITE_OK;
}

/* ---- the rest of a file ---- */

static bool has_moved(const struct vfs_file *f)
{
    struct stat now, then;
    return lode_sys->fstat(f->fd, &then) < 0 || lode_sys->fstatat(AT_FDCWD, f->path, &now, 0) < 0 ||
           now.st_ino != then.st_ino || now.st_dev != then.st_dev;
}

static int vfs_file_control(sqlite3_file *file, int op, void *arg)
{
    struct vfs_file *f = file_of(file);
    int *flag = arg;
    switch (op) {
    case SQLITE_FCNTL_LOCKSTATE:
        *flag = f->lock;
        return SQLITE_OK;
    case SQLITE_FCNTL_LAST_ERRNO:
        *flag = f->last_errno;
        return SQLITE_OK;
    case SQLITE_FCNTL_PERSIST_WAL:
        if (*flag < 0)
            *flag = f->persist_wal;
        else
            f->persist_wal = *flag != 0;
        return SQLITE_OK;
    case SQLITE_FCNTL_POWERSAFE_OVERWRITE:
        *flag = 1;
        return SQLITE_OK;
    case SQLITE_FCNTL_HAS_MOVED:
        *flag = has_moved(f);
        return SQLITE_OK;
    case SQLITE_FCNTL_VFSNAME:
        *(char **)arg = sqlite3_mprintf("%s", LODE_SQLITE_VFS);
        return SQLITE_OK;
    default:
        return SQLITE_NOTFOUND;
    }
}

static int vfs_sector_size(sqlite3_file *file)
{
    return SECTOR_SIZE;
}

static int vfs_device(sqlite3_file *file)
{
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* The descriptor's end is the locks' end. */
static int vfs_close(sqlite3_file *file)
{
    struct vfs_file *f = file_of(file);
    vfs_shm_unmap(file, 0);
    lode_closep(&f->fd);
    f->fd = -1;
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = vfs_close,
    .xRead = vfs_read,
    .xWrite = vfs_write,
    .xTruncate = vfs_truncate,
    .xSync = vfs_sync,
    .xFileSize = vfs_file_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_unlock,
    .xCheckReservedLock = vfs_check_reserved,
    .xFileControl = vfs_file_control,
    .xSectorSize = vfs_sector_size,
    .xDeviceCharacteristics = vfs_device,
    .xShmMap = vfs_shm_map,
    .xShmLock = vfs_shm_lock,
    .xShmBarrier = vfs_shm_barrier,
    .xShmUnmap = vfs_shm_unmap,
};

/* ---- the file system ---- */

static sqlite3_vfs *unix_vfs(void)
{
    sqlite3_vfs *v = sqlite3_vfs_find("unix");
    return v ? v : sqlite3_vfs_find(NULL);
}

/* The database that a journal or WAL belongs to: its mode is copied. */
static bool stat_owner(const char *path, struct stat *st)
{
    char db[PATH_ROOM];
    const char *dash = strrchr(path, '-');
    size_t n = dash ? (size_t)(dash - path) : 0;
    if (n == 0 || n >= sizeof db)
        return false;
    memcpy(db, path, n);
    db[n] = 0;
    return lode_sys->fstatat(AT_FDCWD, db, st, 0) == 0;
}

static int open_flags(int flags)
{
    int o = flags & SQLITE_OPEN_READWRITE ? O_RDWR : O_RDONLY;
    o |= flags & SQLITE_OPEN_CREATE ? O_CREAT : 0;
    o |= flags & SQLITE_OPEN_EXCLUSIVE ? O_EXCL | O_NOFOLLOW : 0;
    return o | (flags & SQLITE_OPEN_NOFOLLOW ? O_NOFOLLOW : 0);
}

/* Opens, for reading only where writing is not allowed: SQLite then tells the difference by *flags.
 */
static int open_or_read(const char *path, int *flags)
{
    struct stat st;
    bool beside = *flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL) && stat_owner(path, &st);
    int fd = open_like(path, open_flags(*flags), beside ? &st : NULL);
    if (fd >= 0 || !(*flags & SQLITE_OPEN_READWRITE) ||
        (errno != EACCES && errno != EPERM && errno != EROFS))
        return fd;
    *flags = (*flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
    return open_like(path, open_flags(*flags), NULL);
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                    int *out_flags)
{
    int durable = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL |
                  SQLITE_OPEN_SUPER_JOURNAL;
    if (!path || !(flags & durable) || flags & SQLITE_OPEN_DELETEONCLOSE)
        return unix_vfs()->xOpen(unix_vfs(), path, file, flags, out_flags);
    struct vfs_file *f = file_of(file);
    *f = (struct vfs_file){.fd = -1, .path = path, .lock = SQLITE_LOCK_NONE};
    int fd = open_or_read(path, &flags);
    if (fd < 0)
        return errno == ENOMEM ? SQLITE_NOMEM : SQLITE_CANTOPEN;
    struct stat st;
    if (lode_sys->fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)) {
        lode_sys->close(fd);
        return SQLITE_CANTOPEN;
    }
    f->fd = fd;
    f->sync_dir = flags & SQLITE_OPEN_CREATE && st.st_size == 0;
    f->base.pMethods = &methods;
    if (out_flags)
        *out_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    if (lode_sys->unlinkat(AT_FDCWD, path, 0) < 0)
        return errno == ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    return sync_dir && sync_dir_of(path) < 0 ? SQLITE_IOERR_DIR_FSYNC : SQLITE_OK;
}

/* An error is not "absent": a hot journal that cannot be looked at must not be passed over. */
static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    struct stat st;
    *out = 0;
    if (flags == SQLITE_ACCESS_READWRITE) {
        *out = access(path, R_OK | W_OK) == 0;
        return SQLITE_OK;
    }
    if (lode_sys->fstatat(AT_FDCWD, path, &st, 0) == 0)
        *out = !S_ISREG(st.st_mode) || st.st_size > 0;
    else if (errno != ENOENT && errno != ENOTDIR)
        return SQLITE_IOERR_ACCESS;
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int n, char *out)
{
    return unix_vfs()->xFullPathname(unix_vfs(), path, n, out);
}

static int vfs_random(sqlite3_vfs *vfs, int n, char *out)
{
    ssize_t got = lode_sys->getrandom(out, (size_t)n);
    return got == n ? n : unix_vfs()->xRandomness(unix_vfs(), n, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
    struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    lode_sys->nanosleep(&ts);
    return us;
}

/* Milliseconds since the Julian epoch. */
static int vfs_time64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    *out = lode_now_ms() + 210866760000000ll;
    return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *out)
{
    sqlite3_int64 ms;
    vfs_time64(vfs, &ms);
    *out = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
    return errno;
}

static sqlite3_vfs lode_vfs = {
    .iVersion = 2,
    .zName = LODE_SQLITE_VFS,
    .xOpen = vfs_open,
    .xDelete = vfs_delete,
    .xAccess = vfs_access,
    .xFullPathname = vfs_full_path,
    .xRandomness = vfs_random,
    .xSleep = vfs_sleep,
    .xCurrentTime = vfs_time,
    .xCurrentTimeInt64 = vfs_time64,
    .xGetLastError = vfs_last_error,
};

/* Answers SQLite's code; what failed for want of memory is tried again by the next call. */
static int register_vfs(void)
{
    int rc = sqlite3_initialize();
    if (rc != SQLITE_OK || sqlite3_vfs_find(LODE_SQLITE_VFS))
        return rc;
    if (!unix_vfs())
        return SQLITE_ERROR;
    lode_vfs.szOsFile = lode_max((int)sizeof(struct vfs_file), unix_vfs()->szOsFile);
    lode_vfs.mxPathname = unix_vfs()->mxPathname;
    return sqlite3_vfs_register(&lode_vfs, 0);
}

int lode_sqlite_vfs_register(struct lode_err *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    int rc = register_vfs();
    pthread_mutex_unlock(&lock);
    if (rc == SQLITE_NOMEM)
        return lode_err_nomem(err, "SQLite");
    if (rc != SQLITE_OK)
        return lode_err_set(err, LODE_INTERNAL, "SQLite refused the '%s' VFS (%d)", LODE_SQLITE_VFS,
                            rc);
    return 0;
}
