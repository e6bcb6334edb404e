/* Reading the tensor index: see format/index.h. */
#include "format/index.h"
#include <assert.h>
#include <string.h>
#include "base/mem.h"
#include "base/plant.h"
#include "base/size.h"
#include "format/index_impl.h"

size_t lode_index_count(const struct lode_tensor_index *self)
{
    return self->count;
}

uint64_t lode_index_parameters(const struct lode_tensor_index *self)
{
    return self->parameters;
}

uint64_t lode_index_bytes(const struct lode_tensor_index *self)
{
    return self->bytes;
}

size_t lode_index_footprint(const struct lode_tensor_index *self)
{
    return sizeof *self + self->record_room * sizeof *self->records + self->names_room +
           self->dims_room * sizeof *self->dims + self->extents_room * sizeof *self->extents +
           self->codecs_room * sizeof *self->codecs;
}

struct lode_tensor lode_index_get(const struct lode_tensor_index *self, size_t i)
{
    assert(i < self->count);
    const struct index_record *r = &self->records[i];
    bool direct = !(r->flags & INDEX_EXTENTS);
    const struct index_extent *first = direct ? NULL : &self->extents[r->offset];
    return (struct lode_tensor){
        .name = index_name(self, r),
        .dtype = (enum lode_dtype)r->dtype,
        .rank = r->rank,
        .shape = self->dims ? self->dims + r->dims : NULL,
        .file = r->file,
        .offset = direct ? r->offset : first->offset,
        .len = r->len,
        .fortran_order = r->flags & INDEX_FORTRAN,
        .direct = direct,
    };
}

bool lode_index_find(const struct lode_tensor_index *self, const char *name, size_t *at,
                     struct lode_tensor *out)
{
    size_t from = 0, to = self->count;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int order = strcmp(name, index_name(self, &self->records[mid]));
        if (order == 0) {
            if (at)
                *at = mid;
            if (out)
                *out = lode_index_get(self, mid);
            return true;
        }
        if (order < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return false;
}

size_t lode_index_extents(const struct lode_tensor_index *self, size_t i)
{
    assert(i < self->count);
    const struct index_record *r = &self->records[i];
    size_t n = 1;
    if (r->flags & INDEX_EXTENTS) {
        while (!self->extents[r->offset + n - 1].last)
            n++;
    }
    return n;
}

struct lode_extent lode_index_extent(const struct lode_tensor_index *self, size_t i, size_t k)
{
    assert(i < self->count);
    const struct index_record *r = &self->records[i];
    if (!(r->flags & INDEX_EXTENTS)) {
        assert(k == 0);
        return (struct lode_extent){"raw", r->file, r->offset, r->len, r->len, 0};
    }
    const struct index_extent *e = &self->extents[r->offset + k];
    return (struct lode_extent){self->codecs[e->codec], e->file,    e->offset,
                                e->stored_len,          e->raw_len, e->raw_skip};
}

bool lode_shape_elements(const uint64_t *shape, unsigned rank, uint64_t *out)
{
    uint64_t n = 1;
    bool empty = false;
    for (unsigned i = 0; i < rank; i++) {
        if (shape[i] == 0)
            empty = true;
        else if (LODE_PLANTED(shape_product_overflow))
            n *= shape[i];
        else if (!lode_mul_u64(n, shape[i], &n))
            return false;
    }
    *out = empty ? 0 : n;
    return true;
}

struct lode_tensor_index *lode_index_ref(struct lode_tensor_index *self)
{
    __atomic_add_fetch(&self->refs, 1, __ATOMIC_RELAXED);
    return self;
}

void lode_index_unref(struct lode_tensor_index *self)
{
    if (!self || __atomic_sub_fetch(&self->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    lode_free(self->records);
    lode_free(self->names);
    lode_free(self->dims);
    lode_free(self->extents);
    lode_free(self->codecs);
    lode_free(self);
}
