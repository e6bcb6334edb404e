/* Files in memory for the format tests: a set of (path, bytes) goes through the driver, and what
 * comes back is looked at. Reads beyond a file fail the test: the parsers promise never to ask for
 * them. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/attr.h"
#include "base/buf.h"
#include "base/limits.h"
#include "format/format.h"

struct bytes {
    uint8_t *at;
    size_t len;
};

struct set {
    struct lode_format_input inputs[16];
    struct bytes bytes[16];
    size_t n;
    uint64_t read; /* bytes asked for */
};

static inline void set_add(struct set *s, const char *path, const void *bytes, size_t len)
{
    assert_true(s->n < LODE_ARRAY_LEN(s->inputs));
    s->inputs[s->n] = (struct lode_format_input){.path = path, .size = len};
    s->bytes[s->n].at = malloc(len ? len : 1);
    s->bytes[s->n].len = len;
    if (len)
        memcpy(s->bytes[s->n].at, bytes, len);
    s->n++;
}

static inline void set_release(struct set *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->bytes[i].at);
    *s = (struct set){0};
}

static inline int set_read(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                           struct lode_err *err)
{
    struct set *s = arg;
    assert_true(number < s->n);
    assert_true(offset <= s->bytes[number].len && len <= s->bytes[number].len - offset);
    memcpy(into, s->bytes[number].at + offset, len);
    s->read += len;
    return 0;
}

static inline int set_index(struct set *s, struct lode_tensor_index **out, struct lode_err *err)
{
    *out = NULL;
    return lode_format_index_files(s->inputs, s->n, set_read, s, out, err);
}

/* A safetensors file: the length, the header, and data_len bytes 0, 1, 2 ... */
static inline struct bytes safetensors_of(const char *header, size_t header_len, size_t data_len)
{
    struct bytes b = {.len = 8 + header_len + data_len};
    b.at = malloc(b.len);
    for (int i = 0; i < 8; i++)
        b.at[i] = (uint8_t)((uint64_t)header_len >> (8 * i));
    memcpy(b.at + 8, header, header_len);
    for (size_t i = 0; i < data_len; i++)
        b.at[8 + header_len + i] = (uint8_t)i;
    return b;
}

static inline void set_add_safetensors(struct set *s, const char *path, const char *header,
                                       size_t data_len)
{
    struct bytes b = safetensors_of(header, strlen(header), data_len);
    set_add(s, path, b.at, b.len);
    free(b.at);
}
