/* SQLite over lode_sys: a VFS named "lode".
 *
 * SQLite's own unix VFS cannot be told to use another fsync, so a fault test would silently miss
 * the database. This one does all I/O on databases, journals, WALs and their shared memory through
 * lode_sys: each open, read, write, sync, truncate, lock and unlink can be counted, slowed, failed
 * or dropped (tests/support/fault_sys.h). Temporary files alone (no name, no durability) go to the
 * unix VFS.
 *
 * It differs from the unix VFS in three points:
 *  - Locks are open-file-description locks on the same bytes. Each connection has descriptors of
 * its own, so closing another descriptor of the database in this process drops no lock. They
 * conflict with the POSIX locks of the stock VFS as they should: the sqlite3 tool may look at a
 * live database.
 *  - A new database's directory is synced with its first sync, as a new journal's is.
 *  - After a failed sync the handle is poisoned: every later write and sync of it fails. What the
 * page cache lost cannot be synced again; close the connection and open a new one. Memory-mapped
 * I/O (PRAGMA mmap_size) is not offered; WAL is.
 */
#pragma once
#include "base/err.h"

#define LODE_SQLITE_VFS "lode"

/* Registers the VFS, not as the default: name it in sqlite3_open_v2(). May be called often and from
 * any thread. NO_MEMORY, INTERNAL if SQLite refuses. */
int lode_sqlite_vfs_register(struct lode_err *err) lode_must_use;
