/* Losing power: what was synced below a directory, and rolling back to it. See fault_sys.h for the
 * model.
 *
 * A node is an inode that has been seen: by the walk at the start, by a sync, or in a synced
 * directory's listing. An O_PATH descriptor pins it, so that the kernel gives its number to no
 * other file while we know it. Durable content of a file is a copy in the scratch directory; of a
 * directory, a list of (name, node).
 */
#include "support/fault_track.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "support/fault_sys.h"

struct entry {
    char *name;
    size_t node;
};
struct node {
    dev_t dev;
    ino_t ino;
    int pin; /* O_PATH descriptor */
    mode_t mode;
    bool synced; /* content below is durable; else the file is empty */
    struct timespec mtime;
    char *target;          /* of a symbolic link */
    struct entry *entries; /* of a directory */
    size_t n_entries;
    size_t owner;  /* of a directory: the parent whose synced listing had it last */
    char *rebuilt; /* during a cut: where it lies already (hard links) */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], scratch[64];
static struct node *nodes;
static size_t n_nodes;

static void die(const char *what, const char *path)
{
    fprintf(stderr, "fault_track: cannot %s %s: %s\n", what, path, strerror(errno));
    abort();
}

static void *more(void *p, size_t n)
{
    p = realloc(p, n);
    if (!p)
        die("allocate", "memory");
    return p;
}

static void copy_bytes(int in, int out)
{
    char buf[65536];
    off_t at = 0;
    for (;;) {
        ssize_t n = pread(in, buf, sizeof buf, at);
        if (n < 0 || (n > 0 && pwrite(out, buf, (size_t)n, at) != n))
            die("copy", "a file");
        if (n == 0)
            break;
        at += n;
    }
    if (ftruncate(out, at) < 0)
        die("truncate", "a copy");
}

static void copy_path(size_t i, char out[128])
{
    snprintf(out, 128, "%s/%zu", scratch, i);
}

/* The node of the file that (dirfd, name) or fd itself is; makes one. */
static size_t node_of(int dirfd, const char *name)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
        die("stat", name);
    for (size_t i = 0; i < n_nodes; i++) {
        if (nodes[i].ino == st.st_ino && nodes[i].dev == st.st_dev)
            return i;
    }
    char proc[64];
    int pin;
    if (*name) {
        pin = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    } else {
        snprintf(proc, sizeof proc, "/proc/self/fd/%d", dirfd);
        pin = open(proc, O_PATH | O_CLOEXEC);
    }
    if (pin < 0)
        die("pin", name);
    nodes = more(nodes, (n_nodes + 1) * sizeof *nodes);
    nodes[n_nodes] =
        (struct node){.dev = st.st_dev, .ino = st.st_ino, .pin = pin, .mode = st.st_mode};
    if (S_ISLNK(st.st_mode)) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(pin, "", target, sizeof target - 1);
        nodes[n_nodes].target = strndup(target, n < 0 ? 0 : (size_t)n);
    }
    return n_nodes++;
}

static void forget_entries(struct node *n)
{
    for (size_t i = 0; i < n->n_entries; i++)
        free(n->entries[i].name);
    free(n->entries);
    n->entries = NULL;
    n->n_entries = 0;
}

static DIR *open_listing(int fd)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = own < 0 ? NULL : fdopendir(own);
    if (!d)
        die("list", "a directory");
    return d;
}

static void save_listing(size_t dir, int fd)
{
    DIR *d = open_listing(fd);
    forget_entries(&nodes[dir]);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) <
                0) /* just removed by another thread */
            continue;
        size_t child = node_of(dirfd(d), e->d_name);
        struct node *n = &nodes[dir];
        nodes[child].owner = dir;
        n->entries = more(n->entries, (n->n_entries + 1) * sizeof *n->entries);
        n->entries[n->n_entries++] = (struct entry){strdup(e->d_name), child};
    }
    closedir(d);
}

static void save_content(size_t i)
{
    char proc[64], copy[128];
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", nodes[i].pin);
    copy_path(i, copy);
    int in = open(proc, O_RDONLY | O_CLOEXEC),
        out = open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (in < 0 || out < 0)
        die("copy", proc);
    copy_bytes(in, out);
    close(in);
    close(out);
}

/* Notes the present state of a file or directory as durable. */
static void save(size_t i)
{
    struct stat st;
    if (fstat(nodes[i].pin, &st) < 0)
        die("stat", "a node");
    nodes[i].mode = st.st_mode;
    nodes[i].mtime = st.st_mtim;
    nodes[i].synced = true;
    if (S_ISDIR(st.st_mode))
        save_listing(i, nodes[i].pin);
    else if (S_ISREG(st.st_mode))
        save_content(i);
}

static bool in_root(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    size_t len = strlen(root);
    path[n < 0 ? 0 : n] = 0;
    /* " (deleted)" behind a path does no harm; an unnamed temporary shows its directory. */
    return len && strncmp(path, root, len) == 0 && (path[len] == '/' || path[len] == 0);
}

void fault_track_synced(int fd)
{
    int saved = errno;
    pthread_mutex_lock(&mutex);
    if (root[0] && in_root(fd))
        save(node_of(fd, ""));
    pthread_mutex_unlock(&mutex);
    errno = saved;
}

static void save_tree(size_t i)
{
    save(i);
    for (size_t k = 0; k < nodes[i].n_entries; k++) {
        size_t child = nodes[i].entries[k].node;
        if (!nodes[child].synced)
            save_tree(child);
    }
}

static void forget(void)
{
    for (size_t i = 0; i < n_nodes; i++) {
        char copy[128];
        copy_path(i, copy);
        unlink(copy);
        close(nodes[i].pin);
        free(nodes[i].target);
        free(nodes[i].rebuilt);
        forget_entries(&nodes[i]);
    }
    free(nodes);
    nodes = NULL;
    n_nodes = 0;
}

static void begin(void)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        die("open", root);
    save_tree(node_of(fd, ""));
    close(fd);
}

void fault_track(const char *dir)
{
    struct rlimit lim;
    fault_track_end();
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max; /* a pin a file */
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    pthread_mutex_lock(&mutex);
    snprintf(scratch, sizeof scratch, "/tmp/lode-fault-XXXXXX");
    if (!mkdtemp(scratch))
        die("make", scratch);
    if (!realpath(dir, root))
        die("find", dir);
    begin();
    pthread_mutex_unlock(&mutex);
}

void fault_track_end(void)
{
    pthread_mutex_lock(&mutex);
    if (root[0]) {
        forget();
        rmdir(scratch);
    }
    root[0] = 0;
    pthread_mutex_unlock(&mutex);
}

int fault_track_fds(void)
{
    pthread_mutex_lock(&mutex);
    int n = (int)n_nodes;
    pthread_mutex_unlock(&mutex);
    return n;
}

/* ---- the cut ---- */

static void remove_tree(int dirfd_, const char *name)
{
    int fd = openat(dirfd_, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        unlinkat(dirfd_, name, 0);
        return;
    }
    DIR *d = open_listing(fd);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove_tree(fd, e->d_name);
    }
    closedir(d);
    close(fd);
    unlinkat(dirfd_, name, AT_REMOVEDIR);
}

static void rebuild_file(struct node *n, size_t i, const char *path)
{
    char copy[128];
    copy_path(i, copy);
    int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int in = n->synced ? open(copy, O_RDONLY | O_CLOEXEC) : -1;
    if (out < 0 || (n->synced && in < 0))
        die("rebuild", path);
    if (in >= 0)
        copy_bytes(in, out);
    fchmod(out, n->mode & 07777);
    struct timespec times[2] = {n->mtime, n->mtime};
    if (n->synced)
        futimens(out, times);
    close(out);
    if (in >= 0)
        close(in);
}

static void rebuild(size_t i, const char *path)
{
    struct node *n = &nodes[i];
    if (S_ISDIR(n->mode)) {
        if (mkdir(path, 0700) < 0)
            die("rebuild", path);
        for (size_t k = 0; k < n->n_entries; k++) {
            char below[PATH_MAX];
            const struct node *child = &nodes[n->entries[k].node];
            /* Moved away, its new parent synced: a directory is never in two places. */
            if (S_ISDIR(child->mode) && child->owner != i)
                continue;
            snprintf(below, sizeof below, "%s/%s", path, n->entries[k].name);
            rebuild(n->entries[k].node, below);
        }
        chmod(path, n->mode & 07777);
    } else if (n->rebuilt) {
        if (link(n->rebuilt, path) < 0)
            die("rebuild", path);
    } else {
        if (S_ISLNK(n->mode) && symlink(n->target, path) < 0)
            die("rebuild", path);
        if (S_ISREG(n->mode))
            rebuild_file(n, i, path);
        n->rebuilt = strdup(path);
    }
}

/* Moves what is in `from` to the root, which keeps its inode. */
static void replace_root(const char *from)
{
    int old = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        fresh = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (old < 0 || fresh < 0)
        die("open", from);
    DIR *d = open_listing(old);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove_tree(old, e->d_name);
    }
    closedir(d);
    d = open_listing(fresh);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            renameat(fresh, e->d_name, old, e->d_name) < 0)
            die("move", e->d_name);
    }
    closedir(d);
    close(old);
    close(fresh);
    rmdir(from);
}

void fault_power_cut(void)
{
    char cut[PATH_MAX + 8];
    pthread_mutex_lock(&mutex);
    if (!root[0]) {
        errno = EINVAL;
        die("cut", "(nothing is tracked)");
    }
    snprintf(cut, sizeof cut, "%s.cut", root);
    rebuild(0, cut);
    replace_root(cut);
    forget();
    begin();
    pthread_mutex_unlock(&mutex);
}
