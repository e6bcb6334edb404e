/* What index.c (reading) and index_build.c (making) share; nobody else includes it. */
#pragma once
#include "format/index.h"

enum { INDEX_FORTRAN = 1, INDEX_EXTENTS = 2 };

#define INDEX_CODEC_NAME 32 /* bytes of a codec's name, its end mark included */

struct index_record {
    uint32_t name;   /* byte in `names` */
    uint32_t dims;   /* entry in `dims` */
    uint64_t offset; /* bytes in the file; with INDEX_EXTENTS the entry in `extents` */
    uint64_t len;    /* bytes in memory */
    uint32_t file;
    uint8_t dtype;
    uint8_t rank;
    uint8_t flags;
    uint8_t unused;
};

struct index_extent {
    uint64_t offset;
    uint64_t stored_len;
    uint64_t raw_len;
    uint64_t raw_skip;
    uint32_t file;
    uint16_t codec; /* entry in `codecs` */
    uint16_t last;  /* of its tensor */
};

/* Sizes in entries. The arrays are owned. */
struct lode_tensor_index {
    int refs; /* atomic */
    struct index_record *records;
    size_t count, record_room;
    char *names; /* each ends with NUL */
    size_t names_len, names_room;
    uint64_t *dims;
    size_t dims_len, dims_room;
    struct index_extent *extents;
    size_t extents_len, extents_room;
    char (*codecs)[INDEX_CODEC_NAME];
    size_t codecs_len, codecs_room;
    uint64_t parameters;
    uint64_t bytes;
};

static inline const char *index_name(const struct lode_tensor_index *ix,
                                     const struct index_record *r)
{
    return ix->names + r->name;
}
