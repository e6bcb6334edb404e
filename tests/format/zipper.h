/* Zip archives for the tests, right by default and wrong where a test says so. */
#pragma once
#include <zlib.h>
#include "format/files.h"

struct zip_entry {
    const char *name;
    const void *data;
    size_t len;
    bool deflated;
    bool descriptor; /* sizes behind the data, as a stream writer does */
    bool zip64;      /* sizes in a zip64 extra field, as NumPy does */
    /* filled by zip_add: places in the archive, for patching */
    size_t local, data_at, stored_len, central;
    uint32_t crc;
};

static inline void put(struct lode_buf *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        lode_buf_addc(b, (char)(i < 8 ? v >> (8 * i) : 0));
}

static inline void patch(struct lode_buf *b, size_t at, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        b->data[at + (size_t)i] = (char)(v >> (8 * i));
}

static inline size_t deflated(const void *data, size_t len, void *out, size_t room)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data,
                  .avail_in = (unsigned)len,
                  .next_out = out,
                  .avail_out = (unsigned)room};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = z.total_out;
    deflateEnd(&z);
    return n;
}

static inline void put_sizes(struct lode_buf *b, const struct zip_entry *e, bool known)
{
    put(b, known ? e->crc : 0, 4);
    put(b, e->zip64 ? 0xffffffff : known ? e->stored_len : 0, 4);
    put(b, e->zip64 ? 0xffffffff : known ? e->len : 0, 4);
}

static inline void zip_add(struct lode_buf *b, struct zip_entry *e)
{
    size_t room = e->len + 1024, n = strlen(e->name);
    void *out = malloc(room);
    e->stored_len = e->deflated ? deflated(e->data, e->len, out, room) : e->len;
    e->crc = (uint32_t)crc32(0, e->data, (unsigned)e->len);
    e->local = b->len;
    put(b, 0x04034b50, 4);
    put(b, e->zip64 ? 45 : 20, 2);
    put(b, e->descriptor ? 8 : 0, 2);
    put(b, e->deflated ? 8 : 0, 2);
    put(b, 0, 4);
    put_sizes(b, e, !e->descriptor);
    put(b, n, 2);
    put(b, e->zip64 ? 20 : 0, 2);
    lode_buf_add(b, e->name, n);
    if (e->zip64) {
        put(b, 1, 2);
        put(b, 16, 2);
        put(b, e->len, 8);
        put(b, e->stored_len, 8);
    }
    e->data_at = b->len;
    lode_buf_add(b, e->deflated ? out : e->data, e->stored_len);
    if (e->descriptor) {
        put(b, 0x08074b50, 4);
        put(b, e->crc, 4);
        put(b, e->stored_len, 4);
        put(b, e->len, 4);
    }
    free(out);
}

/* The directory and the end record (zip64 ones too when asked). Returns where the end record
 * begins. */
static inline size_t zip_end(struct lode_buf *b, struct zip_entry *entries, size_t n, bool zip64)
{
    size_t start = b->len;
    for (size_t i = 0; i < n; i++) {
        struct zip_entry *e = &entries[i];
        e->central = b->len;
        put(b, 0x02014b50, 4);
        put(b, 45, 2);
        put(b, 45, 2);
        put(b, e->descriptor ? 8 : 0, 2);
        put(b, e->deflated ? 8 : 0, 2);
        put(b, 0, 4);
        put_sizes(b, e, true);
        put(b, strlen(e->name), 2);
        put(b, e->zip64 ? 20 : 0, 2);
        put(b, 0, 2 + 2 + 2 + 4);
        put(b, e->local, 4);
        lode_buf_add(b, e->name, strlen(e->name));
        if (e->zip64) {
            put(b, 1, 2);
            put(b, 16, 2);
            put(b, e->len, 8);
            put(b, e->stored_len, 8);
        }
    }
    size_t len = b->len - start, end64 = b->len;
    if (zip64) {
        put(b, 0x06064b50, 4);
        put(b, 44, 8);
        put(b, 45, 2);
        put(b, 45, 2);
        put(b, 0, 8);
        put(b, n, 8);
        put(b, n, 8);
        put(b, len, 8);
        put(b, start, 8);
        put(b, 0x07064b50, 4);
        put(b, 0, 4);
        put(b, end64, 8);
        put(b, 1, 4);
    }
    size_t end = b->len;
    put(b, 0x06054b50, 4);
    put(b, 0, 4);
    put(b, zip64 ? 0xffff : n, 2);
    put(b, zip64 ? 0xffff : n, 2);
    put(b, zip64 ? 0xffffffff : len, 4);
    put(b, zip64 ? 0xffffffff : start, 4);
    put(b, 0, 2);
    return end;
}
