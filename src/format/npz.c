/* npz: a zip of npy members. Each member is a tensor, called as the member is, without ".npy".
 *
 * A stored member is one raw extent at whatever offset it has; a deflated one is an extent of codec
 * "deflate" whose first raw bytes are the npy header. Of deflated members only as much is unpacked
 * here as holds that header. Members that are no npy are passed over, but a pickle among them is
 * refused: it is there to be run.
 */
#include "format/formats.h"
#include <stdio.h>
#include <string.h>
#include <zlib.h>
#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "format/index.h"
#include "format/npy_header.h"
#include "format/zip.h"

enum { DEFLATED_PIECE = 4096 };

enum phase { P_TAIL, P_DIRECTORY, P_LOCAL, P_HEADER, P_DONE };

struct npz {
    struct lode_format base;
    const struct lode_format_file *file; /* borrowed */
    struct lode_index_builder *into;     /* borrowed */
    enum phase phase;
    struct lode_buf bytes;     /* tail, local header, or npy header (raw), as the phase says */
    struct lode_buf directory; /* its bytes: names lie there */
    struct zip_directory dir;
    struct zip_member *members; /* owned */
    size_t n, at;
    uint64_t data;  /* byte of the file where the member's data begin */
    uint64_t eaten; /* bytes of the member's stored data fed so far */
    size_t total;   /* of the npy header with its prelude; 0 until known */
    bool inflating; /* z is live */
    z_stream z;
    char what[256]; /* "w.npz, member 'a.npy'" */
};

static bool ends(const char *s, size_t n, const char *suffix)
{
    size_t m = strlen(suffix);
    return n > m && memcmp(s + n - m, suffix, m) == 0;
}

static enum lode_format_match npz_match(const struct lode_format_file *f)
{
    return ends(f->path, strlen(f->path), ".npz") ? LODE_FORMAT_BY_NAME : LODE_FORMAT_NO;
}

static int npz_open(const struct lode_format_file *files, size_t n, struct lode_index_builder *into,
                    struct lode_format **out, struct lode_err *err)
{
    struct npz *self = n == 1 ? lode_zalloc(sizeof *self) : NULL;
    if (!self)
        return lode_err_nomem(err, "the npz parser");
    self->file = files;
    self->into = into;
    self->bytes = LODE_BUF_INIT(LODE_NPY_HEADER_MAX + NPY_PRELUDE_MAX);
    self->directory = LODE_BUF_INIT(LODE_ZIP_DIRECTORY_MAX);
    *out = &self->base;
    return 0;
}

static void stop_inflating(struct npz *self)
{
    if (self->inflating)
        inflateEnd(&self->z);
    self->inflating = false;
}

static void npz_close(struct lode_format *base)
{
    struct npz *self = lode_container_of(base, struct npz, base);
    stop_inflating(self);
    lode_buf_release(&self->bytes);
    lode_buf_release(&self->directory);
    lode_free(self->members);
    lode_free(self);
}

/* ---- unpacking the front of a member ---- */

static void *z_alloc(void *opaque, unsigned n, unsigned size)
{
    return lode_calloc(n, size);
}

static void z_free(void *opaque, void *p)
{
    lode_free(p);
}

static int start_inflating(struct npz *self, struct lode_err *err)
{
    self->z = (z_stream){.zalloc = z_alloc, .zfree = z_free};
    if (inflateInit2(&self->z, -MAX_WBITS) != Z_OK)
        return lode_err_nomem(err, self->what);
    self->inflating = true;
    return 0;
}

/* Raw bytes wanted of the member's front. */
static uint64_t wanted(const struct npz *self)
{
    uint64_t want = self->total ? self->total : NPY_PRELUDE_MAX;
    return lode_min(want, self->members[self->at].raw_len);
}

/* Unpacks until the front is there; the prelude, once read, raises what is wanted. */
static int inflate_front(struct npz *self, const void *bytes, size_t len, struct lode_err *err)
{
    self->z.next_in = (Bytef *)(uintptr_t)bytes;
    self->z.avail_in = (unsigned)len;
    while (self->bytes.len < wanted(self)) {
        size_t room = wanted(self) - self->bytes.len;
        self->z.next_out = lode_buf_reserve(&self->bytes, room);
        if (!self->z.next_out)
            return lode_buf_check(&self->bytes, self->what, err);
        self->z.avail_out = (unsigned)room;
        int r = inflate(&self->z, Z_NO_FLUSH);
        self->bytes.len += room - self->z.avail_out;
        if (r == Z_MEM_ERROR)
            return lode_err_nomem(err, self->what);
        bool more = r == Z_OK || (r == Z_STREAM_END && self->bytes.len >= wanted(self)) ||
                    (r == Z_BUF_ERROR && self->z.avail_in == 0);
        if (!more)
            return lode_err_set(err, LODE_INVALID, "%s cannot be unpacked: %s", self->what,
                                self->z.msg ? self->z.msg : "its data end early");
        if (self->z.avail_out == room && self->z.avail_in == 0)
            return 0;
        if (!self->total && self->bytes.len == NPY_PRELUDE_MAX) {
            int e = npy_prelude((const uint8_t *)self->bytes.data, self->bytes.len, self->what,
                                &self->total, err);
            if (e < 0)
                return e;
        }
    }
    return 0;
}

/* ---- member after member ---- */

static int add_member(struct npz *self, struct lode_err *err)
{
    const struct zip_member *m = &self->members[self->at];
    struct npy_header h;
    int e = npy_parse((const uint8_t *)self->bytes.data, self->total, self->what, &h, err);
    if (e < 0)
        return e;
    if (h.len != m->raw_len - h.total)
        return lode_err_set(err, LODE_INVALID,
                            "%s: its array takes %llu bytes, but the member has %llu", self->what,
                            (unsigned long long)h.len, (unsigned long long)(m->raw_len - h.total));
    struct lode_tensor t = {.dtype = h.dtype,
                            .rank = h.rank,
                            .shape = h.shape,
                            .file = self->file->number,
                            .offset = self->data + h.total,
                            .len = h.len,
                            .fortran_order = h.fortran_order};
    struct lode_extent x = {"deflate",     self->file->number, self->data,
                            m->stored_len, m->raw_len,         h.total};
    if (m->method == ZIP_STORED)
        e = lode_index_add(self->into, m->name, m->name_len - 4u, &t, err);
    else
        e = lode_index_add_extents(self->into, m->name, m->name_len - 4u, &t, &x, 1, err);
    if (e < 0)
        lode_err_prefix(err, "%s", self->what);
    return e;
}

static bool is_pickle(const struct zip_member *m)
{
    return ends(m->name, m->name_len, ".pkl") || ends(m->name, m->name_len, ".pickle");
}

/* Goes to the next member that is an array. */
static int next_member(struct npz *self, struct lode_err *err)
{
    stop_inflating(self);
    lode_buf_clear(&self->bytes);
    self->total = 0;
    self->eaten = 0;
    for (; self->at < self->n; self->at++) {
        const struct zip_member *m = &self->members[self->at];
        if (is_pickle(m))
            return lode_err_set(
                err, LODE_INVALID,
                "%s holds the pickle %s, which is refused: store it as a file of its own",
                self->file->path, lode_qn(m->name, m->name_len));
        if (!ends(m->name, m->name_len, ".npy"))
            continue;
        snprintf(self->what, sizeof self->what, "%s, member %s", self->file->path,
                 lode_qn(m->name, m->name_len));
        self->phase = P_LOCAL;
        return 0;
    }
    self->phase = P_DONE;
    return 0;
}

static int read_local(struct npz *self, struct lode_err *err)
{
    const struct zip_member *m = &self->members[self->at];
    int e = zip_data((const uint8_t *)self->bytes.data, m, self->file->path, &self->data, err);
    lode_buf_clear(&self->bytes);
    self->phase = P_HEADER;
    if (e == 0 && m->raw_len < 10)
        e = lode_err_set(err, LODE_INVALID, "%s is too short for an npy", self->what);
    if (e == 0 && m->method == ZIP_DEFLATED)
        e = start_inflating(self, err);
    return e;
}

/* What the front holds so far: its length, or all of it. */
static int read_front(struct npz *self, struct lode_err *err)
{
    const struct zip_member *m = &self->members[self->at];
    int e = 0;
    if (!self->total)
        e = npy_prelude((const uint8_t *)self->bytes.data, self->bytes.len, self->what,
                        &self->total, err);
    if (e == 0 && self->total > m->raw_len)
        e = lode_err_set(err, LODE_INVALID,
                         "%s: its npy header takes %zu bytes, but the member has %llu", self->what,
                         self->total, (unsigned long long)m->raw_len);
    if (e < 0 || self->bytes.len < self->total)
        return e;
    e = add_member(self, err);
    self->at++;
    return e < 0 ? e : next_member(self, err);
}

static int read_tail(struct npz *self, struct lode_err *err)
{
    const uint8_t *tail = (const uint8_t *)self->bytes.data;
    int e = zip_find(tail, self->bytes.len, self->file->size, self->file->path, &self->dir, err);
    lode_buf_clear(&self->bytes);
    self->phase = P_DIRECTORY;
    return e;
}

static int read_directory(struct npz *self, struct lode_err *err)
{
    int e = zip_members((const uint8_t *)lode_buf_str(&self->directory), &self->dir,
                        self->file->path, &self->members, &self->n, err);
    return e < 0 ? e : next_member(self, err);
}

/* ---- what is wanted next ---- */

/* False when the phase has all its bytes. */
static bool wants(const struct npz *self, struct lode_format_need *need)
{
    const struct zip_member *m = self->members ? &self->members[self->at] : NULL;
    uint64_t size = self->file->size, tail = lode_min(size, (uint64_t)ZIP_TAIL_MAX), from = 0,
             have = 0, want = 0;
    switch (self->phase) {
    case P_TAIL:
        from = size - tail;
        have = self->bytes.len;
        want = tail;
        break;
    case P_DIRECTORY:
        from = self->dir.offset;
        have = self->directory.len;
        want = self->dir.len;
        break;
    case P_LOCAL:
        from = m->local;
        have = self->bytes.len;
        want = (uint64_t)ZIP_LOCAL + m->name_len;
        break;
    default:
        from = self->data;
        have = self->eaten;
        want = m->method == ZIP_STORED           ? wanted(self)
               : self->bytes.len >= wanted(self) ? have
                                                 : lode_min(have + DEFLATED_PIECE, m->stored_len);
        break;
    }
    *need = (struct lode_format_need){self->file->number, from + have, want - have};
    return have < want;
}

static int advance(struct npz *self, struct lode_err *err)
{
    switch (self->phase) {
    case P_TAIL:
        return read_tail(self, err);
    case P_DIRECTORY:
        return read_directory(self, err);
    case P_LOCAL:
        return read_local(self, err);
    default:
        if (self->bytes.len < wanted(self))
            return lode_err_set(err, LODE_INVALID, "%s cannot be unpacked: its data end early",
                                self->what);
        return read_front(self, err);
    }
}

static int npz_step(struct lode_format *base, struct lode_format_need *need, struct lode_err *err)
{
    struct npz *self = lode_container_of(base, struct npz, base);
    while (self->phase != P_DONE) {
        if (wants(self, need))
            return LODE_FORMAT_NEED;
        int e = advance(self, err);
        if (e < 0)
            return e;
    }
    return LODE_FORMAT_DONE;
}

static int npz_feed(struct lode_format *base, const void *bytes, size_t len, struct lode_err *err)
{
    struct npz *self = lode_container_of(base, struct npz, base);
    struct lode_buf *to = self->phase == P_DIRECTORY ? &self->directory : &self->bytes;
    if (self->phase == P_HEADER) {
        self->eaten += len;
        if (self->members[self->at].method == ZIP_DEFLATED)
            return inflate_front(self, bytes, len, err);
    }
    lode_buf_add(to, bytes, len);
    return lode_buf_check(to, self->file->path, err);
}

const struct lode_format_ops lode_format_npz = {
    .abi = LODE_FORMAT_ABI,
    .name = "npz",
    .match = npz_match,
    .open = npz_open,
    .step = npz_step,
    .feed = npz_feed,
    .close = npz_close,
};
