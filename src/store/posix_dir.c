/* Directories of the posix store: list, remove, rename. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/sys.h"
#include "store/posix.h"
#include "store/util.h"

/* ---- list ---- A directory is read whole for each page, but only the page's names are held:
 * the smallest ones after `after`, in a heap with the largest on top. */

struct names {
    char **heap;
    size_t n, limit, cap;
    bool more; /* something above the limit was seen */
};

static void swap(char **a, char **b)
{
    char *c = *a;
    *a = *b;
    *b = c;
}

static void sift_down(struct names *names)
{
    for (size_t at = 0, child; (child = 2 * at + 1) < names->n; at = child) {
        if (child + 1 < names->n && strcmp(names->heap[child + 1], names->heap[child]) > 0)
            child++;
        if (strcmp(names->heap[at], names->heap[child]) >= 0)
            return;
        swap(&names->heap[at], &names->heap[child]);
    }
}

static void sift_up(struct names *names)
{
    for (size_t at = names->n - 1; at > 0; at = (at - 1) / 2) {
        if (strcmp(names->heap[at], names->heap[(at - 1) / 2]) <= 0)
            return;
        swap(&names->heap[at], &names->heap[(at - 1) / 2]);
    }
}

static int keep_name(struct names *names, const char *name, struct lode_err *err)
{
    bool full = names->n == names->limit;
    names->more = names->more || full;
    if (full && strcmp(name, names->heap[0]) >= 0)
        return 0;
    char *copy = lode_strdup(name);
    if (!copy ||
        lode_grow((void **)&names->heap, &names->cap, names->n + 1, sizeof *names->heap) < 0) {
        lode_free(copy);
        return lode_err_nomem(err, "a list");
    }
    if (full) {
        lode_free(names->heap[0]);
        names->heap[0] = copy;
        sift_down(names);
    } else {
        names->heap[names->n++] = copy;
        sift_up(names);
    }
    return 0;
}

static void names_release(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        lode_free(names->heap[i]);
    lode_free(names->heap);
}

/* What can be no key (control characters, not UTF-8) or no object (links, devices) is not Lode's
 * and not shown. */
static bool shown(const char *dir, const struct dirent *entry)
{
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    if (strcmp(dir, POSIX_STAGING) == 0 && strcmp(name, lode_key_leaf(POSIX_PARTS)) == 0 &&
        !LODE_PLANTED(store_parts_listed))
        return false;
    if (entry->d_type != DT_REG && entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)
        return false;
    return lode_key_check(name, strlen(name), false, NULL) == 0;
}

static int gather(DIR *at, const char *dir, const char *after, struct names *names,
                  struct lode_err *err)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = lode_sys->readdir(at);
        if (!entry)
            return errno ? lode_err_sys(err, "cannot list %s", lode_q(dir)) : 0;
        if (!shown(dir, entry) || (after && strcmp(entry->d_name, after) <= 0))
            continue;
        int r = keep_name(names, entry->d_name, err);
        if (r < 0)
            return r;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int fill_entry(int dirfd, const char *name, struct lode_store_page *page,
                      struct lode_err *err)
{
    struct stat st;
    if (lode_sys->fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : lode_err_sys(err, "cannot look at %s", lode_q(name));
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return 0;
    struct lode_store_entry *entry = &page->entries[page->n];
    entry->name = lode_strdup(name);
    if (!entry->name)
        return lode_err_nomem(err, "a list");
    posix_fill_stat(&st, &entry->stat);
    page->n++;
    return 0;
}

static int fill_page(int dirfd, struct names *names, struct lode_store_page *page,
                     struct lode_err *err)
{
    if (names->n > 0)
        qsort(names->heap, names->n, sizeof *names->heap, by_name);
    page->entries = lode_calloc(names->n, sizeof *page->entries);
    if (names->more && names->n > 0)
        page->next = lode_strdup(names->heap[names->n - 1]);
    if (!page->entries || (names->more && !page->next))
        return lode_err_nomem(err, "a list");
    int r = 0;
    for (size_t i = 0; r == 0 && i < names->n; i++)
        r = fill_entry(dirfd, names->heap[i], page, err);
    return r;
}

int posix_list(struct lode_store *store, const char *dir, const char *after, size_t limit,
               struct lode_store_page *out, struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    int fd = -1;
    int r = posix_check_key(self, dir, err);
    if (r == 0)
        r = posix_open_dir(self, dir, &fd, err);
    if (r < 0)
        return r;
    DIR *at = lode_sys->fdopendir(fd);
    if (!at) {
        r = lode_err_sys(err, "cannot list %s in %s", lode_q(dir), self->base.url);
        lode_closep(&fd);
        return r;
    }
    struct names names = {.limit = limit};
    struct lode_store_page page = {0};
    r = gather(at, dir, after, &names, err);
    if (r == 0)
        r = fill_page(fd, &names, &page, err);
    lode_sys->closedir(at);
    names_release(&names);
    if (r < 0)
        lode_store_page_release(&page);
    else
        *out = page;
    return r;
}

/* ---- remove ---- */

static int remove_failed(const struct posix_store *self, const char *key, struct lode_err *err)
{
    if (errno == ENOTEMPTY || errno == EEXIST)
        return lode_err_set(err, LODE_EXISTS,
                            "cannot remove the directory %s in %s: it is not empty", lode_q(key),
                            self->base.url);
    return lode_err_sys(err, "cannot remove %s in %s", lode_q(key), self->base.url);
}

static int remove_dir(const struct posix_store *self, int parent, const char *key)
{
    if (strcmp(key, POSIX_STAGING) == 0) {
        _cleanup_close_ int staging =
            lode_sys->open_beneath(self->dir, key, O_RDONLY | O_DIRECTORY, 0);
        if (staging >= 0)
            /* goes only when empty */
            lode_sys->unlinkat(staging, lode_key_leaf(POSIX_PARTS), AT_REMOVEDIR);
    }
    return lode_sys->unlinkat(parent, lode_key_leaf(key), AT_REMOVEDIR);
}

int posix_remove(struct lode_store *store, const char *key, struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    int r = lode_store_may_write(store, key, err);
    if (r == 0)
        r = posix_check_key(self, key, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *dir = lode_strndup(key, lode_key_parent(key));
    _cleanup_close_ int parent = -1;
    struct stat st;
    if (!dir)
        return lode_err_nomem(err, "a path");
    r = posix_open_dir(self, dir, &parent, err);
    if (r < 0)
        return r;
    if (lode_sys->fstatat(parent, lode_key_leaf(key), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return lode_err_sys(err, "cannot remove %s in %s", lode_q(key), self->base.url);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return lode_err_set(err, LODE_DENIED,
                            "%s in %s is neither a file nor a directory; it is not ours to remove",
                            lode_q(key), self->base.url);
    posix_synced_forget(&self->synced);
    int gone = S_ISDIR(st.st_mode) ? remove_dir(self, parent, key)
                                   : lode_sys->unlinkat(parent, lode_key_leaf(key), 0);
    if (gone < 0)
        return remove_failed(self, key, err);
    /* What gc has freed must not be there again after a power cut: its record is gone by then. One
     * flush at the top of a tree is enough for all that was in it. */
    return S_ISDIR(st.st_mode) ? posix_sync_fd(self, parent, dir, err) : 0;
}

/* ---- rename ---- */

/* Where the file system knows no RENAME_NOREPLACE (NFS): mkdir() claims the name for one of all
 * that want it, and rename() replaces that empty directory only. A reader may see it empty for a
 * moment; nothing is ever replaced. */
static int rename_by_claim(int from_dir, const char *from, int to_dir, const char *to)
{
    struct stat st;
    if (lode_sys->fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (lode_sys->mkdirat(to_dir, to, 0700) < 0)
        return -1;
    if (lode_sys->renameat2(from_dir, from, to_dir, to, 0) == 0)
        return 0;
    int saved = errno;
    lode_sys->unlinkat(to_dir, to, AT_REMOVEDIR);
    errno = saved;
    return -1;
}

static int rename_at(int from_dir, const char *from, int to_dir, const char *to)
{
    unsigned flags = LODE_PLANTED(store_rename_replaces) ? 0 : RENAME_NOREPLACE;
    if (lode_sys->renameat2(from_dir, from, to_dir, to, flags) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -1;
    return rename_by_claim(from_dir, from, to_dir, to);
}

static int rename_failed(const struct posix_store *self, const char *from, const char *to,
                         struct lode_err *err)
{
    if (errno == EEXIST || errno == ENOTEMPTY)
        return lode_err_set(err, LODE_EXISTS, "cannot rename %s in %s: %s is already there",
                            lode_q(from), self->base.url, lode_q(to));
    return lode_err_sys(err, "cannot rename %s to %s in %s", lode_q(from), lode_q(to),
                        self->base.url);
}

/* Bytes and names below are flushed before the name appears, so that a crash never shows a name
 * without them. */
static int sync_source(struct posix_store *self, const char *from, struct lode_err *err)
{
    _cleanup_close_ int fd = -1;
    int r = posix_open_dir(self, from, &fd, err);
    return r < 0 ? r : posix_sync_tree(self, fd, from, 0, err);
}

static int rename_checks(struct posix_store *self, const char *from, const char *to,
                         struct lode_err *err)
{
    int r = lode_store_may_write((struct lode_store *)(void *)self, from, err);
    if (r == 0)
        r = posix_check_poison(self, to, err);
    if (r == 0)
        r = posix_check_key(self, from, err);
    if (r == 0)
        r = posix_check_key(self, to, err);
    if (r == 0 && strcmp(from, to) != 0 &&
        (lode_key_beneath(to, from) || lode_key_beneath(POSIX_PARTS, from)))
        return lode_err_set(err, LODE_INVALID,
                            "cannot rename %s to %s in %s: a directory cannot move into itself",
                            lode_q(from), lode_q(to), self->base.url);
    return r;
}

int posix_rename_dir(struct lode_store *store, const char *from, const char *to,
                     struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    int r = rename_checks(self, from, to, err);
    if (r == 0)
        r = sync_source(self, from, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *from_dir = lode_strndup(from, lode_key_parent(from));
    _cleanup_free_ char *to_dir = lode_strndup(to, lode_key_parent(to));
    _cleanup_close_ int from_fd = -1, to_fd = -1;
    if (!from_dir || !to_dir)
        return lode_err_nomem(err, "a path");
    r = posix_open_dir(self, from_dir, &from_fd, err);
    if (r == 0)
        r = posix_make_dir(self, to_dir, &to_fd, err);
    /* The way to the new name is on disk before it is taken: a crash in between keeps the old one.
     */
    if (r == 0)
        r = posix_sync_names(self, to_dir, err);
    if (r < 0)
        return r;
    if (rename_at(from_fd, lode_key_leaf(from), to_fd, lode_key_leaf(to)) < 0)
        return rename_failed(self, from, to, err);
    r = posix_sync_fd(self, to_fd, to_dir, err);
    if (r == 0 && strcmp(from_dir, to_dir) != 0)
        r = posix_sync_fd(self, from_fd, from_dir, err);
    return r;
}
