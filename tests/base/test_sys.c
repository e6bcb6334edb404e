/* Memory, sizes and the real system calls: overflow is seen, opening stays beneath its directory,
 * transfers are whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/size.h"
#include "base/sys.h"
#include "support/fault_sys.h"

static void sizes_are_checked(void **state)
{
    size_t z = 5;
    uint64_t u = 5;
    assert_false(lode_add_size(SIZE_MAX, 1, &z));
    assert_false(lode_mul_size(SIZE_MAX / 2 + 1, 2, &z));
    assert_false(lode_add_u64(UINT64_MAX, 1, &u));
    assert_false(lode_mul_u64(1ull << 32, 1ull << 32, &u));
    assert_int_equal(z, 5);
    assert_int_equal(u, 5);
    assert_true(lode_mul_size(3, 4, &z));
    assert_int_equal(z, 12);
    assert_int_equal(lode_div_up(UINT64_MAX, 2), 1ull << 63);
    assert_int_equal(lode_div_up(0, 7), 0);
}

static void arrays_do_not_wrap(void **state)
{
    assert_null(lode_calloc(SIZE_MAX / 2, 3));
    assert_null(lode_realloc_array(NULL, SIZE_MAX / 2, 3));
    void *array = NULL;
    size_t capacity = 0;
    assert_int_equal(lode_grow(&array, &capacity, SIZE_MAX / 4, 8), LODE_NO_MEMORY);
    assert_null(array);
    assert_int_equal(capacity, 0);
    assert_int_equal(lode_grow(&array, &capacity, 3, 8), 0);
    assert_true(capacity >= 3);
    lode_free(array);
    lode_free(NULL);
    lode_free_secret(NULL);
    _cleanup_free_ char *empty = lode_alloc(0), *copy = lode_strndup("abcdef", 3);
    assert_non_null(empty);
    assert_string_equal(copy, "abc");
    assert_null(lode_strdup(NULL));
}

struct place {
    char path[64];
    int fd;
};

/* dir/file, dir/link -> /, dir/up -> .., link -> dir */
static int make_place(void **state)
{
    static struct place place;
    snprintf(place.path, sizeof place.path, "/tmp/lode-sys-XXXXXX");
    if (!mkdtemp(place.path))
        return -1;
    place.fd = open(place.path, O_RDONLY | O_DIRECTORY);
    int fd = -1;
    if (mkdirat(place.fd, "dir", 0755) == 0 && symlinkat("/", place.fd, "dir/link") == 0 &&
        symlinkat("..", place.fd, "dir/up") == 0 && symlinkat("dir", place.fd, "link") == 0)
        fd = openat(place.fd, "dir/file", O_WRONLY | O_CREAT, 0644);
    if (fd < 0 || write(fd, "hello", 5) != 5 || close(fd) < 0)
        return -1;
    *state = &place;
    return 0;
}

static int drop_place(void **state)
{
    struct place *place = *state;
    static const char *const files[] = {"dir/file", "dir/new", "dir/link", "dir/up", "link"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(files); i++)
        unlinkat(place->fd, files[i], 0);
    unlinkat(place->fd, "dir", AT_REMOVEDIR);
    close(place->fd);
    return rmdir(place->path);
}

static int tried(int at, const char *path)
{
    int fd = lode_sys->open_beneath(at, path, O_RDONLY, 0);
    if (fd >= 0)
        close(fd);
    return fd;
}

static void opens_only_beneath(void **state)
{
    struct place *place = *state;
    assert_true(tried(place->fd, "dir/file") >= 0);
    assert_true(tried(place->fd, "dir") >= 0);
    static const char *const outside[] = {"..",
                                          "../",
                                          "/etc/passwd",
                                          "dir/../../x",
                                          "dir/link",
                                          "dir/link/etc/passwd",
                                          "dir/up/dir/file",
                                          "link",
                                          "link/file"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(outside); i++) {
        if (tried(place->fd, outside[i]) >= 0)
            fail_msg("%s was opened", outside[i]);
    }
    assert_int_equal(tried(place->fd, "dir/none"), -1);
    assert_int_equal(errno, ENOENT);
}

/* Kernels and sandboxes without openat2 get the same answers from the walk. Cannot be taken back:
 * the last test. */
static void opens_only_beneath_without_openat2(void **state)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = LODE_ARRAY_LEN(code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0) {
        print_message("seccomp is not to be had here: %s\n", strerror(errno));
        skip();
    }
    opens_only_beneath(state);
}

static void reads_small_files_whole(void **state)
{
    struct place *place = *state;
    size_t len = 0;
    _cleanup_free_ char *text = lode_read_file(place->fd, "dir/file", 5, &len);
    assert_string_equal(text, "hello");
    assert_int_equal(len, 5);
    assert_null(lode_read_file(place->fd, "dir/file", 4, &len));
    assert_int_equal(errno, EFBIG);
    assert_null(lode_read_file(place->fd, "dir/none", 4, &len));
    assert_int_equal(errno, ENOENT);
}

static void transfers_are_whole_or_fail(void **state)
{
    struct place *place = *state;
    char back[10];
    fault_install();
    int fd = lode_sys->openat(place->fd, "dir/new", O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    fault_fail(FAULT_WRITE, 1, FAULT_SHORT, FAULT_ONCE);
    assert_int_equal(lode_pwrite_full(fd, "0123456789", 10, 0), 0);
    fault_fail(FAULT_READ, 1, EINTR, FAULT_ONCE);
    assert_int_equal(lode_pread_full(fd, back, 10, 0), 0);
    assert_memory_equal(back, "0123456789", 10);
    assert_int_equal(lode_pread_full(fd, back, 10, 5), -1);
    assert_int_equal(errno, ENODATA);
    fault_fail(FAULT_WRITE, 1, ENOSPC, FAULT_ONCE);
    assert_int_equal(lode_write_full(fd, "x", 1), -1);
    assert_int_equal(errno, ENOSPC);
    lode_sys->close(fd);
    fault_uninstall();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(arrays_do_not_wrap),
        cmocka_unit_test(opens_only_beneath),
        cmocka_unit_test(reads_small_files_whole),
        cmocka_unit_test(transfers_are_whole_or_fail),
        cmocka_unit_test(opens_only_beneath_without_openat2),
    };
    return cmocka_run_group_tests(tests, make_place, drop_place);
}
