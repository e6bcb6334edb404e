/* Planning a load: see load/plan.h. */
#include "load/plan.h"
#include <assert.h>
#include <stdlib.h>
#include "base/mem.h"
#include "base/size.h"

int lode_plan_want(struct lode_plan *self, unsigned file, uint64_t size, uint64_t offset,
                   uint64_t len, uint32_t unit, struct lode_err *err)
{
    uint64_t from = offset / unit * unit, to = offset + len;
    to = lode_min(lode_div_up(to, unit) * unit, size);
    if (lode_grow((void **)&self->ranges, &self->cap, self->n + 1, sizeof *self->ranges) < 0)
        return lode_err_nomem(err, "a plan");
    self->ranges[self->n++] =
        (struct lode_plan_range){.file = file, .offset = from, .len = to - from};
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct lode_plan_range *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void merge(struct lode_plan *self)
{
    size_t n = 0;
    for (size_t i = 0; i < self->n; i++) {
        struct lode_plan_range *r = &self->ranges[i], *last = n ? &self->ranges[n - 1] : NULL;
        if (last && last->file == r->file &&
            r->offset <= last->offset + last->len + lode_min(LODE_PLAN_GAP, last->len))
            last->len = lode_max(last->offset + last->len, r->offset + r->len) - last->offset;
        else
            self->ranges[n++] = *r;
    }
    self->n = n;
}

int lode_plan_finish(struct lode_plan *self, struct lode_err *err)
{
    uint64_t at = 0;
    if (self->n)
        qsort(self->ranges, self->n, sizeof *self->ranges, by_place);
    merge(self);
    self->read = 0;
    for (size_t i = 0; i < self->n; i++) {
        struct lode_plan_range *r = &self->ranges[i];
        r->at = at + r->offset % LODE_PLAN_PAGE;
        if (!lode_add_u64(r->at, r->len, &at) || !lode_add_u64(at, LODE_PLAN_PAGE - 1, &at) ||
            at > SIZE_MAX / 2)
            return lode_err_set(err, LODE_LIMIT,
                                "the tensors need more memory than can be addressed");
        at -= at % LODE_PLAN_PAGE;
        self->read += r->len;
    }
    self->bytes = at;
    return 0;
}

uint64_t lode_plan_place(const struct lode_plan *self, unsigned file, uint64_t offset)
{
    size_t low = 0, high = self->n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        const struct lode_plan_range *r = &self->ranges[middle];
        if (r->file < file || (r->file == file && r->offset <= offset))
            low = middle;
        else
            high = middle;
    }
    const struct lode_plan_range *r = &self->ranges[low];
    assert(self->n > 0 && r->file == file && offset >= r->offset && offset <= r->offset + r->len);
    return r->at + (offset - r->offset);
}

void lode_plan_release(struct lode_plan *self)
{
    lode_free(self->ranges);
    *self = (struct lode_plan){0};
}
