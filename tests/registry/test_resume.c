/* A push that was killed goes on where it stopped; one whose sources changed begins anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/sys.h"
#include "support/root.h"

#define SIZE 44000000u /* eleven parts */

static char root[256];
static struct lode_sys counting;
static uint64_t written, kill_at; /* bytes written to large files */

static ssize_t count_writes(int fd, const void *buf, size_t n, off_t offset)
{
    ssize_t done = lode_sys_real.pwrite(fd, buf, n, offset);
    if (n >= 1000000 && __sync_add_and_fetch(&written, n) >= kill_at)
        kill(getpid(), SIGKILL);
    return done;
}

/* Pushes in a child that is killed after so many bytes. */
static void killed_push(const char *version, uint64_t after)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct lode_err err = {0};
        struct lode *lode = root_reopen(root);
        written = 0;
        kill_at = after;
        counting = lode_sys_real;
        counting.pwrite = count_writes;
        lode_sys = &counting;
        int r = root_push(lode, "m", root_path("in"), version, NULL, &err);
        fprintf(stderr, "not killed: %d %s\n", r, err.text);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The same push, here; answers how many bytes it wrote. */
static uint64_t push_again(struct lode *lode, const char *version)
{
    struct lode_err err = {0};
    kill_at = UINT64_MAX;
    written = 0;
    counting = lode_sys_real;
    counting.pwrite = count_writes;
    lode_sys = &counting;
    int r = root_push(lode, "m", root_path("in"), version, NULL, &err);
    lode_sys = &lode_sys_real;
    root_ok(r, &err);
    return written;
}

static void check_whole(struct lode *lode, const char *ref)
{
    struct lode_err err = {0};
    char *text = NULL;
    root_ok(lode_pull(lode, ref, root_path("out"), NULL, NULL, NULL, &err), &err);
    assert_true(root_same_tree(root_path("in"), root_path("out")));
    root_remove_tree(root_path("out"));
    root_ok(lode_verify(lode, NULL, NULL, &text, &err), &err);
    json_t *doc = json_loads(text, 0, NULL);
    assert_true(json_is_true(json_object_get(doc, "clean")));
    json_decref(doc);
    lode_string_free(text);
}

/* The disk holds what is live and no more. */
static void check_disk(struct lode *lode, uint64_t live)
{
    struct lode_err err = {0};
    struct lode_gc_options now = {0};
    char *text = NULL;
    root_ok(lode_gc(lode, &now, &text, &err), &err);
    lode_string_free(text);
    uint64_t bytes =
        root_tree_bytes(root_path("%s/models", root + strlen(root_scratch()) + 1), NULL);
    assert_in_range(bytes, live, live + 100000);
}

static int setup(void **state)
{
    static unsigned number;
    snprintf(root, sizeof root, "%s/resumeroot%u", root_scratch(), number++);
    root_remove_tree(root_path("in"));
    root_fill(root_path("in/big"), SIZE, 9);
    root_write(root_path("in/small"), "small", 5);
    lode_close(root_reopen(root));
    return 0;
}

static void goes_on(void **state)
{
    killed_push("v1", SIZE / 2);
    struct lode *lode = root_reopen(root);
    uint64_t again = push_again(lode, "v1");
    assert_in_range(again, 1, SIZE * 6 / 10);
    check_whole(lode, "m@v1");
    check_disk(lode, SIZE);
    lode_close(lode);
}

static void goes_on_without_a_name(void **state)
{
    struct lode_err err = {0};
    struct lode_versions list = {0};
    killed_push(NULL, SIZE / 2);
    killed_push(NULL, SIZE / 4);
    struct lode *lode = root_reopen(root);
    assert_in_range(push_again(lode, NULL), 1, SIZE * 4 / 10);
    check_whole(lode, "m");
    root_ok(lode_ls_versions(lode, "m", NULL, &list, &err), &err);
    assert_int_equal(list.n, 1);
    lode_versions_release(&list);
    check_disk(lode, SIZE);
    lode_close(lode);
}

static void not_with_a_changed_source(void **state)
{
    struct stat st;
    const char *big = root_path("in/big");
    killed_push("v1", SIZE / 2);
    assert_int_equal(stat(big, &st), 0);
    root_fill(big, SIZE, 10); /* the same size, other bytes; and the old time, which a careful eye
                                 still sees through */
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, big, times, 0), 0);
    struct lode *lode = root_reopen(root);
    assert_in_range(push_again(lode, "v1"), SIZE - 4096, SIZE);
    check_whole(lode, "m@v1");
    check_disk(lode, SIZE);
    lode_close(lode);
}

static void not_if_it_shall_not(void **state)
{
    struct lode_err err = {0};
    const char *paths[] = {root_path("in")};
    struct lode_push_options o = {.paths = paths, .n_paths = 1, .no_resume = true};
    killed_push(NULL, SIZE / 2);
    struct lode *lode = root_reopen(root);
    kill_at = UINT64_MAX;
    written = 0;
    lode_sys = &counting;
    counting = lode_sys_real;
    counting.pwrite = count_writes;
    int r = lode_push(lode, "m", &o, NULL, &err);
    lode_sys = &lode_sys_real;
    root_ok(r, &err);
    assert_in_range(written, SIZE - 4096, SIZE);
    check_whole(lode, "m");
    lode_close(lode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(goes_on, setup),
        cmocka_unit_test_setup(goes_on_without_a_name, setup),
        cmocka_unit_test_setup(not_if_it_shall_not, setup),
        cmocka_unit_test_setup(not_with_a_changed_source, setup),
    };
    root_scratch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
