/* Filling memory: see load/fill.h. */
#include "load/fill.h"
#include "base/mem.h"
#include "load/spans.h"

struct fill {
    struct lode_flow flow;
    struct lode_bytes *bytes;
    const struct lode_plan *plan;
    uint8_t *memory;
    pthread_mutex_t lock;
    size_t range; /* the range at hand, and how far it is given out. Guarded by lock */
    uint64_t offset;
};

/* The next piece; false at the end. Ranges begin at a block, and a span is whole blocks, so each
 * piece can be checked. */
static bool take(struct fill *self, const struct lode_plan_range **range, uint64_t *from,
                 size_t *len)
{
    pthread_mutex_lock(&self->lock);
    bool found = self->range < self->plan->n;
    if (found) {
        *range = &self->plan->ranges[self->range];
        *from = self->offset;
        *len = (size_t)lode_min((*range)->len - self->offset, (uint64_t)LODE_SPAN);
        self->offset += *len;
        if (self->offset == (*range)->len) {
            self->range++;
            self->offset = 0;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}

static void work(void *arg)
{
    struct fill *self = arg;
    const struct lode_plan_range *range;
    struct lode_err err;
    uint64_t from;
    size_t len;
    _cleanup_free_ uint8_t *own =
        self->memory ? NULL : lode_alloc_aligned(LODE_PLAN_PAGE, LODE_SPAN);
    if (!self->memory && !own) {
        lode_err_nomem(&err, "a buffer");
        lode_flow_fail(&self->flow, &err);
        return;
    }
    while (!lode_flow_stopped(&self->flow) && take(self, &range, &from, &len)) {
        uint8_t *into = own ? own : self->memory + range->at + from;
        if (lode_bytes_read_blocks(self->bytes, range->file, range->offset + from, into, len,
                                   &err) < 0)
            lode_flow_fail(&self->flow, &err);
        atomic_fetch_add(&self->flow.done, len);
    }
}

int lode_fill(struct lode_bytes *bytes, const struct lode_plan *plan, void *memory,
              const struct lode_call *call, struct lode_err *err)
{
    struct fill self = {
        .bytes = bytes, .plan = plan, .memory = memory, .lock = PTHREAD_MUTEX_INITIALIZER};
    if (plan->n == 0)
        return 0;
    int r = lode_flow_init(&self.flow, "load", call, err);
    if (r < 0)
        return r;
    self.flow.total = plan->read;
    unsigned threads = (unsigned)lode_min((uint64_t)lode_flow_threads(2, 8),
                                          (plan->read + LODE_SPAN - 1) / LODE_SPAN);
    r = lode_flow_run(&self.flow, threads, work, &self, err);
    lode_flow_release(&self.flow);
    pthread_mutex_destroy(&self.lock);
    return r;
}
