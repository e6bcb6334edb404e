/* A fair queue of processes: see coord/turn.h. */
#include "coord/turn.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/sys.h"

#define SLOTS 64
#define FILE_SIZE 4096
/* Lock bytes lie far beyond the data; locks need no bytes beneath them. */
#define GATE ((off_t)1 << 40)
#define TICKETS ((off_t)1 << 41)

/* The file's content; all zero at first. */
struct shared {
    uint64_t next; /* the next ticket; changed inside the gate */
    uint32_t news;
    uint32_t slots[SLOTS]; /* raised when ticket n - 1 is given back, n % SLOTS */
};

struct lode_turn {
    int fd;
    struct shared *shared;
    uint64_t ticket; /* ours, between take and give */
};

static int lock_bytes(struct lode_turn *self, short type, off_t start, off_t len)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    int r;
    do {
        r = lode_sys->ofd_lock(self->fd, F_OFD_SETLK, &l);
    } while (r < 0 && errno == EINTR);
    return r;
}

/* Hints only: what fails here costs a nap. */
static void futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void futex_wait(uint32_t *word, uint32_t seen, int64_t ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &ts, NULL, 0);
}

/* ---- opening ---- */

/* The file is filled with real bytes: a hole on a full disk would answer with SIGBUS when it is
 * touched. */
static int fill(int fd)
{
    static const char zeros[FILE_SIZE];
    struct stat st;
    if (lode_sys->fstat(fd, &st) < 0)
        return -1;
    return st.st_size >= FILE_SIZE
               ? 0
               : lode_pwrite_full(fd, zeros + st.st_size, (size_t)(FILE_SIZE - st.st_size),
                                  (uint64_t)st.st_size);
}

static int open_file(const char *path, const char *like)
{
    struct stat st;
    if (lode_sys->fstatat(AT_FDCWD, like, &st, 0) < 0)
        return -1;
    int fd = lode_sys->openat(AT_FDCWD, path, O_RDWR, 0);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    fd = lode_sys->openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW, st.st_mode & 0777);
    if (fd >= 0)
        (void)lode_sys->fchmod(
            fd, st.st_mode & 0777); /* the umask took bits; not being allowed to is no failure */
    return fd;
}

int lode_turn_open(const char *path, const char *like, struct lode_turn **out, struct lode_err *err)
{
    struct lode_turn *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "the writers' queue");
    self->shared = MAP_FAILED;
    self->fd = open_file(path, like);
    if (self->fd >= 0 && fill(self->fd) == 0)
        self->shared =
            lode_sys->mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
    if (self->shared == MAP_FAILED) {
        int r = lode_err_sys(err, "cannot use the writers' queue %s", path);
        lode_closep(&self->fd);
        lode_free(self);
        return r;
    }
    *out = self;
    return 0;
}

void lode_turn_close(struct lode_turn *self)
{
    if (!self)
        return;
    lode_sys->munmap(self->shared, FILE_SIZE);
    lode_closep(&self->fd);
    lode_free(self);
}

/* ---- turns ---- */

static bool is_contention(int number)
{
    return number == EAGAIN || number == EACCES;
}

/* The gate is held for microseconds, unless its holder is stopped just there: so the deadline
 * counts here too. */
static int enter_gate(struct lode_turn *self, int64_t deadline_ms, struct lode_err *err)
{
    struct timespec nap = {.tv_nsec = 50000};
    while (lock_bytes(self, F_WRLCK, GATE, 1) < 0) {
        if (!is_contention(errno))
            return lode_err_sys(err, "cannot join the writers' queue");
        if (lode_mono_ms() >= deadline_ms)
            return lode_err_set(err, LODE_TIMEOUT, "the writers' queue was held at its gate");
        lode_sys->nanosleep(&nap);
        if (nap.tv_nsec < 1000000)
            nap.tv_nsec *= 2;
    }
    return 0;
}

static int draw_ticket(struct lode_turn *self, int64_t deadline_ms, struct lode_err *err)
{
    int r = enter_gate(self, deadline_ms, err);
    if (r < 0)
        return r;
    uint64_t ticket =
        __atomic_load_n(&self->shared->next, __ATOMIC_RELAXED) & (((uint64_t)1 << 40) - 1);
    if (lock_bytes(self, F_WRLCK, TICKETS + (off_t)ticket, 1) < 0)
        r = lode_err_sys(err, "cannot take a place in the writers' queue");
    else
        __atomic_store_n(&self->shared->next, ticket + 1, __ATOMIC_RELAXED);
    lock_bytes(self, F_UNLCK, GATE, 1);
    if (r == 0)
        self->ticket = ticket;
    return r;
}

/* 1 when nobody older is in the queue. */
static int is_first(struct lode_turn *self)
{
    struct flock l = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = TICKETS, .l_len = (off_t)self->ticket};
    if (self->ticket == 0 || LODE_PLANTED(coord_turn_unfair))
        return 1;
    if (lode_sys->ofd_lock(self->fd, F_OFD_GETLK, &l) < 0)
        return -1;
    return l.l_type == F_UNLCK;
}

void lode_turn_give(struct lode_turn *self)
{
    uint32_t *slot = &self->shared->slots[(self->ticket + 1) % SLOTS];
    lock_bytes(self, F_UNLCK, TICKETS + (off_t)self->ticket, 1);
    __atomic_add_fetch(slot, 1, __ATOMIC_RELEASE);
    futex_wake(slot);
}

int lode_turn_take(struct lode_turn *self, int64_t deadline_ms, struct lode_err *err)
{
    int r = draw_ticket(self, deadline_ms, err);
    if (r < 0)
        return r;
    uint32_t *slot = &self->shared->slots[self->ticket % SLOTS];
    for (;;) {
        uint32_t seen = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
        int first = is_first(self);
        if (first > 0)
            return 0;
        int64_t left = deadline_ms - lode_mono_ms();
        if (first < 0 || left <= 0) {
            r = first < 0
                    ? lode_err_sys(err, "cannot look at the writers' queue")
                    : lode_err_set(
                          err, LODE_TIMEOUT,
                          "waited its whole time in the writers' queue: another process holds it");
            lode_turn_give(self); /* also tells who stands behind */
            return r;
        }
        futex_wait(slot, seen, lode_min(left, (int64_t)LODE_TURN_NAP_MS));
    }
}

/* ---- news ---- */

uint32_t lode_turn_news(struct lode_turn *self)
{
    return __atomic_load_n(&self->shared->news, __ATOMIC_ACQUIRE);
}

void lode_turn_announce(struct lode_turn *self)
{
    __atomic_add_fetch(&self->shared->news, 1, __ATOMIC_RELEASE);
    futex_wake(&self->shared->news);
}

void lode_turn_wait_news(struct lode_turn *self, uint32_t seen, int64_t ms)
{
    futex_wait(&self->shared->news, seen, ms);
}
