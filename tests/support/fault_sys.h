/* A syscall table that fails, counts, slows and forgets: for fault tests of everything above base.
 *
 * Use
 *     fault_install();                                    counts from here on; nothing fails yet
 *     fault_fail(FAULT_WRITE, 3, ENOSPC, FAULT_STICKY);   the 3rd write from now on and all after
 * it r = lode_push(...); fault_disarm();                                     counts stay readable
 *     fault_uninstall();
 *
 * Install before the code under test starts a thread; arm and disarm whenever. Counting is exact
 * with threads, but which thread makes the n-th call is not determined.
 *
 * Losing power
 *     fault_track(dir);        everything below dir counts as durable now
 *     ... work ...
 *     fault_power_cut();       rolls dir back to what was synced; close or abandon what was open
 * before The model is the strictest that POSIX allows: a file's bytes and size are durable as of
 * its last fsync or fdatasync (empty if never), a name, its removal and its renaming as of the last
 * fsync of its directory, each directory for itself. Nothing that was not synced survives. (A
 * directory that was moved is in one place: with the parent that was synced last.) One process
 * only: syncs of others are not seen.
 *
 * The SQLite VFS "lode" goes through this table, so databases are included; SQLite's memory is too
 * after fault_sqlite_malloc().
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/sys.h"

enum fault_kind {
    FAULT_OPEN,          /* openat, open_beneath */
    FAULT_READ,          /* read, pread, completions of reads in the ring */
    FAULT_WRITE,         /* write, pwrite, completions of writes in the ring */
    FAULT_SYNC,          /* fsync, fdatasync */
    FAULT_TRUNCATE,      /* ftruncate */
    FAULT_FALLOCATE,     /* fallocate, sync_file_range */
    FAULT_STAT,          /* fstat, fstatat, fstatvfs */
    FAULT_MKDIR,         /* mkdirat */
    FAULT_UNLINK,        /* unlinkat */
    FAULT_LINK,          /* linkat */
    FAULT_RENAME,        /* renameat2 */
    FAULT_READLINK,      /* readlinkat */
    FAULT_ATTR,          /* fchmod, futimens */
    FAULT_COPY,          /* copy_file_range */
    FAULT_MMAP,          /* mmap */
    FAULT_LOCK,          /* flock, ofd_lock */
    FAULT_READDIR,       /* fdopendir, readdir */
    FAULT_RANDOM,        /* getrandom */
    FAULT_MALLOC,        /* malloc, realloc, memalign */
    FAULT_SQLITE_MALLOC, /* the same inside SQLite, after fault_sqlite_malloc() */
    FAULT_KINDS
};

/* In place of an errno: the call succeeds, but moves half of its bytes (reads, writes, copies). */
#define FAULT_SHORT (-1)

enum fault_flags {
    FAULT_ONCE = 0,
    FAULT_STICKY = 1, /* the n-th and every later call of the kind */
    FAULT_AFTER = 2, /* the call is made, then its success is denied (a lost reply): renames, links,
                        syncs, unlinks */
};

void fault_install(
    void); /* lode_sys becomes this table; counters 0, nothing armed. May be called again. */
void fault_uninstall(void); /* back to the kernel's own; also ends tracking */

/* Arms one fault (replacing another): the nth call of `kind` from now on, nth >= 1, answers
 * `error`. */
void fault_fail(enum fault_kind kind, uint64_t nth, int error, int flags);
/* Limits the armed fault to descriptors and paths below `dir` (absolute); NULL: everywhere. Counts
 * all the same. */
void fault_only_below(const char *dir);
void fault_disarm(void);
uint64_t fault_fired(
    void); /* calls that the armed fault has hit since it was armed; stays after fault_disarm */

uint64_t fault_count(enum fault_kind kind); /* calls since install or the last fault_zero */
void fault_zero(void);                      /* counters to 0 */
const char *fault_kind_name(enum fault_kind kind);

/* Every sync takes this much longer; 0 ends it. */
void fault_slow_sync(int ms);
/* Syncs are counted, tracked and answered, but not made: they cost milliseconds that a test does
 * not need, since the power is only cut here. Set before threads start. */
void fault_pretend_syncs(bool on);
/* Moves the wall clock and the boot clock ahead, so that leases and graces end; until
 * fault_install(). */
void fault_advance_clocks(long seconds);
/* Every read takes this much longer; 0 ends it. */
void fault_slow_read(int ms);

/* Records writes, syncs, truncates, renames, links, unlinks and mkdirs in their order, the first
 * FAULT_EVENTS_MAX; starting empties the record. */
#define FAULT_EVENTS_MAX 4096
struct fault_event {
    enum fault_kind kind;
    int result;     /* 0, or the errno */
    char path[256]; /* absolute, as far as known; the new name of a rename or link */
};
void fault_record(bool on);
const struct fault_event *fault_events(size_t *n);

/* Power cuts: see above. `dir` exists, absolute or relative; a cut leaves it tracked anew. Both end
 * the test program with a message if they cannot do it. */
void fault_track(const char *dir);
void fault_power_cut(void);

/* Open descriptors of this process, those of the tracker apart. */
int fault_open_fds(void);

/* Routes SQLite's memory through the table; must come before SQLite's first use in the process. */
void fault_sqlite_malloc(void);
