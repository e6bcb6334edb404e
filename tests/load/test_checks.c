/* Remembered checks: what they are bound to, and what is never remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "load/checks.h"
#include "support/root.h"

#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct lode_sha256 file_digest = {{1, 2, 3}};

/* A file as it was an hour ago. */
static struct stat old_file(void)
{
    struct stat st = {.st_dev = 1, .st_ino = 2, .st_size = 3};
    st.st_mtim.tv_sec = st.st_ctim.tv_sec = time(NULL) - 3600;
    st.st_mtim.tv_nsec = st.st_ctim.tv_nsec = 5;
    return st;
}

static bool has(const char *dir, const struct stat *st, const char *digest)
{
    struct lode_checks *c = lode_checks_open(dir);
    struct lode_check check = {st, digest, &file_digest};
    bool found = lode_checks_has(c, &check);
    lode_checks_close(c);
    return found;
}

static void add(const char *dir, const struct stat *st)
{
    struct lode_checks *c = lode_checks_open(dir);
    struct lode_check check = {st, DIGEST, &file_digest};
    lode_checks_add(c, &check);
    lode_checks_close(c);
}

static const char *fresh_dir(const char *name)
{
    const char *dir = root_path("%s", name);
    mkdir(dir, 0700);
    return dir;
}

static void every_part_counts(void **state)
{
    const char *dir = fresh_dir("parts");
    struct stat st = old_file(), other;
    assert_false(has(dir, &st, DIGEST));
    add(dir, &st);
    assert_true(has(dir, &st, DIGEST));
    other = st, other.st_dev++;
    assert_false(has(dir, &other, DIGEST));
    other = st, other.st_ino++;
    assert_false(has(dir, &other, DIGEST));
    other = st, other.st_size++;
    assert_false(has(dir, &other, DIGEST));
    other = st, other.st_mtim.tv_nsec++;
    assert_false(has(dir, &other, DIGEST));
    other = st, other.st_ctim.tv_nsec++;
    assert_false(has(dir, &other, DIGEST));
    other = st, other.st_ctim.tv_sec++;
    assert_false(has(dir, &other, DIGEST));
    assert_false(has(dir, &st, "10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"));
    file_digest.b[0]++;
    assert_false(has(dir, &st, DIGEST));
    file_digest.b[0]--;
    assert_true(has(dir, &st, DIGEST));
}

static void not_just_changed(void **state)
{
    const char *dir = fresh_dir("fresh");
    struct stat st = old_file();
    st.st_mtim.tv_sec = time(NULL) - 1;
    add(dir, &st);
    assert_false(has(dir, &st, DIGEST));
    st = old_file();
    st.st_ctim.tv_sec = time(NULL) - 1;
    add(dir, &st);
    assert_false(has(dir, &st, DIGEST));
    st.st_ctim.tv_sec = time(NULL) + 100; /* a clock that was set back */
    add(dir, &st);
    assert_false(has(dir, &st, DIGEST));
}

static void a_cut_file_is_dropped(void **state)
{
    const char *dir = fresh_dir("cut");
    struct stat st = old_file();
    add(dir, &st);
    assert_int_equal(truncate(root_path("cut/checks"), 33), 0);
    assert_false(has(dir, &st, DIGEST));
    add(dir, &st);
    assert_true(has(dir, &st, DIGEST));
}

static void not_believed(void **state)
{
    const char *dir = fresh_dir("writable");
    struct stat st = old_file();
    add(dir, &st);
    assert_int_equal(chmod(root_path("writable/checks"), 0666), 0);
    assert_false(has(dir, &st, DIGEST));
    assert_false(has(NULL, &st, DIGEST));
    assert_false(has(root_path("nowhere"), &st, DIGEST));
}

static void many(void **state)
{
    const char *dir = fresh_dir("many");
    struct stat st = old_file();
    struct lode_checks *c = lode_checks_open(dir);
    struct lode_check check = {&st, DIGEST, &file_digest};
    for (unsigned i = 0; i < 70000; i++) {
        st.st_ino = 100 + i;
        lode_checks_add(c, &check);
    }
    lode_checks_close(c);
    struct stat file;
    assert_int_equal(stat(root_path("many/checks"), &file), 0);
    assert_true(file.st_size < 2 << 20);
    assert_true(has(dir, &st, DIGEST));
    st.st_ino = 100;
    assert_false(has(dir, &st, DIGEST));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_part_counts),
                                       cmocka_unit_test(not_just_changed),
                                       cmocka_unit_test(a_cut_file_is_dropped),
                                       cmocka_unit_test(not_believed), cmocka_unit_test(many)};
    root_scratch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
