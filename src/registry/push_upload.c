/* The bytes of a push: read, hashed and written in one pass, many files at once. See
 * registry/push.h.
 *
 *     lanes (one file each):   source -> buffer -> all digests, in order --.
 *     writers:                                        part into the store <-'   -> buffer back to
 * the pool
 *
 * SHA-256 of one file is one thread's work, and what bounds a push: so each lane does nothing else
 * but read and hash, files go in parallel, the largest first, and the writing is done beside it.
 * Buffers come from one pool of LODE_TRANSFER_MEMORY; a lane that runs ahead of the writers waits
 * there.
 *
 * Invariants
 *  1. A file's identity is the one that was found, before its first and after its last byte: else
 * CHANGED.
 *  2. A part that an earlier life of this attempt wrote is not written again, but always read and
 * hashed.
 *  3. All writers of a file have ended before it is completed or aborted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "io/direct.h"
#include "io/pool.h"
#include "io/workers.h"
#include "load/flow.h"
#include "registry/push.h"

struct upload {
    struct lode_flow flow;
    struct push *push;
    const struct lode_place *place;
    struct lode_pool *pool;
    struct lode_workers *writers;
    size_t *order;       /* file numbers, the largest first */
    _Atomic size_t next; /* position in `order` */
    struct lode_store_unfinished_list unfinished;
};

/* One file on its way. */
struct lane {
    struct upload *up;
    size_t number;
    const struct lode_source *source;
    char *key;
    int fd;
    int direct; /* the same file past the page cache, or -1 */
    struct lode_hasher *hasher;
    struct lode_store_write *write; /* NULL: the object is there already */
    struct lode_store_part *parts;  /* there from an earlier life, sorted by number */
    size_t n_parts;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned pending; /* parts with a writer; guarded by lock */
};

struct part_job {
    struct lode_job job; /* first: the workers hand it back */
    struct lane *lane;
    uint32_t number;
    void *buf;
    size_t len;
};

static bool part_is_there(const struct lane *lane, uint32_t number, size_t len)
{
    for (size_t i = 0; i < lane->n_parts; i++) {
        if (lane->parts[i].number == number)
            return lane->parts[i].len == len;
    }
    return false;
}

static void part_done(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->pending--;
    pthread_cond_signal(&lane->idle);
    pthread_mutex_unlock(&lane->lock);
}

static void write_part(struct lode_job *job, bool cancelled)
{
    struct part_job *part = (struct part_job *)(void *)job;
    struct upload *up = part->lane->up;
    struct lode_err err;
    if (!cancelled && !lode_flow_stopped(&up->flow) &&
        lode_store_write_part(part->lane->write, part->number, part->buf, part->len, &err) < 0)
        lode_flow_fail(&up->flow, &err);
    lode_pool_put(up->pool, part->buf);
    part_done(part->lane);
    lode_free(part);
}

static void wait_for_writers(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    while (lane->pending)
        pthread_cond_wait(&lane->idle, &lane->lock);
    pthread_mutex_unlock(&lane->lock);
}

/* Hands a full buffer to a writer, which gives it back. */
static int hand_over(struct lane *lane, uint32_t number, void *buf, size_t len,
                     struct lode_err *err)
{
    struct part_job *part = lode_alloc(sizeof *part);
    if (!part) {
        lode_pool_put(lane->up->pool, buf);
        return lode_err_nomem(err, "a part");
    }
    *part = (struct part_job){
        .job.run = write_part, .lane = lane, .number = number, .buf = buf, .len = len};
    pthread_mutex_lock(&lane->lock);
    lane->pending++;
    pthread_mutex_unlock(&lane->lock);
    if (lode_workers_submit(lane->up->writers, &part->job) == 0)
        return 0;
    write_part(&part->job, true);
    return lode_err_set(err, LODE_CANCELLED, "stopped");
}

static int read_part(struct lane *lane, uint64_t offset, void *buf, size_t len,
                     struct lode_err *err)
{
    if (lode_direct_pread(lane->direct, lane->fd, buf, len, offset) == 0)
        return lode_hasher_update(lane->hasher, buf, len, err);
    if (errno == ENODATA)
        return lode_err_set(
            err, LODE_CHANGED,
            "%s became shorter while it was read; push again when nobody writes to it",
            lode_q(lane->source->from));
    return lode_err_sys(err, "cannot read %s at byte %" PRIu64, lode_q(lane->source->from), offset);
}

static int send_part(struct lane *lane, uint32_t number, struct lode_err *err)
{
    struct upload *up = lane->up;
    uint64_t offset = (uint64_t)number * PUSH_PART;
    size_t len = (size_t)lode_min(lane->source->size - offset, (uint64_t)PUSH_PART);
    void *buf;
    int r = lode_pool_get(up->pool, &buf, err);
    if (r < 0)
        return r;
    r = read_part(lane, offset, buf, len, err);
    if (r < 0 || !lane->write || part_is_there(lane, number, len)) {
        lode_pool_put(up->pool, buf);
    } else if (lane->source->size > PUSH_PART) {
        r = hand_over(lane, number, buf, len, err);
    } else {
        r = lode_store_write_part(lane->write, number, buf, len, err);
        lode_pool_put(up->pool, buf);
    }
    atomic_fetch_add(&up->flow.done, r == 0 ? len : 0);
    return r;
}

static int send_parts(struct lane *lane, struct lode_err *err)
{
    uint64_t n = (lane->source->size + PUSH_PART - 1) / PUSH_PART;
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < n; i++) {
        if (lode_flow_stopped(&lane->up->flow))
            return lode_err_set(err, LODE_CANCELLED, "stopped");
        r = send_part(lane, (uint32_t)i, err);
    }
    return r;
}

/* The unfinished write of this key that an earlier life left, or NULL. */
static const char *unfinished_id(const struct lane *lane)
{
    const struct lode_store_unfinished_list *list = &lane->up->unfinished;
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->items[i].key, lane->key) == 0)
            return list->items[i].id;
    }
    return NULL;
}

static int begin_write(struct lane *lane, struct lode_err *err)
{
    struct lode_store *store = lane->up->place->store;
    struct lode_store_write_opts opts = {
        .size = lane->source->size, .part_size = PUSH_PART, .mode = lane->source->mode};
    struct lode_store_stat st;
    bool resumed = lode_attempt_info(lane->up->push->attempt)->resumed;
    if (resumed && lode_store_stat(store, lane->key, &st, NULL) == 0 &&
        st.kind == LODE_STORE_OBJECT && st.size == lane->source->size)
        return 0;
    opts.resume = resumed ? unfinished_id(lane) : NULL;
    if (opts.resume && lode_store_write_begin(store, lane->key, &opts, &lane->write, NULL) == 0)
        return lode_store_write_parts(lane->write, &lane->parts, &lane->n_parts, err);
    opts.resume = NULL; /* what cannot be gone on with is begun anew */
    return lode_store_write_begin(store, lane->key, &opts, &lane->write, err);
}

static int note_digests(struct lane *lane, struct lode_err *err)
{
    struct lode_manifest_file *file = &lane->up->push->manifest->files[lane->number];
    struct lode_file_digest digest;
    int r = lode_hasher_final(lane->hasher, &digest, err);
    if (r < 0)
        return r;
    file->sha256 = digest.sha256;
    file->crc32c = digest.crc32c;
    file->blocks = digest.blocks;
    file->n_blocks = digest.n_blocks;
    return 0;
}

static int lane_run(struct lane *lane, struct lode_err *err)
{
    struct upload *up = lane->up;
    int r = lode_source_open(lane->source, &lane->fd, err);
    if (r == 0 && lane->source->size >= LODE_DIRECT_MIN &&
        !lode_direct_resident(lane->fd, lane->source->size))
        lane->direct = lode_direct_open(lane->fd, O_RDONLY);
    if (r == 0)
        r = lode_hasher_new(&lane->hasher, err);
    if (r == 0)
        r = begin_write(lane, err);
    if (r == 0)
        r = send_parts(lane, err);
    wait_for_writers(lane);
    if (r == 0)
        r = lode_source_check(lane->source, lane->fd, err);
    if (r == 0)
        r = note_digests(lane, err);
    if (r == 0 && lode_flow_stopped(&up->flow))
        r = lode_err_set(err, LODE_CANCELLED, "stopped");
    if (r == 0 && lane->write)
        r = lode_store_write_complete(lode_steal(lane->write), lane->source->size, false, err);
    if (r == 0)
        atomic_fetch_add(&up->flow.files_done, 1);
    return r;
}

static void lane_release(struct lane *lane)
{
    /* Kept for a resume; an attempt that is given up takes its unfinished writes with it. */
    lode_store_write_abort(lane->write, true);
    lode_hasher_free(lane->hasher);
    lode_store_free(lane->parts);
    lode_free(lane->key);
    lode_closep(&lane->fd);
    lode_closep(&lane->direct);
    pthread_cond_destroy(&lane->idle);
    pthread_mutex_destroy(&lane->lock);
}

static int send_file(struct upload *up, size_t number, struct lode_err *err)
{
    struct lane lane = {.up = up,
                        .number = number,
                        .source = &up->push->sources.items[number],
                        .fd = -1,
                        .direct = -1};
    pthread_mutex_init(&lane.lock, NULL);
    pthread_cond_init(&lane.idle, NULL);
    lane.key = lode_place_key(up->place, lane.source->path);
    int r = lane.key ? lane_run(&lane, err) : lode_err_nomem(err, "a key");
    lane_release(&lane);
    return r;
}

static void lanes(void *arg)
{
    struct upload *up = arg;
    struct lode_err err;
    for (;;) {
        size_t at = atomic_fetch_add(&up->next, 1);
        if (at >= up->push->sources.n || lode_flow_stopped(&up->flow))
            return;
        if (send_file(up, up->order[at], &err) < 0)
            lode_flow_fail(&up->flow, &err);
    }
}

static int larger_first(const void *a, const void *b, void *arg)
{
    const struct lode_sources *s = arg;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    if (s->items[x].size != s->items[y].size)
        return s->items[x].size > s->items[y].size ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int prepare(struct upload *up, struct lode_err *err)
{
    struct lode_sources *s = &up->push->sources;
    const struct lode_attempt_info *info = lode_attempt_info(up->push->attempt);
    up->place = info->place;
    if (!(up->order = lode_calloc(s->n, sizeof *up->order)))
        return lode_err_nomem(err, "a list of files");
    for (size_t i = 0; i < s->n; i++)
        up->order[i] = i;
    qsort_r(up->order, s->n, sizeof *up->order, larger_first, s);
    up->flow.total = s->bytes;
    up->flow.files_total = s->n;
    if (info->resumed && (lode_store_caps(up->place->store) & LODE_STORE_RESUME)) {
        int r = lode_store_unfinished(up->place->store, up->place->prefix, &up->unfinished, err);
        if (r < 0 && r != LODE_NOT_FOUND)
            return r;
    }
    int r = lode_pool_new(PUSH_PART, LODE_TRANSFER_MEMORY, false, NULL, &up->pool, err);
    return r < 0 ? r
                 : lode_workers_new(lode_flow_threads(2, 8) / 2, LODE_TRANSFER_MEMORY / PUSH_PART,
                                    &up->writers, err);
}

int push_upload(struct push *self, struct lode_err *err)
{
    struct upload up = {.push = self};
    int r = lode_flow_init(&up.flow, "upload", self->options->call, err);
    if (r < 0)
        return r;
    r = prepare(&up, err);
    if (r == 0)
        r = lode_flow_run(&up.flow, lode_flow_threads(2, 8), lanes, &up, err);
    lode_workers_free(up.writers);
    lode_pool_free(up.pool);
    lode_store_unfinished_release(&up.unfinished);
    lode_free(up.order);
    lode_flow_release(&up.flow);
    return r;
}
