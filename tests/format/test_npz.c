/* npz: stored and deflated members, zip64, descriptors; bombs, slips, overlaps and lies of every
 * field. */
#include <stdio.h>
#include "codec/codec.h"
#include "format/zipper.h"

/* A (3, 4) array of u2 with the values 0 ... 11, header of 128 bytes. */
static struct bytes array(void)
{
    static const char front[] =
        "\x93NUMPY\1\0\x76\0{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), }";
    struct bytes b = {.len = 128 + 24};
    b.at = calloc(1, b.len);
    memset(b.at, ' ', 128);
    memcpy(b.at, front, sizeof front - 1);
    b.at[127] = '\n';
    for (int i = 0; i < 12; i++)
        b.at[128 + 2 * i] = (uint8_t)i;
    return b;
}

static int index_buf(const struct lode_buf *b, struct lode_tensor_index **ix, const char **format,
                     struct lode_err *err)
{
    struct set s = {0};
    *ix = NULL;
    set_add(&s, "dir/w.npz", b->data, b->len);
    int r = set_index(&s, ix, err);
    if (format)
        *format = s.inputs[0].format;
    set_release(&s);
    return r;
}

static void check_array(const struct lode_tensor_index *ix, size_t i,
                        const struct lode_buf *archive)
{
    struct lode_tensor t = lode_index_get(ix, i);
    struct lode_extent x = lode_index_extent(ix, i, 0);
    assert_int_equal(t.dtype, LODE_DTYPE_U16);
    assert_int_equal(t.rank, 2);
    assert_int_equal(t.len, 24);
    assert_int_equal(lode_index_extents(ix, i), 1);
    uint8_t raw[256];
    assert_true(x.raw_len <= sizeof raw && x.offset + x.stored_len <= archive->len);
    const struct lode_codec_ops *codec = lode_codec_find(x.codec);
    assert_int_equal(codec->decode(archive->data + x.offset, x.stored_len, raw, x.raw_len, NULL),
                     0);
    for (int k = 0; k < 12; k++)
        assert_int_equal(raw[x.raw_skip + 2 * (size_t)k], k);
    assert_int_equal(x.raw_len - x.raw_skip, 24);
}

static void every_kind_of_member(void **state)
{
    struct bytes a = array();
    for (unsigned kinds = 0; kinds < 16; kinds++) {
        _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
        _cleanup_index_ struct lode_tensor_index *ix = NULL;
        struct zip_entry e[] = {
            {"b/c.npy", a.at, a.len}, {"readme.txt", "hi", 2}, {"a.npy", a.at, a.len}};
        struct lode_err err = {0};
        for (size_t i = 0; i < 3; i++) {
            e[i].deflated = kinds & 1;
            e[i].descriptor = kinds & 2;
            e[i].zip64 = (kinds & 4) && !(kinds & 2);
            zip_add(&b, &e[i]);
        }
        zip_end(&b, e, 3, kinds & 8);
        if (index_buf(&b, &ix, NULL, &err) < 0)
            fail_msg("%u: %s", kinds, err.text);
        assert_int_equal(lode_index_count(ix), 2);
        assert_string_equal(lode_index_get(ix, 0).name, "a");
        assert_string_equal(lode_index_get(ix, 1).name, "b/c");
        check_array(ix, 0, &b);
        check_array(ix, 1, &b);
        assert_int_equal(lode_index_get(ix, 0).direct, !(kinds & 1));
        if (!(kinds & 1))
            assert_int_equal(lode_index_get(ix, 0).offset, e[2].data_at + 128);
    }
    free(a.at);
}

static void empty_archive(void **state)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
    _cleanup_index_ struct lode_tensor_index *ix = NULL;
    zip_end(&b, NULL, 0, false);
    assert_int_equal(index_buf(&b, &ix, NULL, NULL), 0);
    assert_int_equal(lode_index_count(ix), 0);
}

/* One array as "a.npy" and one as "b.npy"; returns the end record's place. */
static size_t two(struct lode_buf *b, struct zip_entry e[2], bool deflate, bool zip64)
{
    struct bytes a = array();
    e[0] = (struct zip_entry){"a.npy", a.at, a.len, .deflated = deflate};
    e[1] = (struct zip_entry){"b.npy", a.at, a.len, .deflated = deflate};
    zip_add(b, &e[0]);
    zip_add(b, &e[1]);
    size_t end = zip_end(b, e, 2, zip64);
    free(a.at);
    return end;
}

static void refuse_named(const char *name, const void *data, size_t len, const char *tells)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
    struct lode_tensor_index *ix;
    struct lode_err err = {0};
    struct zip_entry e = {name, data, len};
    zip_add(&b, &e);
    zip_end(&b, &e, 1, false);
    int r = index_buf(&b, &ix, NULL, &err);
    if (r != LODE_INVALID || !strstr(err.text, "dir/w.npz") || !strstr(err.text, tells))
        fail_msg("%s: %d %s", name, r, err.text);
}

static void names(void **state)
{
    static const char *const slips[] = {"../a.npy",  "a/../../b.npy", "/etc/a.npy", "a//b.npy",
                                        "./a.npy",   "a/..",          "",           "..\\a.npy",
                                        "c:\\a.npy", "a\n.npy",       "\xff.npy",   "a/./b.npy"};
    struct bytes a = array();
    for (size_t i = 0; i < LODE_ARRAY_LEN(slips); i++)
        refuse_named(slips[i], a.at, a.len, "member");
    refuse_named("m.pkl", "x", 1, "pickle");
    refuse_named("d/m.pickle", "x", 1, "pickle");
    refuse_named("a.npy", "", 0, "too short");
    refuse_named("a.npy", "\x93NUMPY\1\0\xff\xff", 10, "takes 65545 bytes");
    refuse_named("a.npy", "not an array", 12, "does not begin");
    refuse_named("a.npy", a.at, a.len - 1, "takes 24 bytes, but the member has 23");
    static const char object[] =
        "\x93NUMPY\1\0\x3f\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }      \n";
    refuse_named("a.npy", object, sizeof object - 1, "Python objects");
    free(a.at);
}

static void duplicate_names(void **state)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
    struct lode_tensor_index *ix;
    struct lode_err err = {0};
    struct zip_entry e[] = {{"readme", "1", 1}, {"x", "2", 1}, {"readme", "3", 1}};
    for (int i = 0; i < 3; i++)
        zip_add(&b, &e[i]);
    zip_end(&b, e, 3, false);
    assert_int_equal(index_buf(&b, &ix, NULL, &err), LODE_INVALID);
    assert_non_null(strstr(err.text, "'readme' comes twice"));
}

/* Fields of the records, at `at` bytes from their start; each value must be refused. */
struct lie {
    enum { LOCAL, CENTRAL, END } record;
    unsigned at;
    int bytes;
    uint64_t value;
};

static const struct lie lies[] = {
    {LOCAL, 0, 4, 0},
    {LOCAL, 8, 2, 8},
    {LOCAL, 8, 2, 99},
    {LOCAL, 18, 4, 151},
    {LOCAL, 18, 4, 0},
    {LOCAL, 22, 4, 153},
    {LOCAL, 22, 4, 0xfffffffe},
    {LOCAL, 26, 2, 0},
    {LOCAL, 26, 2, 4},
    {LOCAL, 26, 2, 6},
    {LOCAL, 26, 2, 0xffff},
    {LOCAL, 28, 2, 1},
    {LOCAL, 28, 2, 0xffff},
    {LOCAL, 30, 1, 'b'},
    {LOCAL, 34, 1, 0},
    {CENTRAL, 0, 4, 0},
    {CENTRAL, 10, 2, 8},
    {CENTRAL, 20, 4, 0},
    {CENTRAL, 20, 4, 151},
    {CENTRAL, 20, 4, 153},
    {CENTRAL, 20, 4, 0xfffffffe},
    {CENTRAL, 20, 4, 0xffffffff},
    {CENTRAL, 24, 4, 0},
    {CENTRAL, 24, 4, 151},
    {CENTRAL, 24, 4, 0xffffffff},
    {CENTRAL, 28, 2, 0},
    {CENTRAL, 28, 2, 4},
    {CENTRAL, 28, 2, 6},
    {CENTRAL, 28, 2, 0xffff},
    {CENTRAL, 30, 2, 1},
    {CENTRAL, 30, 2, 0xffff},
    {CENTRAL, 32, 2, 1},
    {CENTRAL, 32, 2, 0xffff},
    {CENTRAL, 42, 4, 1},
    {CENTRAL, 42, 4, 100},
    {CENTRAL, 42, 4, 0x7fffffff},
    {CENTRAL, 42, 4, 0xfffffffe},
    {CENTRAL, 42, 4, 0xffffffff},
    {CENTRAL, 46, 1, '/'},
    {CENTRAL, 46, 1, 'b'},
    {CENTRAL, 46, 1, 0},
    {END, 0, 4, 0},
    {END, 8, 4, 0x00010001},
    {END, 12, 4, 0},
    {END, 12, 4, 1},
    {END, 12, 4, 0xfffffffe},
    {END, 12, 4, 0xffffffff},
    {END, 16, 4, 0},
    {END, 16, 4, 1},
    {END, 16, 4, 0xfffffffe},
    {END, 16, 4, 0xffffffff},
    {END, 20, 2, 1},
    {END, 20, 2, 0xffff},
    {END, 8, 4, 0xffffffff},
    {END, 8, 4, 0x00030003},
    {END, 8, 4, 0xfffefffe},
    {END, 8, 4, 0},
};

static void lying_fields(void **state)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(lies); i++) {
        _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
        struct zip_entry e[2];
        struct lode_tensor_index *ix;
        struct lode_err err = {0};
        size_t end = two(&b, e, false, false);
        size_t base = lies[i].record == LOCAL     ? e[0].local
                      : lies[i].record == CENTRAL ? e[0].central
                                                  : end;
        patch(&b, base + lies[i].at, lies[i].value, lies[i].bytes);
        if (index_buf(&b, &ix, NULL, &err) != LODE_INVALID)
            fail_msg("record %d byte %u value %llx: %s", lies[i].record, lies[i].at,
                     (unsigned long long)lies[i].value, err.text);
    }
}

/* What is well-formed but beyond us keeps the file opaque. */
static void kept_opaque(void **state)
{
    static const struct lie rows[] = {
        {CENTRAL, 8, 2, 1},  {CENTRAL, 8, 2, 64}, {CENTRAL, 10, 2, 12}, {CENTRAL, 10, 2, 93},
        {CENTRAL, 34, 2, 1}, {END, 4, 2, 1},      {END, 6, 2, 1},       {END, 8, 2, 1}};
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
        _cleanup_index_ struct lode_tensor_index *ix = NULL;
        struct zip_entry e[2];
        const char *format;
        size_t end = two(&b, e, false, false);
        patch(&b, (rows[i].record == END ? end : e[1].central) + rows[i].at, rows[i].value,
              rows[i].bytes);
        assert_int_equal(index_buf(&b, &ix, &format, NULL), 0);
        assert_string_equal(format, "opaque");
        assert_int_equal(lode_index_count(ix), 0);
    }
}

static void lying_zip64(void **state)
{
    static const struct {
        unsigned back; /* bytes before the end record */
        uint64_t value;
        int bytes;
    } rows[] = {
        {20, 0, 4},
        {12, 0, 8},
        {12, UINT64_MAX, 8},
        {12, 1ull << 63, 8},
        {12, 1, 8},
        {76, 0, 4},
        {76 - 24, UINT64_MAX, 8},
        {76 - 32, UINT64_MAX, 8},
        {76 - 40, UINT64_MAX, 8},
        {76 - 48, UINT64_MAX, 8},
        {76 - 40, 0, 8},
        {76 - 48, 0, 8},
        {76 - 48, 1ull << 63, 8},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
        _cleanup_index_ struct lode_tensor_index *ix = NULL;
        struct zip_entry e[2];
        const char *format = "";
        size_t end = two(&b, e, false, true);
        patch(&b, end - rows[i].back, rows[i].value, rows[i].bytes);
        int r = index_buf(&b, &ix, &format, NULL);
        if (r != LODE_INVALID && strcmp(format, "opaque") != 0) /* several disks are UNSUPPORTED */
            fail_msg("row %zu: %d %s", i, r, format);
    }
}

static void cut_at_every_byte(void **state)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
        struct zip_entry e[2];
        struct lode_tensor_index *ix;
        two(&b, e, kind & 1, kind & 2);
        size_t whole = b.len;
        for (b.len = 0; b.len < whole; b.len++)
            assert_int_equal(index_buf(&b, &ix, NULL, NULL), LODE_INVALID);
    }
}

static void every_byte_changed(void **state)
{
    static const uint8_t flips[] = {1, 0x80, 0xff};
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
    struct zip_entry e[2];
    two(&b, e, true, true);
    for (size_t at = 0; at < b.len; at++) {
        for (size_t k = 0; k < sizeof flips; k++) {
            struct lode_tensor_index *ix;
            b.data[at] ^= (char)flips[k];
            if (index_buf(&b, &ix, NULL, NULL) == 0) {
                for (size_t i = 0; i < lode_index_count(ix); i++) {
                    struct lode_extent x = lode_index_extent(ix, i, 0);
                    assert_true(x.offset <= b.len && x.stored_len <= b.len - x.offset);
                }
                lode_index_unref(ix);
            }
            b.data[at] ^= (char)flips[k];
        }
    }
}

/* Two directory entries for one member's bytes: how a small archive unpacks to petabytes. */
static void overlapping_members(void **state)
{
    for (size_t shift = 0; shift < 200; shift += 10) {
        _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
        struct zip_entry e[2];
        struct lode_tensor_index *ix;
        struct lode_err err = {0};
        two(&b, e, false, false);
        if (e[0].local + shift >= e[1].local)
            break;
        patch(&b, e[1].central + 42, e[0].local + shift, 4);
        assert_int_equal(index_buf(&b, &ix, NULL, &err), LODE_INVALID);
        if (!strstr(err.text, "overlaps"))
            fail_msg("shift %zu: %s", shift, err.text);
    }
}

/* n members of 1 KiB, each claiming to unpack to raw_len bytes; a MiB of zeros, packed, is what
 * they hold. */
static void refuse_bomb(size_t n, uint64_t raw_len, const char *tells)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(64 << 20);
    struct lode_tensor_index *ix;
    struct lode_err err = {0};
    struct zip_entry e[2000];
    static uint8_t zeros[1 << 20], packed[4096];
    static char names[2000][16];
    size_t len = deflated(zeros, sizeof zeros, packed, sizeof packed);
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "%zu.npy", i);
        e[i] = (struct zip_entry){names[i], packed, len};
        zip_add(&b, &e[i]);
    }
    zip_end(&b, e, n, false);
    for (size_t i = 0; i < n; i++) {
        patch(&b, e[i].local + 8, 8, 2);
        patch(&b, e[i].central + 10, 8, 2);
        patch(&b, e[i].local + 22, raw_len, 4);
        patch(&b, e[i].central + 24, raw_len, 4);
    }
    assert_int_equal(index_buf(&b, &ix, NULL, &err), LODE_INVALID);
    if (!strstr(err.text, tells))
        fail_msg("%s", err.text);
}

static void bombs(void **state)
{
    refuse_bomb(2000, 1 << 20, "zip bomb");              /* 2,000 honest MiB of zeros in 2 MiB */
    refuse_bomb(1, 0xfffffffe, "more than deflate can"); /* 4 GiB claimed of 1 KiB */
}

/* Deflate data that break, end early, or go on behind the header. */
static void broken_deflate(void **state)
{
    struct bytes a = array();
    uint8_t packed[512];
    size_t n = deflated(a.at, a.len, packed, sizeof packed);
    for (size_t keep = 0; keep < n; keep++) {
        _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
        struct lode_tensor_index *ix;
        struct zip_entry e = {"a.npy", packed, keep};
        zip_add(&b, &e);
        zip_end(&b, &e, 1, false);
        patch(&b, e.local + 8, 8, 2);
        patch(&b, e.central + 10, 8, 2);
        patch(&b, e.local + 22, a.len, 4);
        patch(&b, e.central + 24, a.len, 4);
        int r = index_buf(&b, &ix, NULL, NULL);
        if (r == 0) { /* the header is whole: the codec tells, when the tensor is read */
            struct lode_extent x = lode_index_extent(ix, 0, 0);
            uint8_t raw[256];
            assert_int_equal(lode_codec_find("deflate")->decode(b.data + x.offset, x.stored_len,
                                                                raw, x.raw_len, NULL),
                             LODE_CORRUPT);
            lode_index_unref(ix);
        } else {
            assert_int_equal(r, LODE_INVALID);
        }
    }
    free(a.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_member),
        cmocka_unit_test(empty_archive),
        cmocka_unit_test(names),
        cmocka_unit_test(duplicate_names),
        cmocka_unit_test(lying_fields),
        cmocka_unit_test(kept_opaque),
        cmocka_unit_test(lying_zip64),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(every_byte_changed),
        cmocka_unit_test(overlapping_members),
        cmocka_unit_test(bombs),
        cmocka_unit_test(broken_deflate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
