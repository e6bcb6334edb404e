/* Reading of the posix store: ranges are cut into chunks that go to the I/O engine, many at
 * once, straight into the caller's memory. A single small range is read in place: handing it to
 * another thread would cost more.
 *
 * Each file is open once a batch. A batch over more files than FILES_MAX goes in windows of that
 * many, all but the last done before read() returns, so that no batch uses up the descriptors of
 * the process.
 */
#include <errno.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "io/engine.h"
#include "store/posix.h"
#include "store/util.h"
#include "store/wrap.h"

#define CHUNK (2u << 20)
#define IN_PLACE_MAX (128u << 10)
#define FILES_MAX 256

/* Where a chunk lies in the caller's ranges. */
struct place {
    size_t i, from;
};

/* Some neighbouring ranges whose files are open at the same time. */
struct window {
    struct lode_io_op *ops; /* one a chunk; op.arg is the read */
    struct place *places;   /* of the same chunks */
    size_t n, ops_cap, places_cap;
    int files[FILES_MAX];
    size_t n_files;
    struct lode_io_batch batch;
    bool submitted;
};

struct posix_read {
    const struct lode_store_ops *ops;
    struct posix_store *store;
    struct lode_relay relay;
    struct window window;
};

static void window_release(struct window *window)
{
    if (window->submitted)
        lode_io_wait(&window->batch);
    for (size_t k = 0; k < window->n_files; k++)
        lode_sys->close(window->files[k]);
    lode_free(window->ops);
    lode_free(window->places);
    *window = (struct window){0};
}

static int failed(const struct posix_read *read, size_t i, size_t from, size_t len,
                  struct lode_err *err)
{
    const struct lode_store_range *range = &read->relay.ranges[i];
    return lode_err_sys(err, "cannot read %zu bytes at %llu of %s in %s", len,
                        (unsigned long long)(range->offset + from), lode_q(range->key),
                        read->store->base.url);
}

static void chunk_done(struct lode_io_op *op)
{
    struct posix_read *read = op->arg;
    const struct place *place = &read->window.places[op - read->window.ops];
    if (op->error == 0) {
        lode_relay_ok(&read->relay, place->i, place->from, op->len);
        return;
    }
    struct lode_err failure = {0};
    errno = op->error;
    failed(read, place->i, place->from, op->len, &failure);
    lode_relay_fail(&read->relay, place->i, op->len, &failure);
}

static int add_chunks(struct posix_read *read, size_t i, int fd, struct lode_err *err)
{
    struct window *window = &read->window;
    const struct lode_store_range *range = &read->relay.ranges[i];
    size_t count = (size_t)((range->len + CHUNK - 1) / CHUNK);
    size_t want = window->n + count;
    if (lode_grow((void **)&window->ops, &window->ops_cap, want, sizeof *window->ops) < 0 ||
        lode_grow((void **)&window->places, &window->places_cap, want, sizeof *window->places) < 0)
        return lode_err_nomem(err, "a read");
    for (size_t from = 0; from < range->len; from += CHUNK) {
        window->places[window->n] = (struct place){i, from};
        window->ops[window->n++] = (struct lode_io_op){
            .kind = LODE_IO_READ,
            .fd = fd,
            .buf = (char *)range->into + from,
            .len = lode_min(range->len - from, (size_t)CHUNK),
            .offset = range->offset + from,
            .done = chunk_done,
            .arg = read,
        };
    }
    return 0;
}

static int open_key(struct posix_store *self, const char *key, int *fd, struct lode_err *err)
{
    struct stat st;
    int r = posix_check_key(self, key, err);
    return r < 0 ? r : posix_open_object(self, key, &st, fd, err);
}

/* The file of range i; ranges of one key mostly come together. -1 after it failed. */
static int file_of(struct posix_read *read, size_t i)
{
    struct window *window = &read->window;
    const struct lode_store_range *range = &read->relay.ranges[i];
    struct lode_err failure = {0};
    int fd = -1;
    if (open_key(read->store, range->key, &fd, &failure) < 0) {
        lode_relay_fail_rest(&read->relay, i, &failure);
        return -1;
    }
    window->files[window->n_files++] = fd;
    return fd;
}

/* Opens and cuts ranges from *at on until the window is full. */
static int fill_window(struct posix_read *read, size_t *at, struct lode_err *err)
{
    const char *key = NULL;
    int fd = -1, r = 0;
    for (; r == 0 && *at < read->relay.n; (*at)++) {
        const char *next = read->relay.ranges[*at].key;
        bool same = fd >= 0 && (key == next || strcmp(key, next) == 0);
        if (!same && read->window.n_files == FILES_MAX)
            return 0;
        if (!same)
            fd = file_of(read, *at);
        key = next;
        if (fd >= 0)
            r = add_chunks(read, *at, fd, err);
    }
    return r;
}

/* Only a complete window goes to the engine, for the operations are known there by their
 * addresses. */
static void submit_window(struct posix_read *read, struct lode_io *io)
{
    struct window *window = &read->window;
    if (window->n == 0)
        return;
    lode_io_batch_init(&window->batch, io);
    window->submitted = true;
    lode_io_submit(&window->batch, window->ops, window->n);
}

static void read_free(struct posix_read *read)
{
    window_release(&read->window);
    lode_relay_release(&read->relay);
    lode_free(read);
}

static void read_in_place(struct posix_read *read)
{
    const struct lode_store_range *range = &read->relay.ranges[0];
    int fd = file_of(read, 0);
    if (fd < 0)
        return;
    struct lode_err failure = {0};
    if (lode_pread_full(fd, range->into, range->len, range->offset) == 0) {
        lode_relay_ok(&read->relay, 0, 0, range->len);
        return;
    }
    failed(read, 0, 0, range->len, &failure);
    lode_relay_fail(&read->relay, 0, range->len, &failure);
}

/* What cannot even be queued fails range by range, for some may be on their way. */
static void fail_all(struct posix_read *read, size_t from, const struct lode_err *failure)
{
    for (size_t i = from; i < read->relay.n; i++)
        lode_relay_fail_rest(&read->relay, i, failure);
}

static int read_windows(struct posix_read *read, struct lode_err *err)
{
    struct lode_io *io;
    int r = posix_engine(read->store, &io, err);
    if (r < 0)
        return r;
    for (size_t at = 0; at < read->relay.n;) {
        size_t first = at;
        struct lode_err failure = {0};
        window_release(&read->window);
        if (fill_window(read, &at, &failure) < 0) {
            window_release(&read->window);
            fail_all(read, first, &failure);
            break;
        }
        submit_window(read, io);
    }
    return 0;
}

int posix_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
               lode_store_read_done *done, void *arg, struct lode_store_read **out,
               struct lode_err *err)
{
    struct posix_read *read = lode_zalloc(sizeof *read);
    if (!read)
        return lode_err_nomem(err, "a read");
    read->ops = &lode_store_posix_ops;
    read->store = posix_of(store);
    int r = lode_relay_init(&read->relay, ranges, n, done, arg, err);
    if (r < 0) {
        lode_free(read);
        return r;
    }
    if (n == 1 && ranges[0].len <= IN_PLACE_MAX)
        read_in_place(read);
    else if (n > 0)
        r = read_windows(read, err);
    if (r < 0) {
        read_free(read);
        return r;
    }
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

int posix_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct posix_read *read = (struct posix_read *)(void *)handle;
    window_release(&read->window);
    int r = lode_relay_result(&read->relay, err);
    read_free(read);
    return r;
}

void posix_read_cancel(struct lode_store_read *handle)
{
    struct posix_read *read = (struct posix_read *)(void *)handle;
    if (read->window.submitted)
        lode_io_cancel(&read->window.batch);
    read_free(read);
}
