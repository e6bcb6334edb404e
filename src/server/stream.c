/* A download whose bytes are checked as they go: block by block out of the store, each against its
 * XXH3-128, two blocks in memory. While one is sent a worker reads and checks the next; the
 * connection is suspended when the worker is behind.
 *
 * A block that does not match ends the connection: what was announced does not come, and no byte of
 * it was sent. */
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/size.h"
#include "server/stream.h"

enum slot_state { EMPTY, LOADING, FULL, FAILED };

struct slot {
    struct srv_task task; /* first of the slot; see slot_of_task */
    struct srv_stream *stream;
    enum slot_state state; /* guarded by the stream's lock */
    size_t block;
    size_t len; /* bytes */
    char *data; /* LODE_BLOCK_SIZE bytes */
};

struct srv_stream {
    pthread_mutex_t lock;
    unsigned refs; /* guarded by lock: the response, and each task on its way */
    struct lode_server *server;
    struct MHD_Connection *mhd;
    struct srv_source source;
    uint64_t offset; /* of the first byte to send */
    size_t last;     /* block to send */
    bool waiting;    /* suspended; guarded by lock */
    struct slot slots[2];
};

static void unref(struct srv_stream *self)
{
    pthread_mutex_lock(&self->lock);
    bool gone = --self->refs == 0;
    pthread_mutex_unlock(&self->lock);
    if (!gone)
        return;
    for (size_t i = 0; i < 2; i++)
        lode_free(self->slots[i].data);
    srv_source_release(&self->source);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

/* ---- a worker's part ---- */

static int load_block(struct srv_stream *self, struct slot *slot, struct lode_err *err)
{
    const struct srv_source *s = &self->source;
    uint64_t from = (uint64_t)slot->block * LODE_BLOCK_SIZE;
    slot->len = (size_t)lode_min((uint64_t)LODE_BLOCK_SIZE, s->file->size - from);
    int r = lode_store_pread(s->place.store, s->key, slot->data, slot->len, from, err);
    if (r < 0)
        return r;
    struct lode_xxh128 hash = lode_xxh128_of(slot->data, slot->len);
    if (memcmp(&hash, &s->file->blocks[slot->block], sizeof(hash)) != 0)
        return lode_err_set(err, LODE_CORRUPT, "block %zu of %s does not match its digest",
                            slot->block, s->key);
    struct lode_store_stat now;
    if (lode_store_stat(s->place.store, s->key, &now, NULL) == 0 &&
        srv_identity_same(&now, &s->id.stat))
        srv_checked_add(self->server->checked, &s->id, slot->block);
    return 0;
}

static void run_load(struct srv_task *task)
{
    struct slot *slot = lode_container_of(task, struct slot, task);
    struct srv_stream *self = slot->stream;
    struct lode_err err = {0};
    int r = load_block(self, slot, &err);
    if (r < 0)
        lode_log_warn("a download ends early: %s", err.text);
    pthread_mutex_lock(&self->lock);
    slot->state = r == 0 ? FULL : FAILED;
    bool resume = self->waiting;
    self->waiting = false;
    if (resume)
        MHD_resume_connection(self->mhd);
    pthread_mutex_unlock(&self->lock);
    unref(self);
}

/* Under the lock. False when there are no workers any more. */
static bool load(struct srv_stream *self, size_t block)
{
    struct slot *slot = &self->slots[block % 2];
    if (block > self->last || (slot->block == block && slot->state != EMPTY) ||
        slot->state == LOADING)
        return true;
    slot->block = block;
    slot->state = LOADING;
    slot->task.run = run_load;
    self->refs++;
    if (srv_pool_add(self->server->pool, &slot->task))
        return true;
    self->refs--;
    slot->state = FAILED;
    return false;
}

/* ---- the event thread's part ---- */

static ssize_t give(struct srv_stream *self, uint64_t at, char *out, size_t room)
{
    uint64_t from = self->offset + at;
    size_t block = (size_t)(from / LODE_BLOCK_SIZE);
    struct slot *slot = &self->slots[block % 2];
    if (!load(self, block) || (slot->block == block && slot->state == FAILED))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (slot->block != block || slot->state != FULL) {
        self->waiting = true;
        MHD_suspend_connection(self->mhd);
        return 0;
    }
    load(self, block + 1);
    size_t skip = (size_t)(from % LODE_BLOCK_SIZE);
    size_t n = lode_min(slot->len - skip, room);
    memcpy(out, slot->data + skip, n);
    return (ssize_t)n;
}

static ssize_t read_stream(void *arg, uint64_t at, char *out, size_t room)
{
    struct srv_stream *self = arg;
    pthread_mutex_lock(&self->lock);
    ssize_t n = give(self, at, out, room);
    pthread_mutex_unlock(&self->lock);
    return n;
}

static void free_stream(void *arg)
{
    unref(arg);
}

int srv_stream_reply(struct srv_request *request, struct srv_source *source, uint64_t offset,
                     uint64_t length, struct lode_err *err)
{
    struct srv_stream *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "a download");
    pthread_mutex_init(&self->lock, NULL);
    self->refs = 1;
    self->server = request->server;
    self->mhd = request->mhd;
    self->offset = offset;
    self->last = (size_t)((offset + length - 1) / LODE_BLOCK_SIZE);
    for (size_t i = 0; i < 2; i++) {
        self->slots[i].stream = self;
        self->slots[i].block = SIZE_MAX;
        self->slots[i].data =
            lode_alloc((size_t)lode_min((uint64_t)LODE_BLOCK_SIZE, source->file->size));
        if (!self->slots[i].data) {
            unref(self);
            return lode_err_nomem(err, "a download");
        }
    }
    self->source = *source;
    *source = (struct srv_source){0};
    request->reply.kind = SRV_REPLY_STREAM;
    request->reply.length = length;
    request->reply.read = read_stream;
    request->reply.stream = self;
    request->reply.stream_free = free_stream;
    return 0;
}
