/* cat: a file's bytes, in order, each block checked before it is handed out: see <lode/lode.h>.
 * While the caller takes one window the next one is on its way. */
#include <inttypes.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "load/blocks.h"
#include "load/flow.h"
#include "registry/handle.h"

#define WINDOW (4u << 20) /* bytes; a multiple of the block size */

struct cat {
    struct lode_store *store;
    const struct lode_manifest *manifest;
    const struct lode_manifest_file *file;
    char *key;
    uint64_t from, to; /* bytes wanted */
    uint64_t at;       /* where the next window begins: a block's start */
    uint8_t *rooms[2];
    struct lode_store_range ranges[2];
    struct lode_store_read *reads[2]; /* on their way, or NULL */
};

static void cat_release(struct cat *self)
{
    for (int i = 0; i < 2; i++) {
        lode_store_read_cancel(self->reads[i]);
        lode_free(self->rooms[i]);
    }
    lode_free(self->key);
}
#define _cleanup_cat_ __attribute__((cleanup(cat_release)))

static void nothing(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                    const struct lode_err *err)
{
}

/* Starts the next window in room `i`; none when all are on their way. */
static int start(struct cat *self, int i, struct lode_err *err)
{
    if (self->at >= self->to)
        return 0;
    uint64_t end = lode_min(self->at + WINDOW, self->file->size);
    uint64_t last = (self->to + self->manifest->block_size - 1) / self->manifest->block_size *
                    self->manifest->block_size;
    end = lode_min(end, last);
    self->ranges[i] =
        (struct lode_store_range){self->key, self->at, (size_t)(end - self->at), self->rooms[i]};
    self->at = end;
    return lode_store_read(self->store, &self->ranges[i], 1, nothing, NULL, &self->reads[i], err);
}

/* Waits for room `i`, checks it, and hands out what was asked for of it. */
static int hand_out(struct cat *self, int i, lode_sink *sink, void *arg, uint64_t *done,
                    struct lode_err *err)
{
    const struct lode_store_range *range = &self->ranges[i];
    int r = lode_store_read_wait(lode_steal(self->reads[i]), err);
    if (r == 0 && !LODE_PLANTED(cat_unchecked))
        r = lode_blocks_check(self->file, self->manifest->block_size, range->offset, range->into,
                              range->len, lode_store_url(self->store), err);
    if (r < 0)
        return r;
    uint64_t from = lode_max(self->from, range->offset),
             to = lode_min(self->to, range->offset + range->len);
    r = sink(arg, self->rooms[i] + (from - range->offset), (size_t)(to - from));
    if (r < 0)
        return lode_err_set(err, r, "the receiver of %s stopped", lode_q(self->file->path));
    *done += to - from;
    return 0;
}

static int stream(struct cat *self, lode_sink *sink, void *arg, struct lode_flow *flow,
                  struct lode_err *err)
{
    uint64_t done = 0;
    int r = start(self, 0, err);
    for (int i = 0; r == 0 && self->reads[i]; i = !i) {
        r = start(self, !i, err);
        if (r == 0)
            r = hand_out(self, i, sink, arg, &done, err);
        flow->done = done;
        if (r == 0)
            r = lode_flow_tick(flow, err);
    }
    return r;
}

static int limits(struct cat *self, uint64_t offset, uint64_t len, struct lode_err *err)
{
    uint64_t size = self->file->size;
    if (offset > size || len > size - offset)
        return lode_err_set(err, LODE_INVALID,
                            "bytes %" PRIu64 " to %" PRIu64 " are not in %s, which has %" PRIu64,
                            offset, offset + len, lode_q(self->file->path), size);
    self->from = offset;
    self->to = len ? offset + len : size;
    self->at = offset / self->manifest->block_size * self->manifest->block_size;
    return 0;
}

static int prepare(struct cat *self, const struct lode_place *place, struct lode_err *err)
{
    size_t room = (size_t)lode_min((uint64_t)WINDOW, self->file->size + 1);
    self->store = place->store;
    self->key = lode_place_key(place, self->file->path);
    self->rooms[0] = lode_alloc_aligned(4096, room);
    self->rooms[1] = lode_alloc_aligned(4096, room);
    return self->key && self->rooms[0] && self->rooms[1] ? 0 : lode_err_nomem(err, "a window");
}

static int find_file(struct cat *self, const struct lode_version *v, const char *path,
                     struct lode_err *err)
{
    self->file = lode_manifest_find(self->manifest, path);
    if (self->file)
        return 0;
    return lode_err_set(err, LODE_NOT_FOUND,
                        "%s@%s has no file %s; lode show %s@%s lists its files", v->name,
                        v->version, lode_q(path), v->name, v->version);
}

int lode_cat(struct lode *lode, const char *ref, uint64_t offset, uint64_t len, lode_sink *sink,
             void *arg, const struct lode_call *call, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    _cleanup_manifest_ struct lode_manifest *m = NULL;
    _cleanup_place_ struct lode_place place = {0};
    _cleanup_free_ char *path = NULL;
    struct lode_flow flow;
    int r = lode_handle_resolve_file(lode, ref, &v, &path, err);
    if (r == 0)
        r = lode_handle_ops(lode)->manifest(lode->catalog, &v, &m, err);
    if (r == 0)
        r = lode_handle_ops(lode)->place(lode->catalog, &v, &place, err);
    if (r < 0)
        return r;
    _cleanup_cat_ struct cat self = {.manifest = m};
    r = find_file(&self, &v, path, err);
    if (r == 0)
        r = limits(&self, offset, len, err);
    if (r == 0)
        r = prepare(&self, &place, err);
    if (r == 0)
        r = lode_flow_init(&flow, "download", call, err);
    if (r < 0)
        return r;
    flow.total = self.to - self.from;
    r = stream(&self, sink, arg, &flow, err);
    lode_flow_release(&flow);
    return r;
}
