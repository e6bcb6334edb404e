/* Unfinished writes of the posix store: which of their parts are safely there.
 *
 * Beside `<id>.data`, which holds the bytes at their places, `<id>.parts` holds a head (key,
 * part size, start) and a mark of fixed size for each part at a fixed place: its number, length
 * and XXH3-128. A mark is written after its part and neither is flushed: a resume compares every
 * mark with the bytes, so that whatever a crash or a power cut did to either, only parts that
 * are there whole are told as there. Hashing a part costs a fiftieth of writing it.
 *
 * Both files are little-endian and fixed-width. A write of one part has no marks: there is
 * nothing to go on with.
 */
#include <errno.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/size.h"
#include "base/sys.h"
#include "store/posix.h"
#include "store/util.h"

#define MAGIC 0x5452415045444f4cull /* "LODEPART" */
#define VERSION 1
#define MARKS_AT_ONCE 512

/* Each ends with the first bytes of its own digest, so that a torn one shows. */
struct head_bytes {
    uint64_t magic;
    uint32_t version, key_len;
    uint64_t part_size;
    int64_t started_ms;
    uint8_t key_digest[LODE_XXH128_LEN]; /* of the key's bytes, which follow */
    uint8_t check[LODE_XXH128_LEN];
};

struct mark_bytes {
    uint32_t number, zero;
    uint64_t len;
    uint8_t digest[LODE_XXH128_LEN];
    uint8_t check[LODE_XXH128_LEN];
};

static uint64_t mark_at(size_t key_len, uint64_t number)
{
    return sizeof(struct head_bytes) + key_len + number * sizeof(struct mark_bytes);
}

void posix_parts_name(const char *id, const char *suffix, char out[POSIX_ID_HEX + 8])
{
    memcpy(out, id, POSIX_ID_HEX);
    memcpy(out + POSIX_ID_HEX, suffix, strlen(suffix) + 1);
}

static void digest_into(uint8_t out[LODE_XXH128_LEN], const void *p, size_t n)
{
    struct lode_xxh128 digest = lode_xxh128_of(p, n);
    memcpy(out, digest.b, LODE_XXH128_LEN);
}

static bool digest_is(const uint8_t want[LODE_XXH128_LEN], const void *p, size_t n)
{
    struct lode_xxh128 digest = lode_xxh128_of(p, n);
    return memcmp(want, digest.b, LODE_XXH128_LEN) == 0;
}

int posix_parts_create(int parts_dir, const char *id, const struct posix_parts_head *head, int *fd,
                       struct lode_err *err)
{
    char name[POSIX_ID_HEX + 8];
    size_t key_len = strlen(head->key);
    posix_parts_name(id, ".parts", name);
    struct head_bytes bytes = {
        .magic = htole64(MAGIC),
        .version = htole32(VERSION),
        .key_len = htole32((uint32_t)key_len),
        .part_size = htole64(head->part_size),
        .started_ms = (int64_t)htole64((uint64_t)head->started_ms),
    };
    digest_into(bytes.key_digest, head->key, key_len);
    digest_into(bytes.check, &bytes, offsetof(struct head_bytes, check));
    _cleanup_close_ int at = lode_sys->openat(parts_dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (at < 0 || lode_pwrite_full(at, &bytes, sizeof bytes, 0) < 0 ||
        lode_pwrite_full(at, head->key, key_len, sizeof bytes) < 0) {
        int r = lode_err_sys(err, "cannot note the parts of %s", lode_q(head->key));
        if (at >= 0)
            lode_sys->unlinkat(parts_dir, name, 0);
        return r;
    }
    *fd = lode_steal_fd(at);
    return 0;
}

static bool head_is_whole(const struct head_bytes *bytes)
{
    return le64toh(bytes->magic) == MAGIC && le32toh(bytes->version) == VERSION &&
           digest_is(bytes->check, bytes, offsetof(struct head_bytes, check)) &&
           le32toh(bytes->key_len) <= LODE_PATH_MAX && le64toh(bytes->part_size) > 0;
}

int posix_parts_open(int parts_dir, const char *id, struct posix_parts_head *head, int *fd,
                     struct lode_err *err)
{
    char name[POSIX_ID_HEX + 8];
    struct head_bytes bytes;
    posix_parts_name(id, ".parts", name);
    _cleanup_close_ int at = lode_sys->open_beneath(parts_dir, name, O_RDWR, 0);
    if (at < 0)
        return lode_err_sys(err, "cannot open the unfinished write %s", id);
    if (lode_pread_full(at, &bytes, sizeof bytes, 0) < 0 || !head_is_whole(&bytes))
        return lode_err_set(err, LODE_NOT_FOUND, "the notes of the unfinished write %s are damaged",
                            id);
    size_t key_len = le32toh(bytes.key_len);
    _cleanup_free_ char *key = lode_zalloc(key_len + 1);
    if (!key)
        return lode_err_nomem(err, "a key");
    if (lode_pread_full(at, key, key_len, sizeof bytes) < 0 ||
        !digest_is(bytes.key_digest, key, key_len) || lode_key_check(key, key_len, false, NULL) < 0)
        return lode_err_set(err, LODE_NOT_FOUND, "the notes of the unfinished write %s are damaged",
                            id);
    head->key = lode_steal(key);
    head->part_size = le64toh(bytes.part_size);
    head->started_ms = (int64_t)le64toh((uint64_t)bytes.started_ms);
    *fd = lode_steal_fd(at);
    return 0;
}

int posix_parts_mark(int fd, size_t key_len, uint32_t number, const void *data, size_t len,
                     struct lode_err *err)
{
    struct mark_bytes mark = {.number = htole32(number), .len = htole64(len)};
    digest_into(mark.digest, data, len);
    digest_into(mark.check, &mark, offsetof(struct mark_bytes, check));
    if (lode_pwrite_full(fd, &mark, sizeof mark, mark_at(key_len, number)) < 0)
        return lode_err_sys(err, "cannot note part %u", number);
    return 0;
}

/* ---- resuming ---- */

static bool mark_is_whole(const struct mark_bytes *mark, uint64_t number, uint64_t part_size)
{
    return le32toh(mark->number) == number && le64toh(mark->len) > 0 &&
           le64toh(mark->len) <= part_size &&
           digest_is(mark->check, mark, offsetof(struct mark_bytes, check));
}

/* Compares a part's bytes with its mark. Parts may be large: they are hashed in one buffer of a
 * part's size only up to LODE_TRANSFER_MEMORY; a larger part is simply sent again. */
static bool part_is_there(int data_fd, const struct mark_bytes *mark, uint64_t offset, void *room)
{
    size_t len = (size_t)le64toh(mark->len);
    return LODE_PLANTED(store_resume_believes_marks) ||
           (lode_pread_full(data_fd, room, len, offset) == 0 && digest_is(mark->digest, room, len));
}

static size_t count_marks(int fd, size_t key_len)
{
    struct stat st;
    if (lode_sys->fstat(fd, &st) < 0 || (uint64_t)st.st_size <= mark_at(key_len, 0))
        return 0;
    uint64_t n = ((uint64_t)st.st_size - mark_at(key_len, 0)) / sizeof(struct mark_bytes);
    return (size_t)lode_min(n, (uint64_t)LODE_STORE_PARTS_MAX);
}

static void verify_marks(const struct mark_bytes *marks, size_t first, size_t n, int data_fd,
                         uint64_t part_size, void *room, uint64_t *lens)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t offset;
        if (mark_is_whole(&marks[i], first + i, part_size) &&
            lode_mul_u64(first + i, part_size, &offset) &&
            part_is_there(data_fd, &marks[i], offset, room))
            lens[first + i] = le64toh(marks[i].len);
    }
}

int posix_parts_verify(int fd, const struct posix_parts_head *head, int data_fd, uint64_t **lens,
                       size_t *n, struct lode_err *err)
{
    size_t key_len = strlen(head->key);
    size_t count = head->part_size <= LODE_TRANSFER_MEMORY ? count_marks(fd, key_len) : 0;
    _cleanup_free_ uint64_t *found = lode_calloc(count, sizeof *found);
    _cleanup_free_ struct mark_bytes *marks = lode_calloc(MARKS_AT_ONCE, sizeof *marks);
    _cleanup_free_ void *room = lode_alloc(count ? (size_t)head->part_size : 1);
    if (!found || !marks || !room)
        return lode_err_nomem(err, "the parts of an unfinished write");
    for (size_t at = 0; at < count; at += MARKS_AT_ONCE) {
        size_t some = lode_min((size_t)MARKS_AT_ONCE, count - at);
        if (lode_pread_full(fd, marks, some * sizeof *marks, mark_at(key_len, at)) < 0)
            return lode_err_sys(err, "cannot read the parts of %s", lode_q(head->key));
        verify_marks(marks, at, some, data_fd, head->part_size, room, found);
    }
    *lens = lode_steal(found);
    *n = count;
    return 0;
}

/* ---- what is unfinished ---- */

/* "<id>.data" or "<id>.parts": answers the suffix, NULL for a name that is none of ours. */
static const char *suffix_of(const char *name)
{
    uint8_t bytes[POSIX_ID_HEX / 2];
    size_t n = strlen(name);
    if (n <= POSIX_ID_HEX || !lode_unhex(name, POSIX_ID_HEX, bytes, sizeof bytes))
        return NULL;
    const char *suffix = name + POSIX_ID_HEX;
    return strcmp(suffix, ".data") == 0 || strcmp(suffix, ".parts") == 0 ? suffix : NULL;
}

/* A write of one part, and one whose notes are lost, still take space: they are told under a key
 * of their own beneath _staging, so that gc sees them. */
static int orphan(int parts_dir, const char *id, struct posix_parts_head *head,
                  struct lode_err *err)
{
    char name[POSIX_ID_HEX + 8];
    struct stat st;
    posix_parts_name(id, ".data", name);
    if (lode_sys->fstatat(parts_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        posix_parts_name(id, ".parts", name);
        if (lode_sys->fstatat(parts_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return LODE_NOT_FOUND;
    }
    head->started_ms = st.st_mtim.tv_sec * 1000ll;
    head->key = lode_asprintf("%s/%s", POSIX_PARTS, name);
    return head->key ? 0 : lode_err_nomem(err, "a key");
}

static int add_unfinished(int parts_dir, const char *id, const char *dir,
                          struct lode_store_unfinished_list *list, size_t *cap,
                          struct lode_err *err)
{
    struct posix_parts_head head = {0};
    _cleanup_close_ int fd = -1;
    int r = posix_parts_open(parts_dir, id, &head, &fd, NULL);
    if (r == LODE_NOT_FOUND)
        r = orphan(parts_dir, id, &head, err);
    if (r == LODE_NOT_FOUND)
        return 0;
    _cleanup_free_ char *key = head.key;
    if (r < 0)
        return r == LODE_NO_MEMORY ? lode_err_nomem(err, "a list")
                                   : lode_err_sys(err, "cannot look at %s", id);
    if (!lode_key_beneath(key, dir))
        return 0;
    char *own = lode_strndup(id, POSIX_ID_HEX);
    if (!own || lode_grow((void **)&list->items, cap, list->n + 1, sizeof *list->items) < 0) {
        lode_free(own);
        return lode_err_nomem(err, "a list");
    }
    list->items[list->n++] = (struct lode_store_unfinished){lode_steal(key), own, head.started_ms};
    return 0;
}

/* Each write once: by its notes, or by its data where it has none. */
static int gather(int parts_dir, DIR *at, const char *dir, struct lode_store_unfinished_list *list,
                  struct lode_err *err)
{
    size_t cap = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = lode_sys->readdir(at);
        if (!entry)
            return errno ? lode_err_sys(err, "cannot list unfinished writes") : 0;
        const char *suffix = suffix_of(entry->d_name);
        char notes[POSIX_ID_HEX + 8];
        struct stat st;
        if (!suffix)
            continue;
        posix_parts_name(entry->d_name, ".parts", notes);
        if (strcmp(suffix, ".data") == 0 &&
            lode_sys->fstatat(parts_dir, notes, &st, AT_SYMLINK_NOFOLLOW) == 0)
            continue;
        int r = add_unfinished(parts_dir, entry->d_name, dir, list, &cap, err);
        if (r < 0)
            return r;
    }
}

static int open_parts_dir(struct posix_store *self, int *fd)
{
    *fd = lode_sys->open_beneath(self->dir, POSIX_PARTS, O_RDONLY | O_DIRECTORY, 0);
    return *fd < 0 ? -1 : 0;
}

int posix_unfinished(struct lode_store *store, const char *dir,
                     struct lode_store_unfinished_list *out, struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    struct lode_store_unfinished_list list = {0};
    int fd;
    if (open_parts_dir(self, &fd) < 0) {
        if (errno != ENOENT)
            return lode_err_sys(err, "cannot list unfinished writes in %s", self->base.url);
        *out = list;
        return 0;
    }
    DIR *at = lode_sys->fdopendir(fd);
    if (!at) {
        int r = lode_err_sys(err, "cannot list unfinished writes in %s", self->base.url);
        lode_closep(&fd);
        return r;
    }
    int r = gather(fd, at, dir, &list, err);
    lode_sys->closedir(at);
    if (r < 0)
        lode_store_unfinished_release(&list);
    else
        *out = list;
    return r;
}

/* The writer of an orphan holds a lock on its file as long as it lives. HELD when it does. */
static int lock_orphan(int parts_dir, const char *id, int *fd, struct lode_err *err)
{
    char name[POSIX_ID_HEX + 8];
    posix_parts_name(id, ".data", name);
    *fd = lode_sys->open_beneath(parts_dir, name, O_RDWR | O_NOFOLLOW, 0);
    if (*fd >= 0 && lode_sys->flock(*fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return lode_err_set(err, LODE_HELD, "the unfinished write %s has a living writer", id);
    return 0;
}

int posix_discard(struct lode_store *store, const char *key, const char *id, struct lode_err *err)
{
    struct posix_store *self = posix_of(store);
    uint8_t bytes[POSIX_ID_HEX / 2];
    int r = lode_store_may_write(store, key, err);
    if (r < 0)
        return r;
    if (strlen(id) != POSIX_ID_HEX || !lode_unhex(id, POSIX_ID_HEX, bytes, sizeof bytes))
        return lode_err_set(err, LODE_NOT_FOUND, "no unfinished write %s of %s", lode_q(id),
                            lode_q(key));
    _cleanup_close_ int fd = -1;
    if (open_parts_dir(self, &fd) < 0)
        return lode_err_sys(err, "no unfinished write %s of %s", id, lode_q(key));
    _cleanup_close_ int lock = -1;
    if (lode_key_beneath(key, POSIX_PARTS) && (r = lock_orphan(fd, id, &lock, err)) < 0)
        return r;
    bool some = false;
    static const char *const suffixes[] = {".data", ".parts"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(suffixes); i++) {
        char name[POSIX_ID_HEX + 8];
        posix_parts_name(id, suffixes[i], name);
        if (lode_sys->unlinkat(fd, name, 0) == 0)
            some = true;
        else if (errno != ENOENT)
            return lode_err_sys(err, "cannot discard the unfinished write %s of %s", id,
                                lode_q(key));
    }
    return some
               ? 0
               : lode_err_set(err, LODE_NOT_FOUND, "no unfinished write %s of %s", id, lode_q(key));
}
