/* What only a file system can do to a store: links, pipes, crashes, torn notes, other kernels. */
#include "conformance/store_suite_impl.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/sys.h"

#define PART 5000
#define SIZE 23456

static char base[64];

static int clear_base(void **state)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s' '%s.out'; mkdir '%s' '%s.out'", base, base, base,
             base);
    return system(command);
}

static struct lode_store *opened(void)
{
    struct lode_store_config config = {.url = base};
    struct lode_store *store = NULL;
    OK(lode_store_open(&config, &store, err));
    return store;
}

static char *below(const char *name)
{
    return lode_asprintf("%s/%s", base, name);
}

static char *read_text(const char *path)
{
    size_t len;
    return lode_read_file(AT_FDCWD, path, 1 << 20, &len);
}

/* ---- links and other things that are no objects ---- */

static void links_are_never_followed(void **state)
{
    _cleanup_store_ struct lode_store *store = opened();
    _cleanup_free_ char *outside = lode_asprintf("%s.out", base), *dir = below("dir"),
                        *file = below("file");
    _cleanup_free_ char *secret = lode_asprintf("%s.out/secret", base), *inner = below("inner"),
                        *real = below("real/x");
    struct lode_store_stat st;
    struct lode_store_page page;
    char byte;
    int fd;
    suite_put(store, "real/x", 10, 1);
    FILE *f = fopen(secret, "w");
    fputs("secret", f);
    fclose(f);
    assert_int_equal(symlink(outside, dir), 0);
    assert_int_equal(symlink(secret, file), 0);
    assert_int_equal(symlink("real", inner), 0); /* stays inside, and is refused all the same */
    static const char *const keys[] = {"dir/secret", "file", "inner/x"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(keys); i++) {
        assert_true(lode_store_stat(store, keys[i], &st, NULL) < 0);
        assert_true(lode_store_pread(store, keys[i], &byte, 1, 0, NULL) < 0);
        assert_true(lode_store_open_local(store, keys[i], &fd, NULL) < 0);
        assert_true(lode_store_copy(store, keys[i], "copy", true, NULL) < 0);
        assert_true(lode_store_remove(store, keys[i], NULL) < 0);
    }
    assert_true(lode_store_put(store, "dir/new", "x", 1, true, NULL) < 0);
    assert_true(lode_store_rename_dir(store, "real", "dir/moved", NULL) < 0);
    assert_true(lode_store_rename_dir(store, "dir", "moved", NULL) < 0);
    assert_true(lode_store_list(store, "dir", NULL, 10, &page, NULL) < 0);
    assert_true(lode_store_remove_tree(store, "dir", NULL, NULL) < 0);
    OK(lode_store_list(store, "", NULL, 10, &page, err));
    for (size_t i = 0; i < page.n; i++)
        assert_true(!strcmp(page.entries[i].name, "real") ||
                    !strcmp(page.entries[i].name, "_staging"));
    lode_store_page_release(&page);
    _cleanup_free_ char *text = read_text(secret);
    assert_string_equal(text, "secret");
    suite_expect(store, "real/x", 10, 1);
    /* Replacing gives the name to the new object; what the link points at stays. */
    OK(lode_store_put(store, "file", "mine", 4, false, err));
    _cleanup_free_ char *again = read_text(secret);
    assert_string_equal(again, "secret");
}

static void pipes_do_not_make_it_wait(void **state)
{
    _cleanup_store_ struct lode_store *store = opened();
    _cleanup_free_ char *pipe = below("pipe");
    struct lode_store_stat st;
    char byte;
    assert_int_equal(mkfifo(pipe, 0600), 0);
    alarm(20);
    FAILS(LODE_DENIED, lode_store_stat(store, "pipe", &st, err));
    FAILS(LODE_DENIED, lode_store_pread(store, "pipe", &byte, 1, 0, err));
    FAILS(LODE_DENIED, lode_store_remove(store, "pipe", err));
    alarm(0);
}

static void its_own_folder_is_no_key(void **state)
{
    _cleanup_store_ struct lode_store *store = opened();
    struct lode_store_stat st;
    struct lode_store_page page;
    FAILS(LODE_INVALID, lode_store_put(store, "_staging/.parts/x", "x", 1, true, err));
    FAILS(LODE_INVALID, lode_store_stat(store, "_staging/.parts", &st, err));
    FAILS(LODE_INVALID, lode_store_list(store, "_staging/.parts", NULL, 10, &page, err));
    suite_put(store, "_staging/a/x", 5, 1);
    FAILS(LODE_INVALID, lode_store_rename_dir(store, "_staging", "elsewhere", err));
    FAILS(LODE_INVALID, lode_store_rename_dir(store, "_staging/a", "_staging/.parts/y", err));
    suite_put(store, ".parts/x", 5, 1); /* elsewhere the name is free */
    suite_expect(store, ".parts/x", 5, 1);
}

/* ---- crashes ---- */

/* A process that writes three of five parts and is killed. */
static void killed_while_writing(const char *key)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct lode_store *store = opened();
        struct lode_store_write *write = suite_begin(store, key, SIZE, PART, NULL);
        for (uint32_t n = 0; n < 3; n++)
            suite_part(write, n, PART, SIZE, 1);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static char *unfinished_id(struct lode_store *store)
{
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(store, "", &list, err));
    assert_int_equal(list.n, 1);
    char *id = lode_strdup(list.items[0].id);
    lode_store_unfinished_release(&list);
    return id;
}

/* The parts that a resume finds, as a bit mask. */
static unsigned parts_there(struct lode_store_write *write)
{
    struct lode_store_part *parts;
    size_t n;
    unsigned mask = 0;
    OK(lode_store_write_parts(write, &parts, &n, err));
    for (size_t i = 0; i < n; i++)
        mask |= 1u << parts[i].number;
    lode_store_free(parts);
    return mask;
}

static void a_killed_write_is_gone_on_with(void **state)
{
    killed_while_writing("m/w");
    _cleanup_store_ struct lode_store *store = opened();
    suite_expect_missing(store, "m/w");
    _cleanup_free_ char *id = unfinished_id(store);
    struct lode_store_write *write = suite_begin(store, "m/w", SIZE, PART, id);
    assert_int_equal(parts_there(write), 7);
    assert_int_equal(suite_part(write, 3, PART, SIZE, 1), 0);
    assert_int_equal(suite_part(write, 4, PART, SIZE, 1), 0);
    OK(lode_store_write_complete(write, SIZE, true, err));
    suite_expect(store, "m/w", SIZE, 1);
}

static void damage(const char *suffix, const char *id, off_t at, const char *bytes, size_t n)
{
    _cleanup_free_ char *path = lode_asprintf("%s/_staging/.parts/%s%s", base, id, suffix);
    _cleanup_close_ int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
}

/* As after a power cut: the marks are there, the bytes of a part are not. */
static void parts_that_are_damaged_are_not_there(void **state)
{
    killed_while_writing("m/w");
    _cleanup_store_ struct lode_store *store = opened();
    _cleanup_free_ char *id = unfinished_id(store);
    damage(".data", id, PART + 17, "\0\0\0\0\0\0\0\0", 8);
    struct lode_store_write *write = suite_begin(store, "m/w", SIZE, PART, id);
    assert_int_equal(parts_there(write), 5);
    lode_store_write_abort(write, true);
    struct stat st;
    _cleanup_free_ char *notes = lode_asprintf("%s/_staging/.parts/%s.parts", base, id);
    assert_int_equal(stat(notes, &st), 0);
    damage(".parts", id, st.st_size - 20, "?", 1); /* the mark of part 2 */
    write = suite_begin(store, "m/w", SIZE, PART, id);
    assert_int_equal(parts_there(write), 1);
    lode_store_write_abort(write, true);
    damage(".parts", id, 4, "?", 1); /* the head: nothing can be believed */
    struct lode_store_write_opts opts = {.size = SIZE, .part_size = PART, .resume = id};
    FAILS(LODE_NOT_FOUND, lode_store_write_begin(store, "m/w", &opts, &write, err));
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(store, "_staging", &list, err));
    assert_int_equal(list.n, 1); /* but it can be found and removed */
    OK(lode_store_discard(store, list.items[0].key, list.items[0].id, err));
    lode_store_unfinished_release(&list);
}

static void one_at_a_time_goes_on_with_a_write(void **state)
{
    killed_while_writing("m/w");
    _cleanup_store_ struct lode_store *store = opened();
    _cleanup_store_ struct lode_store *other = opened();
    _cleanup_free_ char *id = unfinished_id(store);
    struct lode_store_write_opts opts = {.size = SIZE, .part_size = PART, .resume = id};
    struct lode_store_write *write = suite_begin(store, "m/w", SIZE, PART, id), *second;
    FAILS(LODE_HELD, lode_store_write_begin(other, "m/w", &opts, &second, err));
    lode_store_write_abort(write, true);
    lode_store_write_abort(suite_begin(other, "m/w", SIZE, PART, id), false);
}

/* A crash between link() and the removal of the temporary name: going on would write into the
 * object. */
static void a_completed_write_is_not_gone_on_with(void **state)
{
    killed_while_writing("m/w");
    _cleanup_store_ struct lode_store *store = opened();
    _cleanup_free_ char *id = unfinished_id(store), *object = below("object");
    _cleanup_free_ char *data = lode_asprintf("%s/_staging/.parts/%s.data", base, id);
    assert_int_equal(link(data, object), 0);
    struct lode_store_write_opts opts = {.size = SIZE, .part_size = PART, .resume = id};
    struct lode_store_write *write;
    FAILS(LODE_NOT_FOUND, lode_store_write_begin(store, "m/w", &opts, &write, err));
    OK(lode_store_discard(store, "m/w", id, err));
    assert_int_equal(access(object, F_OK), 0);
}

/* A process that was taken for dead wakes up after its staging was published: nothing reaches
 * the published version. */
static void a_late_write_does_not_reach_what_is_published(void **state)
{
    _cleanup_store_ struct lode_store *store = opened();
    suite_put(store, "_staging/a1/x", 10, 1);
    struct lode_store_write *late = suite_begin(store, "_staging/a1/late", SIZE, PART, NULL);
    for (uint32_t n = 0; n < 5; n++)
        assert_int_equal(suite_part(late, n, PART, SIZE, 1), 0);
    OK(lode_store_rename_dir(store, "_staging/a1", "m/v1", err));
    OK(lode_store_write_complete(late, SIZE, true, err));
    suite_expect_missing(store, "m/v1/late");
    suite_expect(store, "_staging/a1/late", SIZE, 1);
}

/* ---- other kernels and file systems ---- */

static struct lode_sys other;

static int no_flags(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (flags == 0)
        return lode_sys_real.renameat2(from_dir, from, to_dir, to, 0);
    errno = EINVAL;
    return -1;
}

static int no_lock(int fd, int op)
{
    errno = ENOLCK;
    return -1;
}

static int no_reserve(int fd, int mode, off_t offset, off_t len)
{
    errno = EOPNOTSUPP;
    return -1;
}

static ssize_t no_copy(int in, off_t *in_off, int out, off_t *out_off, size_t n, unsigned flags)
{
    errno = EXDEV;
    return -1;
}

static int no_early_write(int fd, off_t offset, off_t n, unsigned flags)
{
    errno = ENOSYS;
    return -1;
}

static void *nfs_place(const struct store_maker *self)
{
    other = lode_sys_real;
    other.renameat2 = no_flags;
    other.flock = no_lock;
    other.fallocate = no_reserve;
    other.copy_file_range = no_copy;
    other.sync_file_range = no_early_write;
    lode_sys = &other;
    assert_int_equal(clear_base(NULL), 0);
    return base;
}

static struct lode_store *nfs_open(const struct store_maker *self, void *place, bool read_only)
{
    struct lode_store_config config = {.url = place, .read_only = read_only};
    struct lode_store *store = NULL;
    OK(lode_store_open(&config, &store, err));
    return store;
}

static void nfs_clear(const struct store_maker *self, void *place)
{
    lode_sys = &lode_sys_real;
}

static const struct store_maker nfs[] = {
    {"posix, as on NFS", nfs_place, nfs_open, nfs_clear, NULL}};

/* ---- sizes ---- */

/* More files in one batch than are opened at once. */
static void a_batch_over_many_files(void **state)
{
    _cleanup_store_ struct lode_store *store = opened();
    enum { FILES = 600 };
    static char keys[FILES][16], room[FILES][64];
    static struct lode_store_range ranges[FILES];
    for (int i = 0; i < FILES; i++) {
        snprintf(keys[i], sizeof keys[i], "f/%d", i);
        suite_put(store, keys[i], 64, (uint64_t)i);
        ranges[i] = (struct lode_store_range){keys[i], 0, 64, room[i]};
    }
    struct lode_store_read *read;
    struct tally tally;
    tally_init(&tally, ranges, FILES);
    OK(lode_store_read(store, ranges, FILES, tally_done, &tally, &read, err));
    OK(lode_store_read_wait(read, err));
    tally_end(&tally, false);
    for (int i = 0; i < FILES; i++) {
        char want[64];
        suite_fill(want, 64, (uint64_t)i, 0);
        assert_memory_equal(room[i], want, 64);
    }
}

static void modes_are_kept(void **state)
{
    _cleanup_store_ struct lode_store *store = opened();
    struct lode_store_write_opts opts = {.size = 1, .part_size = 1, .mode = 0751};
    struct lode_store_write *write;
    OK(lode_store_write_begin(store, "tool", &opts, &write, err));
    OK(lode_store_write_part(write, 0, "x", 1, err));
    OK(lode_store_write_complete(write, 1, true, err));
    _cleanup_free_ char *path = below("tool");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0751);
}

static void a_base_is_made(void **state)
{
    _cleanup_free_ char *deep = below("a/b/c");
    struct lode_store_config config = {.url = deep};
    struct lode_store *store = NULL;
    FAILS(LODE_NOT_FOUND, lode_store_open(&config, &store, err));
    config.create = true;
    OK(lode_store_open(&config, &store, err));
    suite_put(store, "x", 5, 1);
    lode_store_close(store);
    config.create = false;
    OK(lode_store_open(&config, &store, err));
    suite_expect(store, "x", 5, 1);
    lode_store_close(store);
}

int main(void)
{
    snprintf(base, sizeof base, "%s/lode-posix-%d",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(links_are_never_followed, clear_base),
        cmocka_unit_test_setup(pipes_do_not_make_it_wait, clear_base),
        cmocka_unit_test_setup(its_own_folder_is_no_key, clear_base),
        cmocka_unit_test_setup(a_killed_write_is_gone_on_with, clear_base),
        cmocka_unit_test_setup(parts_that_are_damaged_are_not_there, clear_base),
        cmocka_unit_test_setup(one_at_a_time_goes_on_with_a_write, clear_base),
        cmocka_unit_test_setup(a_completed_write_is_not_gone_on_with, clear_base),
        cmocka_unit_test_setup(a_late_write_does_not_reach_what_is_published, clear_base),
        cmocka_unit_test_setup(a_batch_over_many_files, clear_base),
        cmocka_unit_test_setup(modes_are_kept, clear_base),
        cmocka_unit_test_setup(a_base_is_made, clear_base),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL) + store_suite_run(nfs, 1);
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s' '%s.out'", base, base);
    return system(command) == 0 ? failed : 1;
}
