/* How a format of model files is taught to Lode: the ops of a parser, also for plug-ins
 * (LODE_PLUGINS).
 *
 * A parser is pure: it never opens anything. It is made over the files of one version that match
 * the format; asked to step, it answers that it is done, or which bytes of which file it needs, and
 * is fed them. Headers may be large, so bytes are fed in pieces as they arrive and should be
 * consumed as they come. Nothing in a file is ever executed. Input is hostile: every size is
 * checked before it is used, and memory is bounded.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <lode/api.h>
#include <lode/err.h>
#include <lode/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LODE_FORMAT_ABI 1

/* Bytes of a file's beginning that match() sees (fewer when the file is shorter). */
#define LODE_FORMAT_HEAD 64

struct lode_format_file {
    const char *path;    /* inside the version, checked; lives as long as the parser */
    uint64_t size;       /* bytes */
    unsigned number;     /* position in the version's file table: what tensors and needs refer to */
    const uint8_t *head; /* the first bytes; only for match() */
    size_t head_len;     /* min(size, LODE_FORMAT_HEAD) */
};

enum lode_format_match {
    LODE_FORMAT_NO = 0,
    LODE_FORMAT_BY_CONTENT =
        1,                   /* looks like it; what turns out malformed is kept as opaque bytes */
    LODE_FORMAT_BY_NAME = 2, /* says that it is; what turns out malformed is refused */
};

struct lode_format_need {
    unsigned file;   /* number */
    uint64_t offset; /* bytes */
    uint64_t length; /* bytes, > 0, within the file */
};

/* What step() answers besides negative codes. */
#define LODE_FORMAT_DONE 0
#define LODE_FORMAT_NEED 1

struct lode_index_builder;

/* A parser at work; a format's instance has it as its first member. */
struct lode_format {
    const struct lode_format_ops *ops;
};

enum lode_format_flag {
    LODE_FORMAT_SETS =
        1 << 0, /* files belong together (shards): one parser gets all that match by name */
};

struct lode_format_ops {
    unsigned abi;     /* LODE_FORMAT_ABI */
    unsigned flags;   /* enum lode_format_flag; without SETS each file gets a parser of its own */
    const char *name; /* "safetensors": as in manifests and filters */

    /* How sure it is that the file is of this format. Thread-safe, no memory. */
    enum lode_format_match (*match)(const struct lode_format_file *file);

    /* Makes a parser over n >= 1 matching files (borrowed, like `into`, until close), which adds to
     * `into` the tensors that it finds. NO_MEMORY, LIMIT. */
    int (*open)(const struct lode_format_file *files, size_t n, struct lode_index_builder *into,
                struct lode_format **out, struct lode_err *err);

    /* DONE; or NEED with the bytes wanted next; or an error that tells file, tensor, offset and
     * reason: INVALID (malformed, refused), UNSUPPORTED (well-formed, but nothing that an index can
     * tell: the files are kept as opaque bytes), LIMIT, NO_MEMORY. Errors are final. */
    int (*step)(struct lode_format *self, struct lode_format_need *need, struct lode_err *err);

    /* The next `len` bytes of what the last step needed, in order; all pieces together are
     * need.length. Errors as step's. The bytes are borrowed for the call. A parser that has seen
     * enough ignores the rest. */
    int (*feed)(struct lode_format *self, const void *bytes, size_t len, struct lode_err *err);

    /* Frees the parser; NULL is not passed. */
    void (*close)(struct lode_format *self);
};

/* A plug-in exports this function under the name `lode_plugin_format`; the table that it answers
 * ends with NULL and lives as long as the process. NULL where it has none for this ABI. */
typedef const struct lode_format_ops *const *lode_plugin_format_fn(uint32_t abi);

/* For parsers. Adds a tensor that is one raw extent. Copies the name (name_len bytes) and the
 * shape. INVALID where the name is empty or holds NUL or invalid UTF-8, where the elements
 * overflow, or where `len` is not what shape and type make (OPAQUE takes any); LIMIT over a named
 * limit. `name` and `direct` of `t` are not read. */
LODE_API int lode_index_add(struct lode_index_builder *self, const char *name, size_t name_len,
                            const struct lode_tensor *t, struct lode_err *err);

/* The same for a tensor of n >= 1 extents of any codec; file and offset come from the first. Codec
 * names are at most 31 bytes. INVALID also where the extents do not add up to `len`. */
LODE_API int lode_index_add_extents(struct lode_index_builder *self, const char *name,
                                    size_t name_len, const struct lode_tensor *t,
                                    const struct lode_extent *extents, size_t n,
                                    struct lode_err *err);

/* Says that `file` is a shard of the set that the file `leader` stands for (a *.index.json): names
 * must differ within a set. */
LODE_API int lode_index_builder_group(struct lode_index_builder *self, unsigned file,
                                      unsigned leader, struct lode_err *err);

#ifdef __cplusplus
}
#endif
