/* What the tensor index tells of one tensor. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <lode/dtype.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A view into an index; its pointers live as long as the index does. */
struct lode_tensor {
    const char *name; /* UTF-8, no NUL inside, unique in the index */
    enum lode_dtype dtype;
    unsigned rank;         /* dimensions; 0 is a scalar */
    const uint64_t *shape; /* `rank` dimensions, outermost first; may hold zeros */
    unsigned file;         /* position in the version's file table, of the first extent */
    uint64_t offset;       /* bytes from that file's start, of the first extent */
    uint64_t len;          /* bytes in memory, decoded */
    bool fortran_order;    /* the first dimension varies fastest */
    bool direct; /* the bytes [offset, offset + len) of `file` are the tensor: one raw extent */
};

/* A part of a tensor: `stored_len` bytes of a file, which `codec` turns into `raw_len` bytes, of
 * which the first `raw_skip` are not the tensor's (the header of a compressed npy). In order, what
 * remains of all extents is the tensor. */
struct lode_extent {
    const char *codec;   /* "raw", "deflate" ...; raw: stored_len == raw_len */
    unsigned file;       /* position in the version's file table */
    uint64_t offset;     /* bytes */
    uint64_t stored_len; /* bytes */
    uint64_t raw_len;    /* bytes */
    uint64_t raw_skip;   /* bytes, <= raw_len */
};

#ifdef __cplusplus
}
#endif
