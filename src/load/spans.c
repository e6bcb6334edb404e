/* Spans of files: see load/spans.h. */
#include "load/spans.h"
#include "base/mem.h"
#include "base/size.h"

int lode_spans_init(struct lode_spans *self, const struct lode_manifest_file *const *files,
                    size_t n, struct lode_err *err)
{
    *self = (struct lode_spans){.files = files, .n = n};
    if (!(self->first = lode_calloc(n + 1, sizeof *self->first)))
        return lode_err_nomem(err, "a plan");
    for (size_t i = 0; i < n; i++)
        self->first[i + 1] =
            self->first[i] + lode_max(lode_div_up(files[i]->size, LODE_SPAN), (uint64_t)1);
    return 0;
}

void lode_spans_release(struct lode_spans *self)
{
    lode_free(self->first);
    self->first = NULL;
}

bool lode_spans_take(struct lode_spans *self, struct lode_span *out)
{
    uint64_t number = atomic_fetch_add(&self->next, 1);
    if (number >= self->first[self->n])
        return false;
    size_t low = 0, high = self->n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (self->first[middle] <= number)
            low = middle;
        else
            high = middle;
    }
    uint64_t offset = (number - self->first[low]) * LODE_SPAN;
    *out = (struct lode_span){
        low, offset, (size_t)lode_min(self->files[low]->size - offset, (uint64_t)LODE_SPAN)};
    return true;
}
