/* What push refuses, and that nothing is left when it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/sys.h"
#include "coord/coord.h"
#include "support/fault_sys.h"
#include "support/root.h"

static struct lode *lode;
static char root[256];

static int setup(void **state)
{
    static unsigned number;
    snprintf(root, sizeof root, "%s/pushroot%u", root_scratch(), number++);
    root_remove_tree(root_path("in"));
    root_remove_tree(root_path("out"));
    root_remove_tree(root_path("cache"));
    mkdir(root_path("in"), 0777);
    lode = root_reopen(root);
    return 0;
}

static const char *models(void)
{
    return root_path("%s/models", root + strlen(root_scratch()) + 1);
}

/* Nothing but the root's own mark, nothing foreign, nothing to free. */
static void nothing_left(void)
{
    struct lode_err err = {0};
    struct lode_gc_options now = {0};
    char *text = NULL;
    size_t files;
    root_tree_bytes(models(), &files);
    assert_int_equal(files, 1);
    root_ok(lode_gc(lode, &now, &text, &err), &err);
    json_t *doc = json_loads(text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(doc, "freed")), 0);
    assert_int_equal(json_array_size(json_object_get(doc, "foreign")), 0);
    json_decref(doc);
    lode_string_free(text);
}

static int teardown(void **state)
{
    lode_close(lode);
    return 0;
}

static int push(const char *path, struct lode_err *err)
{
    return root_push(lode, "m", path, "v1", NULL, err);
}

static void missing_and_empty(void **state)
{
    struct lode_err err = {0};
    root_refused(push(root_path("nowhere"), &err), LODE_NOT_FOUND, &err, "nowhere");
    root_refused(push(root_path("in"), &err), LODE_INVALID, &err, "no file");
    mkdir(root_path("in/empty"), 0777);
    root_refused(push(root_path("in"), &err), LODE_INVALID, &err, "no file");
    struct lode_push_options none = {0};
    root_refused(lode_push(lode, "m", &none, NULL, &err), LODE_INVALID, &err, "nothing");
    nothing_left();
}

static void unreadable(void **state)
{
    struct lode_err err = {0};
    root_write(root_path("in/secret"), "x", 1);
    /* root reads everything: the kernel's answer to others, made by hand */
    fault_install();
    fault_fail(FAULT_OPEN, 1, EACCES, FAULT_STICKY);
    fault_only_below(root_path("in/secret"));
    int r = push(root_path("in"), &err);
    fault_disarm();
    fault_uninstall();
    root_refused(r, LODE_DENIED, &err, "secret");
    nothing_left();
}

static void links_that_leave(void **state)
{
    struct lode_err err = {0};
    const char *paths[] = {root_path("in")};
    struct lode_push_options follow = {.paths = paths, .n_paths = 1, .follow_links = true};
    root_write(root_path("out/weights"), "weights", 7);
    root_write(root_path("in/config"), "config", 6);
    assert_int_equal(symlink("../out/weights", root_path("in/link")), 0);
    root_refused(push(root_path("in"), &err), LODE_INVALID, &err, "in/link");
    assert_non_null(strstr(err.text, "out/weights"));
    assert_non_null(strstr(err.text, "--follow-links"));
    nothing_left();
    root_ok(lode_push(lode, "m", &follow, NULL, &err), &err);
    root_ok(lode_pull(lode, "m", root_path("out/copy"), NULL, NULL, NULL, &err), &err);
    struct stat st;
    assert_int_equal(lstat(root_path("out/copy/link"), &st), 0);
    assert_true(S_ISREG(st.st_mode) && st.st_size == 7);
}

static void links_that_stay(void **state)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    root_write(root_path("in/data/weights"), "weights", 7);
    assert_int_equal(symlink("data/weights", root_path("in/link")), 0);
    assert_int_equal(symlink("data", root_path("in/also")), 0);
    root_ok(root_push(lode, "m", root_path("in"), "v1", &v, &err), &err);
    assert_int_equal(v.files, 3);
    lode_version_release(&v);
    root_ok(lode_pull(lode, "m", root_path("out/copy"), NULL, NULL, NULL, &err), &err);
    size_t n;
    char *bytes = root_read(root_path("out/copy/also/weights"), &n);
    assert_int_equal(n, 7);
    free(bytes);
}

static void hugging_face_cache(void **state)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    root_write(root_path("in/models--x/blobs/abc"), "weights", 7);
    mkdir(root_path("in/models--x/snapshots"), 0777);
    mkdir(root_path("in/models--x/snapshots/rev"), 0777);
    assert_int_equal(symlink("../../blobs/abc", root_path("in/models--x/snapshots/rev/model.bin")),
                     0);
    root_ok(root_push(lode, "m", root_path("in/models--x/snapshots/rev"), "v1", &v, &err), &err);
    assert_int_equal(v.size, 7);
    lode_version_release(&v);
    root_write(root_path("in/models--y/blobs/abc"), "stolen", 6);
    assert_int_equal(
        symlink("../../../models--y/blobs/abc", root_path("in/models--x/snapshots/rev/other.bin")),
        0);
    root_refused(root_push(lode, "m", root_path("in/models--x/snapshots/rev"), "v2", NULL, &err),
                 LODE_INVALID, &err, "other.bin");
}

static void links_that_loop(void **state)
{
    struct lode_err err = {0};
    root_write(root_path("in/data/weights"), "weights", 7);
    assert_int_equal(symlink("..", root_path("in/data/up")), 0);
    assert_true(push(root_path("in"), &err) < 0);
    assert_non_null(strstr(err.text, "data/up"));
    unlink(root_path("in/data/up"));
    assert_int_equal(symlink("nothing", root_path("in/data/up")), 0);
    root_refused(push(root_path("in"), &err), LODE_NOT_FOUND, &err, "leads nowhere");
    nothing_left();
}

static void no_files(void **state)
{
    struct lode_err err = {0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    root_write(root_path("in/a"), "a", 1);
    assert_int_equal(mkfifo(root_path("in/pipe"), 0666), 0);
    root_refused(push(root_path("in"), &err), LODE_INVALID, &err, "a pipe");
    root_refused(push(root_path("in/pipe"), &err), LODE_INVALID, &err, "a pipe");
    unlink(root_path("in/pipe"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", root_path("in/socket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    root_refused(push(root_path("in"), &err), LODE_INVALID, &err, "a socket");
    close(fd);
    unlink(root_path("in/socket"));
    root_refused(push("/dev/zero", &err), LODE_INVALID, &err, "a device");
    nothing_left();
}

static void bad_names(void **state)
{
    struct lode_err err = {0};
    char longest[200];
    memset(longest, 'a', 199);
    longest[199] = 0;
    const char *const bad[] = {"..",      "a/..",      "../a", "a/b/c", "",      "a b",  "a%2Fb",
                               "a%252Fb", "a%25252Fb", "%00",  "a\nb",  "a\x7f", "\xff", "\xc3\xa9",
                               ".a",      "-a",        "a/",   "/a",    "a@",    longest};
    root_write(root_path("in/a"), "a", 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (root_push(lode, bad[i], root_path("in"), NULL, NULL, &err) != LODE_INVALID)
            fail_msg("model '%s'", bad[i]);
        assert_int_not_equal(*err.text, 0);
        if (root_push(lode, "m", root_path("in"), bad[i], NULL, &err) != LODE_INVALID)
            fail_msg("version '%s'", bad[i]);
    }
    root_refused(root_push(lode, "m", root_path("in"), "7", NULL, &err), LODE_INVALID, &err, "7");
    root_refused(root_push(lode, "m", root_path("in"), "latest", NULL, &err), LODE_INVALID, &err,
                 "latest");
    nothing_left();
}

static void bad_file_names(void **state)
{
    struct lode_err err = {0};
    static const char *const bad[] = {"a\nb", "a\x01", "\xff\xfe", "a\x7f", "_lode"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        root_write(root_path("in/%s", bad[i]), "a", 1);
        root_refused(push(root_path("in"), &err), LODE_INVALID, &err, "cannot store");
        unlink(root_path("in/%s", bad[i]));
    }
    root_write(root_path("in/%%2e%%2e"), "a", 1); /* an odd name and no more */
    root_ok(push(root_path("in"), &err), &err);
}

static void one_name_twice(void **state)
{
    struct lode_err err = {0};
    root_write(root_path("in/a/x"), "a", 1);
    root_write(root_path("in/b/x"), "b", 1);
    root_write(root_path("in/c/x/y"), "c", 1);
    const char *twice[] = {root_path("in/a/x"), root_path("in/b/x")};
    const char *both[] = {root_path("in/a"), root_path("in/c")};
    struct lode_push_options o = {.paths = twice, .n_paths = 2};
    root_refused(lode_push(lode, "m", &o, NULL, &err), LODE_INVALID, &err, "both be stored as 'x'");
    o.paths = both;
    root_refused(lode_push(lode, "m", &o, NULL, &err), LODE_INVALID, &err,
                 "'x' would be a file and a directory");
    nothing_left();
}

/* ---- contents ---- */

static void safetensors(const char *header, size_t data)
{
    char bytes[1024] = {0};
    uint64_t n = strlen(header);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    root_write(root_path("in/model.safetensors"), bytes, 8 + n + data);
}

static void bad_contents(void **state)
{
    struct lode_err err = {0};
    static const struct {
        const char *header;
        size_t data;
    } bad[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\","
         "\"shape\":[1],\"data_offsets\":[4,8]}}",
         8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\","
         "\"shape\":[1],\"data_offsets\":[8,12]}}",
         12},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\","
         "\"shape\":[1],\"data_offsets\":[4,8]}}",
         8},
    };
    root_write(root_path("in/config.json"), "{}", 2);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        safetensors(bad[i].header, bad[i].data);
        root_refused(push(root_path("in"), &err), LODE_INVALID, &err, "model.safetensors");
    }
    uint64_t huge = 1ull << 60;
    root_write(root_path("in/model.safetensors"), &huge, 8);
    assert_true(push(root_path("in"), &err) < 0);
    unlink(root_path("in/model.safetensors"));
    char npy[128] =
        "\x93NUMPY\x01\x00\x36\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n";
    root_write(root_path("in/a.npy"), npy, 10 + 54 + 8);
    assert_true(push(root_path("in"), &err) < 0);
    assert_non_null(strstr(err.text, "a.npy"));
    unlink(root_path("in/a.npy"));
    nothing_left();
    struct lode_version v = {0};
    root_write(root_path("in/model.pkl"), "\x80\x04\x95garbage that is never read.", 30);
    root_ok(root_push(lode, "m", root_path("in"), "v1", &v, &err), &err);
    assert_string_equal(v.format, "opaque");
    lode_version_release(&v);
}

/* ---- a source that changes ---- */

static struct lode_sys changing;
static const char *victim;
static int how, seen;

/* Changes the victim right after a block of it was read. */
static ssize_t read_and_change(int fd, void *buf, size_t n, off_t offset)
{
    ssize_t got = lode_sys_real.pread(fd, buf, n, offset);
    struct stat a, b;
    if (n > 100000 && fstat(fd, &a) == 0 && stat(victim, &b) == 0 && a.st_ino == b.st_ino &&
        __sync_fetch_and_add(&seen, 1) == 0) {
        if (how == 0) {
            int w = open(victim, O_WRONLY | O_APPEND);
            assert_int_equal(write(w, "x", 1), 1);
            close(w);
        } else if (how == 1) {
            int w = open(victim, O_WRONLY);
            assert_int_equal(pwrite(w, "x", 1, 5), 1);
            close(w);
        } else {
            assert_int_equal(truncate(victim, 1000), 0);
        }
    }
    return got;
}

static void a_source_that_changes(void **state)
{
    struct lode_err err = {0};
    changing = lode_sys_real;
    changing.pread = read_and_change;
    for (how = 0; how < 3; how++) {
        root_fill(root_path("in/big"), 9000000, 3);
        root_write(root_path("in/other"), "a", 1);
        victim = root_path("in/big");
        seen = 0;
        lode_sys = &changing;
        int r = push(root_path("in"), &err);
        lode_sys = &lode_sys_real;
        root_refused(r, LODE_CHANGED, &err, "in/big");
        nothing_left();
    }
    root_ok(push(root_path("in"), &err), &err);
}

/* ---- disks ---- */

/* The n-th write and all later ones fail: at every moment of a push that the seed picks. */
static void disk_full(void **state)
{
    struct lode_err err = {0};
    root_fill(root_path("in/big"), 9000000, 3);
    root_safetensors(root_path("in/model.safetensors"), 3, 10000, 8);
    for (uint64_t n = 1; n < 60; n += 4) {
        fault_install();
        fault_fail(FAULT_WRITE, n, ENOSPC, FAULT_STICKY);
        fault_only_below(models());
        int r = push(root_path("in"), &err);
        fault_disarm();
        fault_uninstall();
        if (r == 0)
            break;
        root_refused(r, LODE_NO_SPACE, &err, NULL);
        assert_non_null(strstr(err.text, "needs 8.")); /* MiB */
        assert_non_null(strstr(err.text, "free"));
        nothing_left();
    }
    json_t *doc;
    char *text = NULL;
    struct lode_version v = {0};
    if (lode_show(lode, "m@v1", &v, &err) < 0)
        root_ok(push(root_path("in"), &err), &err);
    lode_version_release(&v);
    root_ok(lode_verify(lode, NULL, NULL, &text, &err), &err);
    doc = json_loads(text, 0, NULL);
    assert_true(json_is_true(json_object_get(doc, "clean")));
    json_decref(doc);
    lode_string_free(text);
}

/* ---- stopping ---- */

static int stop_later(void *arg)
{
    return --*(int *)arg < 0;
}

static void stopped(void **state)
{
    struct lode_err err = {0};
    const char *paths[] = {root_path("in")};
    root_fill(root_path("in/big"), 60000000, 3);
    for (int after = 0; after < 3; after++) {
        int left = after;
        struct lode_call call = {.cancelled = stop_later, .arg = &left};
        struct lode_push_options o = {.paths = paths, .n_paths = 1, .version = "v1", .call = &call};
        int r = lode_push(lode, "m", &o, NULL, &err);
        if (r == 0)
            break; /* it was done before it could be stopped */
        root_refused(r, LODE_CANCELLED, &err, "stopped");
        nothing_left();
    }
}

/* ---- roots ---- */

static void other_roots(void **state)
{
    struct lode_err err = {0};
    struct lode_open_options o = {.url = root};
    struct lode *other = NULL;
    root_refused(lode_init(&o, &err), LODE_EXISTS, &err, NULL);
    /* another coord over the same store */
    char coord[300];
    snprintf(coord, sizeof coord, "sqlite://%s", root_path("other.db"));
    struct lode_open_options pair = {.store = models(), .coord = coord};
    root_refused(lode_init(&pair, &err), LODE_EXISTS, &err, NULL);
    pair.create = true;
    assert_true(lode_open(&pair, &other, &err) < 0);
    o.url = root_path("nowhere");
    root_refused(lode_open(&o, &other, &err), LODE_NOT_FOUND, &err, "lode init");
    pair = (struct lode_open_options){.store = models()};
    root_refused(lode_open(&pair, &other, &err), LODE_INVALID, &err, "coord");
    o = (struct lode_open_options){.url = "s3://bucket/x"};
    root_refused(lode_open(&o, &other, &err), LODE_UNSUPPORTED, &err, "coord");
}

static void newer_schema(void **state)
{
    struct lode_err err = {0};
    char url[300];
    struct lode_coord *coord = NULL;
    struct lode_coord_kv kv = {0};
    snprintf(url, sizeof url, "sqlite://%s/coord.db", root);
    struct lode_coord_config config = {.url = url};
    lode_close(lode);
    lode = NULL;
    root_ok(lode_coord_open(&config, &coord, &err), &err);
    root_ok(lode_coord_get(coord, "root", &kv, &err), &err);
    json_t *doc = json_loads(kv.value, 0, NULL);
    json_object_set_new(doc, "schema", json_integer(999));
    char *text = json_dumps(doc, JSON_COMPACT);
    struct lode_coord_op op = {
        .kind = LODE_COORD_PUT, .key = "root", .value = text, .len = strlen(text)};
    struct lode_coord_txn txn = {.ops = &op, .n_ops = 1};
    struct lode_coord_txn_result result = {0};
    root_ok(lode_coord_txn(coord, &txn, &result, &err), &err);
    lode_coord_txn_result_release(&result);
    lode_coord_kv_release(&kv);
    lode_coord_close(coord);
    json_decref(doc);
    lode_string_free(text);
    struct lode_open_options o = {.url = root};
    root_refused(lode_open(&o, &lode, &err), LODE_SCHEMA, &err, NULL);
}

static void read_only_handle(void **state)
{
    struct lode_err err = {0};
    struct lode *reader = NULL;
    struct lode_open_options o = {.url = root, .read_only = true};
    char *json = NULL;
    root_write(root_path("in/a"), "a", 1);
    root_ok(push(root_path("in"), &err), &err);
    root_ok(lode_open(&o, &reader, &err), &err);
    root_refused(root_push(reader, "m", root_path("in"), "v2", NULL, &err), LODE_READ_ONLY, &err,
                 NULL);
    root_refused(lode_remove(reader, "m@v1", false, NULL, NULL, &err), LODE_READ_ONLY, &err, NULL);
    root_refused(lode_alias_set(reader, "m@v1", "prod", NULL, NULL, &err), LODE_READ_ONLY, &err,
                 NULL);
    root_refused(lode_gc(reader, NULL, &json, &err), LODE_READ_ONLY, &err, NULL);
    root_ok(lode_pull(reader, "m", root_path("out/copy"), NULL, NULL, NULL, &err), &err);
    lode_close(reader);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(missing_and_empty),  CASE(unreadable),
                                       CASE(links_that_leave),   CASE(links_that_stay),
                                       CASE(hugging_face_cache), CASE(links_that_loop),
                                       CASE(no_files),           CASE(bad_names),
                                       CASE(bad_file_names),     CASE(one_name_twice),
                                       CASE(bad_contents),       CASE(a_source_that_changes),
                                       CASE(disk_full),          CASE(stopped),
                                       CASE(other_roots),        CASE(newer_schema),
                                       CASE(read_only_handle)};
    root_scratch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
