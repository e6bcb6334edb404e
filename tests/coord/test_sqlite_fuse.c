/* The SQLite coord on a real FUSE mount (as virtiofs is one, too): refused, and nothing is made
 * there. Needs root and /dev/fuse. The file system is a child process that knows an empty root
 * directory and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/coord_kit.h"
#include "support/support.h"

static char *dir;
static pid_t server;

static void reply(int fd, const struct fuse_in_header *in, int error, const void *body, size_t n)
{
    char buf[4096];
    struct fuse_out_header out = {
        .len = (uint32_t)(sizeof out + n), .error = error, .unique = in->unique};
    memcpy(buf, &out, sizeof out);
    if (n)
        memcpy(buf + sizeof out, body, n);
    if (write(fd, buf, sizeof out + n) < 0 && errno != ENOENT)
        _exit(1);
}

static void answer(int fd, const struct fuse_in_header *in)
{
    struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
    struct fuse_attr_out attr = {.attr = {.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2}};
    struct fuse_open_out opened = {.fh = 1};
    struct fuse_statfs_out fs = {.st = {.bsize = 4096, .namelen = 255}};
    switch (in->opcode) {
    case FUSE_INIT:
        reply(fd, in, 0, &init, sizeof init);
        break;
    case FUSE_GETATTR:
        reply(fd, in, 0, &attr, sizeof attr);
        break;
    case FUSE_OPENDIR:
        reply(fd, in, 0, &opened, sizeof opened);
        break;
    case FUSE_STATFS:
        reply(fd, in, 0, &fs, sizeof fs);
        break;
    case FUSE_RELEASEDIR:
        reply(fd, in, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        break;
    default:
        reply(fd, in, in->opcode == FUSE_LOOKUP ? -ENOENT : -ENOSYS, NULL, 0);
    }
}

static void serve(int fd)
{
    static _Alignas(8) char request[FUSE_MIN_READ_BUFFER + 4096];
    for (;;) {
        ssize_t n = read(fd, request, sizeof request);
        if (n >= (ssize_t)sizeof(struct fuse_in_header))
            answer(fd, (const struct fuse_in_header *)(const void *)request);
        else if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
            _exit(0);
    }
}

static int setup(void **state)
{
    char options[128];
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        lode_test_skip("no /dev/fuse here, or no right to it");
    dir = kit_temp_dir();
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    if (mount("lode-test", dir, "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
        kit_remove_dir(dir);
        lode_test_skip("a FUSE file system cannot be mounted here");
    }
    server = kit_fork();
    if (server == 0)
        serve(fd);
    close(fd);
    return server < 0;
}

static int teardown(void **state)
{
    umount2(dir, MNT_DETACH);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    rmdir(dir);
    return 0;
}

static void refuses_a_fuse_mount(void **state)
{
    struct lode_coord *c = NULL;
    struct lode_err err = {0};
    char url[96];
    snprintf(url, sizeof url, "sqlite://%s/coord.db", dir);
    struct lode_coord_config config = {.url = url, .create = true};
    assert_int_equal(lode_coord_open(&config, &c, &err), LODE_UNSUPPORTED);
    assert_non_null(strstr(err.text, "FUSE"));
    assert_non_null(strstr(err.text, "lode serve"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refuses_a_fuse_mount, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
