/* From files to a tensor index: the table of formats and the driver of their parsers.
 *
 * Every file of a version is offered to every format; the surest match takes it, and a file that
 * none takes is "opaque": stored, never looked into (a pickle is such a file, by name or by
 * content, always). Each format's parser then works over all files that are its own. A file that
 * says by its name what it is and turns out malformed makes the call fail; one that only looked
 * like it stays opaque, and so does one that is well-formed but has no tensors that an index can
 * tell (UNSUPPORTED), with a warning in the log.
 */
#pragma once
#include <lode/format_ops.h>
#include "base/err.h"
#include "format/index.h"

/* All formats, NULL-ended: the built-in ones, then the registered. */
const struct lode_format_ops *const *lode_formats(void);

/* Adds a format; those of LODE_PLUGINS are added by themselves when the first index is made. Any
 * thread. INVALID for another ABI or an incomplete table, EXISTS for a name that is taken, LIMIT
 * above LODE_FORMATS_MAX. */
int lode_format_register(const struct lode_format_ops *ops, struct lode_err *err) lode_must_use;

/* Reads exactly `len` bytes of file `number` at `offset` into `into`; 0 or a negative code. */
typedef int lode_format_read(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                             struct lode_err *err);

struct lode_format_input {
    const char *path;   /* inside the version, checked by lode_path_check() */
    uint64_t size;      /* bytes */
    const char *format; /* out: the name of the format that took it, or "opaque"; static memory */
};

/* Makes the index of n files (file number = position), reading through `read` in pieces of at most
 * 1 MiB. Fills format of every file. With no tensors the index is empty, not an error. INVALID,
 * LIMIT, NO_MEMORY, and what `read` answers. */
int lode_format_index_files(struct lode_format_input *files, size_t n, lode_format_read *read,
                            void *arg, struct lode_tensor_index **out,
                            struct lode_err *err) lode_must_use;
