/* Past the page cache, where that pays: filling the cache costs several times the processor time of
 * the transfer, and large models push everything else out of it.
 *
 * A file has a second, direct descriptor; transfers of whole aligned pages go through it, what
 * direct I/O does not take (odd ends, memory that is not aligned, a file system without it) through
 * the ordinary one. Thread-safe.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LODE_DIRECT_ALIGN 4096u    /* of memory, offset and length */
#define LODE_DIRECT_MIN (8u << 20) /* bytes of a file for which it is worth a second descriptor */

/* A direct descriptor of the file that `fd` is open on, with O_RDONLY, O_WRONLY or O_RDWR; -1 where
 * there is none. */
int lode_direct_open(int fd, int flags);

/* As lode_pread_full and lode_pwrite_full; direct may be -1. A write's ordinary part is on its way
 * to the device when this returns. */
int lode_direct_pread(int direct, int fd, void *buf, size_t n, uint64_t offset);
int lode_direct_pwrite(int direct, int fd, const void *buf, size_t n, uint64_t offset);

/* True if half of the file's bytes are in the page cache: then reading past it would be slower.
 * Also where the kernel does not tell. */
bool lode_direct_resident(int fd, uint64_t size);
