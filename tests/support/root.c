/* Roots for tests: see support/root.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "support/root.h"

static char scratch[64];
static pid_t owner;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    if (type == FTW_DP)
        chmod(path, 0700);
    return remove(path);
}

static int open_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    if (type == FTW_D || type == FTW_DNR)
        chmod(path, 0700);
    return 0;
}

void root_remove_tree(const char *dir)
{
    nftw(dir, open_entry, 16, FTW_PHYS);
    nftw(dir, remove_entry, 16, FTW_PHYS | FTW_DEPTH);
}

static void remove_scratch(void)
{
    if (getpid() == owner)
        root_remove_tree(scratch);
}

const char *root_scratch(void)
{
    if (*scratch)
        return scratch;
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%.40s/lode-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(scratch)) {
        perror(scratch);
        exit(99);
    }
    owner = getpid();
    atexit(remove_scratch);
    setenv("HOME", scratch, 1);
    setenv("LODE_HOME", root_path("home"), 1);
    setenv("LODE_CACHE", root_path("cache"), 1);
    static const char *const cleared[] = {"LODE_URL",        "LODE_STORE",    "LODE_COORD",
                                          "LODE_TOKEN",      "LODE_CONTEXT",  "LODE_CONFIG",
                                          "XDG_CONFIG_HOME", "XDG_CACHE_HOME"};
    for (size_t i = 0; i < sizeof cleared / sizeof *cleared; i++)
        unsetenv(cleared[i]);
    return scratch;
}

const char *root_path(const char *fmt, ...)
{
    static char paths[64][512];
    static unsigned next;
    char *path = paths[next++ % 64];
    int n = snprintf(path, sizeof paths[0], "%s/", root_scratch());
    va_list args;
    va_start(args, fmt);
    vsnprintf(path + n, sizeof paths[0] - (size_t)n, fmt, args);
    va_end(args);
    return path;
}

void root_check(int r, const struct lode_err *err, const char *file, int line)
{
    if (r >= 0)
        return;
    print_error("%s:%d: %s: %s\n", file, line, lode_code_name(r), err->text);
    _fail(file, line);
}

void root_check_refused(int r, int code, const struct lode_err *err, const char *text,
                        const char *file, int line)
{
    if (r == code && err->code == code && *err->text && (!text || strstr(err->text, text)))
        return;
    print_error("%s:%d: wanted %s with '%s', got %s: %s\n", file, line, lode_code_name(code),
                text ? text : "", lode_code_name(r), r < 0 ? err->text : "");
    _fail(file, line);
}

struct lode *root_reopen(const char *dir)
{
    struct lode_open_options o = {.url = dir, .create = true};
    struct lode_err err = {0};
    struct lode *lode = NULL;
    root_ok(lode_open(&o, &lode, &err), &err);
    return lode;
}

struct lode *root_open(bool in_memory)
{
    static unsigned number;
    char url[512];
    number++;
    if (in_memory)
        snprintf(url, sizeof url, "mem:root%u", number);
    else
        snprintf(url, sizeof url, "%s/root%u", root_scratch(), number);
    return root_reopen(url);
}

static void make_above(const char *path)
{
    char copy[512];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(copy, 0777);
        *slash = '/';
    }
}

void root_write(const char *path, const void *bytes, size_t len)
{
    make_above(path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void root_fill(const char *path, size_t len, uint64_t seed)
{
    uint64_t *bytes = calloc(len / 8 + 1, 8);
    assert_non_null(bytes);
    for (size_t i = 0; i <= len / 8; i++)
        bytes[i] = next_random(&seed);
    root_write(path, bytes, len);
    free(bytes);
}

void *root_read(const char *path, size_t *len)
{
    struct stat st;
    FILE *f = fopen(path, "r");
    if (!f)
        print_error("%s: %s\n", path, strerror(errno));
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    char *bytes = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(bytes);
    *len = fread(bytes, 1, (size_t)st.st_size, f);
    fclose(f);
    return bytes;
}

void root_safetensors(const char *path, size_t tensors, size_t floats, uint64_t seed)
{
    size_t room = tensors * 100 + 64, data = tensors * floats * 4;
    char *bytes = calloc(1, room + data);
    assert_non_null(bytes);
    size_t n = 8;
    for (size_t i = 0; i < tensors; i++)
        n += (size_t)snprintf(
            bytes + n, room - n,
            "%s\"t%zu\":{\"dtype\":\"F32\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}",
            i ? "," : "{", i, floats, i * floats * 4, (i + 1) * floats * 4);
    bytes[n++] = '}';
    while (n % 8)
        bytes[n++] = ' ';
    uint64_t header = n - 8;
    memcpy(bytes, &header, 8);
    for (size_t i = 0; i + 8 <= data; i += 8) {
        uint64_t value = next_random(&seed);
        memcpy(bytes + n + i, &value, 8);
    }
    root_write(path, bytes, n + data);
    free(bytes);
}

static uint64_t tree_bytes;
static size_t tree_files;

static int count_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    if (type == FTW_F) {
        tree_bytes += (uint64_t)st->st_size;
        tree_files++;
    }
    return 0;
}

uint64_t root_tree_bytes(const char *dir, size_t *files)
{
    tree_bytes = tree_files = 0;
    nftw(dir, count_entry, 16, FTW_PHYS);
    if (files)
        *files = tree_files;
    return tree_bytes;
}

static const char *compare_a, *compare_b;
static bool compare_same;

static int compare_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    char other[1024];
    size_t n, m;
    struct stat there;
    if (type != FTW_F)
        return 0;
    snprintf(other, sizeof other, "%s%s", compare_b, path + strlen(compare_a));
    if (stat(other, &there) < 0 || there.st_size != st->st_size) {
        print_error("%s differs\n", other);
        compare_same = false;
        return 0;
    }
    char *x = root_read(path, &n), *y = root_read(other, &m);
    compare_same = compare_same && n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return 0;
}

bool root_same_tree(const char *a, const char *b)
{
    size_t n, m;
    root_tree_bytes(a, &n);
    root_tree_bytes(b, &m);
    compare_a = a;
    compare_b = b;
    compare_same = n == m;
    nftw(a, compare_entry, 16, FTW_PHYS);
    return compare_same;
}

int root_push(struct lode *lode, const char *model, const char *path, const char *version,
              struct lode_version *out, struct lode_err *err)
{
    const char *const paths[] = {path};
    struct lode_push_options o = {.paths = paths, .n_paths = 1, .version = version};
    struct lode_version v = {0};
    int r = lode_push(lode, model, &o, &v, err);
    if (r == 0 && out)
        *out = v;
    else
        lode_version_release(&v);
    return r;
}
