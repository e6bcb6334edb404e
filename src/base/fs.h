/* What kind of file system something lies on. */
#pragma once
#include <stdint.h>

/* The name of a file system that several machines may share, or that a process serves ("NFS",
 * "FUSE"), by f_type of statfs(2); NULL for a local one. */
const char *lode_fs_not_local(uint32_t f_type);
