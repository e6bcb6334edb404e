/* Zip archives: see format/zip.h.
 *
 * Records (little-endian): the end record PK\5\6 (22 bytes and a comment), before it the zip64
 * locator PK\6\7 (20) and the zip64 end record PK\6\6 (56 and more); directory entries PK\1\2 (46,
 * name, extra, comment); local headers PK\3\4 (30, name, extra).
 */
#include "format/zip.h"
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/size.h"
#include "format/sort.h"

enum { END = 22, LOCATOR = 20, END64 = 56, ENTRY = 46 };
enum { FLAG_ENCRYPTED = 1, FLAG_DESCRIPTOR = 8, FLAG_STRONG = 64 };

static uint16_t le16(const uint8_t *b)
{
    return (uint16_t)(b[0] | b[1] << 8);
}

static uint32_t le32(const uint8_t *b)
{
    return le16(b) | (uint32_t)le16(b + 2) << 16;
}

static uint64_t le64(const uint8_t *b)
{
    return le32(b) | (uint64_t)le32(b + 4) << 32;
}

/* ---- finding the directory ---- */

/* The end record whose comment reaches exactly to the end. */
static const uint8_t *find_end(const uint8_t *tail, size_t n)
{
    for (size_t at = n < END ? 0 : n - END + 1; at-- > 0;) {
        if (memcmp(tail + at, "PK\5\6", 4) == 0 && at + END + le16(tail + at + 20) == n)
            return tail + at;
        if (n - at >= END + 65535)
            break;
    }
    return NULL;
}

static bool needs_zip64(const uint8_t *end)
{
    return le16(end + 8) == 0xffff || le16(end + 10) == 0xffff || le32(end + 12) == 0xffffffff ||
           le32(end + 16) == 0xffffffff;
}

/* Fills `out` from the zip64 end record; *records is the byte where the end records begin. */
static int find_end64(const uint8_t *tail, const uint8_t *end, uint64_t size, size_t n,
                      const char *what, struct zip_directory *out, uint64_t *records,
                      struct lode_err *err)
{
    uint64_t base = size - n;
    const uint8_t *locator = end - tail >= LOCATOR ? end - LOCATOR : NULL;
    if (!locator || memcmp(locator, "PK\6\7", 4) != 0)
        return lode_err_set(err, LODE_INVALID, "%s: the zip64 locator is missing", what);
    uint64_t at = le64(locator + 8), limit = base + (uint64_t)(locator - tail);
    if (le32(locator + 4) != 0 || le32(locator + 16) > 1)
        return lode_err_set(err, LODE_UNSUPPORTED, "%s is one of several zip disks", what);
    if (at < base || at > limit || limit - at < END64 ||
        memcmp(tail + (at - base), "PK\6\6", 4) != 0)
        return lode_err_set(err, LODE_INVALID,
                            "%s: the zip64 end record is not where its locator says", what);
    const uint8_t *e = tail + (at - base);
    if (le32(e + 16) != 0 || le32(e + 20) != 0 || le64(e + 24) != le64(e + 32))
        return lode_err_set(err, LODE_UNSUPPORTED, "%s is one of several zip disks", what);
    *out = (struct zip_directory){.n = le64(e + 32), .len = le64(e + 40), .offset = le64(e + 48)};
    *records = at;
    return 0;
}

int zip_find(const uint8_t *tail, size_t n, uint64_t size, const char *what,
             struct zip_directory *out, struct lode_err *err)
{
    struct zip_directory dir;
    const uint8_t *end = find_end(tail, n);
    if (!end)
        return lode_err_set(err, LODE_INVALID,
                            "%s has no zip directory: it was cut short, or is no npz file", what);
    uint64_t records = size - n + (uint64_t)(end - tail), stop;
    if (needs_zip64(end)) {
        int e = find_end64(tail, end, size, n, what, &dir, &records, err);
        if (e < 0)
            return e;
    } else {
        if (le16(end + 4) != 0 || le16(end + 6) != 0 || le16(end + 8) != le16(end + 10))
            return lode_err_set(err, LODE_UNSUPPORTED, "%s is one of several zip disks", what);
        dir = (struct zip_directory){
            .n = le16(end + 10), .len = le32(end + 12), .offset = le32(end + 16)};
    }
    if (!lode_add_u64(dir.offset, dir.len, &stop) || stop != records)
        return lode_err_set(
            err, LODE_INVALID,
            "%s: the zip directory (%llu bytes at %llu) does not end where its end record is", what,
            (unsigned long long)dir.len, (unsigned long long)dir.offset);
    if (dir.n > LODE_ZIP_ENTRIES_MAX || dir.len > LODE_ZIP_DIRECTORY_MAX)
        return lode_err_set(
            err, LODE_LIMIT,
            "%s has %llu members in a directory of %llu bytes; the limits are %d and %u", what,
            (unsigned long long)dir.n, (unsigned long long)dir.len, LODE_ZIP_ENTRIES_MAX,
            LODE_ZIP_DIRECTORY_MAX);
    if (dir.n > dir.len / ENTRY)
        return lode_err_set(err, LODE_INVALID,
                            "%s: %llu members do not fit in a directory of %llu bytes", what,
                            (unsigned long long)dir.n, (unsigned long long)dir.len);
    *out = dir;
    return 0;
}

/* ---- reading the directory ---- */

static int refuse(const struct zip_member *m, const char *what, struct lode_err *err, int code,
                  const char *why)
{
    return lode_err_set(err, code, "%s: its member %s %s", what, lode_qn(m->name, m->name_len),
                        why);
}

/* Takes the 64-bit values, in their order, for the fields that say so. */
static bool apply_zip64(const uint8_t *extra, size_t len, uint64_t *fields[3], const bool want[3])
{
    while (len >= 4) {
        size_t body = le16(extra + 2);
        if (body > len - 4)
            return false;
        if (le16(extra) == 1) {
            const uint8_t *at = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (!want[i])
                    continue;
                if (body < 8)
                    return false;
                *fields[i] = le64(at);
                at += 8;
                body -= 8;
            }
            return true;
        }
        extra += 4 + body;
        len -= 4 + body;
    }
    return !want[0] && !want[1] && !want[2];
}

static int check_entry(const uint8_t *b, const struct zip_member *m, const char *what,
                       struct lode_err *err)
{
    if (!LODE_PLANTED(zip_slip) && lode_path_check(m->name, m->name_len, err) < 0) {
        lode_err_prefix(err, "%s: a member's name", what);
        return LODE_INVALID;
    }
    if (memchr(m->name, '\\', m->name_len))
        return refuse(m, what, err, LODE_INVALID, "has a backslash in its name");
    if (le16(b + 8) & (FLAG_ENCRYPTED | FLAG_STRONG))
        return refuse(m, what, err, LODE_UNSUPPORTED, "is encrypted");
    if (m->method != ZIP_STORED && m->method != ZIP_DEFLATED)
        return refuse(m, what, err, LODE_UNSUPPORTED, "is neither stored nor deflated");
    if (m->method == ZIP_STORED && m->stored_len != m->raw_len)
        return refuse(m, what, err, LODE_INVALID, "is stored, but has two lengths");
    /* Deflate cannot do better than 1032 to 1: more is a lie. */
    if (m->method == ZIP_DEFLATED && m->raw_len / 1032 > m->stored_len)
        return refuse(m, what, err, LODE_INVALID, "claims to unpack to more than deflate can");
    return 0;
}

/* One entry of at most `room` bytes; *used is its length. A folder has m->name_len 0. */
static int read_entry(const uint8_t *b, size_t room, const char *what, struct zip_member *m,
                      size_t *used, struct lode_err *err)
{
    if (room < ENTRY || memcmp(b, "PK\1\2", 4) != 0)
        return lode_err_set(err, LODE_INVALID, "%s: its zip directory is malformed", what);
    size_t name = le16(b + 28), extra = le16(b + 30), comment = le16(b + 32);
    if (name + extra + comment > room - ENTRY)
        return lode_err_set(err, LODE_INVALID, "%s: its zip directory is malformed", what);
    *m = (struct zip_member){.method = le16(b + 10),
                             .stored_len = le32(b + 20),
                             .raw_len = le32(b + 24),
                             .local = le32(b + 42),
                             .name = (const char *)b + ENTRY,
                             .name_len = (uint16_t)name};
    uint64_t *fields[3] = {&m->raw_len, &m->stored_len, &m->local};
    bool want[3] = {m->raw_len == 0xffffffff, m->stored_len == 0xffffffff, m->local == 0xffffffff};
    *used = ENTRY + name + extra + comment;
    if (!apply_zip64(b + ENTRY + name, extra, fields, want))
        return refuse(m, what, err, LODE_INVALID, "has a malformed extra field");
    if (le16(b + 34) != 0)
        return refuse(m, what, err, LODE_UNSUPPORTED, "lies on another zip disk");
    if (name && m->name[name - 1] == '/' && m->raw_len == 0) {
        m->name_len = 0;
        return 0;
    }
    return check_entry(b, m, what, err);
}

static int by_place(const void *arg, uint32_t a, uint32_t b)
{
    const struct zip_member *m = arg;
    return (m[a].local > m[b].local) - (m[a].local < m[b].local);
}

static int by_name(const void *arg, uint32_t a, uint32_t b)
{
    const struct zip_member *x = (const struct zip_member *)arg + a,
                            *y = (const struct zip_member *)arg + b;
    int order = memcmp(x->name, y->name, lode_min(x->name_len, y->name_len));
    return order ? order : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static int check_names(const struct zip_member *m, uint32_t *order, size_t n, const char *what,
                       struct lode_err *err)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    if (lode_sort_u32(order, n, by_name, m) < 0)
        return lode_err_nomem(err, what);
    for (size_t i = 1; i < n; i++) {
        if (by_name(m, order[i - 1], order[i]) == 0 && !LODE_PLANTED(zip_duplicate_names))
            return refuse(&m[order[i]], what, err, LODE_INVALID, "comes twice");
    }
    return 0;
}

/* Each member's room: up to the next one's header. At the least its own header, name and data must
 * fit. */
static int check_places(struct zip_member *m, uint32_t *order, size_t n, uint64_t directory,
                        const char *what, struct lode_err *err)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    if (lode_sort_u32(order, n, by_place, m) < 0)
        return lode_err_nomem(err, what);
    for (size_t i = 0; i < n; i++) {
        struct zip_member *x = &m[order[i]];
        uint64_t least;
        x->end = i + 1 < n ? m[order[i + 1]].local : directory;
        if (!lode_add_u64(x->local, (uint64_t)ZIP_LOCAL + x->name_len, &least) ||
            !lode_add_u64(least, x->stored_len, &least) ||
            (least > x->end && !LODE_PLANTED(zip_overlap)))
            return refuse(x, what, err, LODE_INVALID, "overlaps the next, or the end of the file");
    }
    return 0;
}

static int check_bomb(const struct zip_member *m, size_t n, const struct zip_directory *dir,
                      const char *what, struct lode_err *err)
{
    uint64_t raw = 0, archive = dir->offset + dir->len;
    for (size_t i = 0; i < n; i++) {
        if (!lode_add_u64(raw, m[i].raw_len, &raw))
            return refuse(&m[i], what, err, LODE_INVALID,
                          "makes the whole larger than 64 bits can count");
    }
    if (raw > LODE_ZIP_BOMB_BYTES && raw / LODE_ZIP_BOMB_RATIO > archive)
        return lode_err_set(err, LODE_INVALID,
                            "%s has %llu bytes but claims to unpack to %llu, more than %d times as "
                            "much: a zip bomb",
                            what, (unsigned long long)archive, (unsigned long long)raw,
                            LODE_ZIP_BOMB_RATIO);
    return 0;
}

static void put_in_order(struct zip_member *to, const struct zip_member *from,
                         const uint32_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = from[order[i]];
}

int zip_members(const uint8_t *bytes, const struct zip_directory *dir, const char *what,
                struct zip_member **out, size_t *n_out, struct lode_err *err)
{
    _cleanup_free_ struct zip_member *m = lode_calloc(dir->n, sizeof *m);
    _cleanup_free_ struct zip_member *placed = lode_calloc(dir->n, sizeof *m);
    _cleanup_free_ uint32_t *order = lode_calloc(dir->n, sizeof *order);
    size_t at = 0, n = 0, used = 0;
    if (!m || !placed || !order)
        return lode_err_nomem(err, what);
    for (uint64_t i = 0; i < dir->n; i++, at += used) {
        int e = read_entry(bytes + at, (size_t)dir->len - at, what, &m[n], &used, err);
        if (e < 0)
            return e;
        n += m[n].name_len > 0;
    }
    if (at != dir->len)
        return lode_err_set(err, LODE_INVALID, "%s: its zip directory holds more than its members",
                            what);
    int e = check_names(m, order, n, what, err);
    if (e == 0)
        e = check_bomb(m, n, dir, what, err);
    if (e == 0)
        e = check_places(m, order, n, dir->offset, what, err);
    if (e < 0)
        return e;
    put_in_order(placed, m, order, n);
    *out = lode_steal(placed);
    *n_out = n;
    return 0;
}

int zip_data(const uint8_t *local, const struct zip_member *m, const char *what, uint64_t *out,
             struct lode_err *err)
{
    bool later =
        le16(local + 6) & FLAG_DESCRIPTOR; /* sizes follow the data: only the directory's count */
    uint32_t stored = le32(local + 18), raw = le32(local + 22);
    if (memcmp(local, "PK\3\4", 4) != 0)
        return refuse(m, what, err, LODE_INVALID, "is not where the directory says");
    if (le16(local + 26) != m->name_len || memcmp(local + ZIP_LOCAL, m->name, m->name_len) != 0 ||
        le16(local + 8) != m->method)
        return refuse(m, what, err, LODE_INVALID,
                      "has another name or method in its own header than in the directory");
    if (!later && ((stored != 0xffffffff && stored != m->stored_len) ||
                   (raw != 0xffffffff && raw != m->raw_len)))
        return refuse(m, what, err, LODE_INVALID,
                      "has another length in its own header than in the directory");
    uint64_t data = m->local + ZIP_LOCAL + m->name_len + le16(local + 28);
    if (data > m->end || m->stored_len > m->end - data)
        return refuse(m, what, err, LODE_INVALID, "overlaps the next, or the end of the file");
    *out = data;
    return 0;
}
