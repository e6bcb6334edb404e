/* Making the tensor index: see format/index.h.
 *
 * Records, names and dimensions are appended as tensors come; finishing sorts numbers of records by
 * name, finds names that come twice side by side, and then moves the records into name order.
 */
#include "format/index.h"
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/size.h"
#include "format/index_impl.h"
#include "format/sort.h"

enum { SHAPE_CACHE = 1024 };

/* Where a shape lies in `dims`: layers repeat the same few. */
struct cached_shape {
    uint32_t dims;
    uint32_t rank; /* 0: nothing cached */
};

struct file_group {
    uint32_t leader; /* the file that stands for the group, plus 1; 0 is the file itself */
    bool yields;     /* takes the longer names alone where another group has the same */
};

struct lode_index_builder {
    struct lode_tensor_index *ix;
    struct file_group *files; /* by file number; what is beyond the end is its own group */
    size_t files_len, files_room;
    struct cached_shape cache[SHAPE_CACHE];
};

struct lode_index_builder *lode_index_builder_new(void)
{
    struct lode_index_builder *self = lode_zalloc(sizeof *self);
    if (!self)
        return NULL;
    self->ix = lode_zalloc(sizeof *self->ix);
    if (!self->ix) {
        lode_free(self);
        return NULL;
    }
    self->ix->refs = 1;
    return self;
}

void lode_index_builder_free(struct lode_index_builder *self)
{
    if (!self)
        return;
    lode_index_unref(self->ix);
    lode_free(self->files);
    lode_free(self);
}

size_t lode_index_builder_count(const struct lode_index_builder *self)
{
    return self->ix->count;
}

struct lode_tensor lode_index_builder_get(const struct lode_index_builder *self, size_t i)
{
    return lode_index_get(self->ix, i);
}

/* Names, shapes and extents of what is forgotten stay behind as unused bytes: it is rare and
 * little. */
void lode_index_builder_rewind(struct lode_index_builder *self, size_t count)
{
    struct lode_tensor_index *ix = self->ix;
    while (ix->count > count) {
        struct lode_tensor t = lode_index_get(ix, ix->count - 1);
        ix->count--;
        uint64_t elements = 0;
        (void)!lode_shape_elements(t.shape, t.rank, &elements);
        ix->parameters -= elements;
        ix->bytes -= t.len;
    }
}

/* ---- adding ---- */

static int check_name(const char *name, size_t len, struct lode_err *err)
{
    if (len == 0)
        return lode_err_set(err, LODE_INVALID, "a tensor has an empty name");
    if (len > LODE_TENSOR_NAME_MAX)
        return lode_err_set(err, LODE_LIMIT, "the tensor name %s is longer than %d bytes",
                            lode_qn(name, len), LODE_TENSOR_NAME_MAX);
    if (memchr(name, 0, len) || lode_utf8_valid(name, len) != len)
        return lode_err_set(err, LODE_INVALID, "the tensor name %s holds NUL or invalid UTF-8",
                            lode_qn(name, len));
    return 0;
}

/* Type, rank, and that shape and type make `len` bytes. */
static int check_size(const char *name, size_t name_len, const struct lode_tensor *t,
                      uint64_t *elements, struct lode_err *err)
{
    uint64_t bits;
    if ((unsigned)t->dtype >= LODE_DTYPE_COUNT)
        return lode_err_set(err, LODE_INVALID, "tensor %s has the unknown type %d",
                            lode_qn(name, name_len), (int)t->dtype);
    if (t->rank > LODE_TENSOR_RANK_MAX)
        return lode_err_set(err, LODE_LIMIT, "tensor %s has more than %d dimensions",
                            lode_qn(name, name_len), LODE_TENSOR_RANK_MAX);
    if (!lode_shape_elements(t->shape, t->rank, elements))
        return lode_err_set(err, LODE_INVALID,
                            "tensor %s: its shape has more elements than 64 bits can count",
                            lode_qn(name, name_len));
    if (t->dtype == LODE_DTYPE_OPAQUE)
        return 0;
    if (!lode_mul_u64(*elements, lode_dtype_bits(t->dtype), &bits))
        return lode_err_set(err, LODE_INVALID,
                            "tensor %s: its shape has more bits than 64 bits can count",
                            lode_qn(name, name_len));
    if (bits % 8 != 0)
        return lode_err_set(
            err, LODE_INVALID, "tensor %s: %llu elements of %s do not fill whole bytes",
            lode_qn(name, name_len), (unsigned long long)*elements, lode_dtype_name(t->dtype));
    if (bits / 8 != t->len)
        return lode_err_set(
            err, LODE_INVALID, "tensor %s: %llu elements of %s take %llu bytes, but it has %llu",
            lode_qn(name, name_len), (unsigned long long)*elements, lode_dtype_name(t->dtype),
            (unsigned long long)(bits / 8), (unsigned long long)t->len);
    return 0;
}

static unsigned shape_slot(const uint64_t *shape, unsigned rank)
{
    uint64_t h = rank;
    for (unsigned i = 0; i < rank; i++)
        h = (h ^ shape[i]) * 0x9e3779b97f4a7c15ull;
    return (unsigned)(h >> 54) % SHAPE_CACHE;
}

static int keep_shape(struct lode_index_builder *self, const uint64_t *shape, unsigned rank,
                      uint32_t *out, struct lode_err *err)
{
    struct lode_tensor_index *ix = self->ix;
    *out = 0;
    if (rank == 0)
        return 0;
    struct cached_shape *cached = &self->cache[shape_slot(shape, rank)];
    if (cached->rank == rank && memcmp(ix->dims + cached->dims, shape, rank * sizeof *shape) == 0) {
        *out = cached->dims;
        return 0;
    }
    if (ix->dims_len + rank > LODE_TENSOR_DIMS_MAX)
        return lode_err_set(err, LODE_LIMIT,
                            "the tensors of one version have more than %u dimensions together",
                            LODE_TENSOR_DIMS_MAX);
    if (lode_grow((void **)&ix->dims, &ix->dims_room, ix->dims_len + rank, sizeof *ix->dims) < 0)
        return lode_err_nomem(err, "the tensor index");
    memcpy(ix->dims + ix->dims_len, shape, rank * sizeof *shape);
    *out = (uint32_t)ix->dims_len;
    *cached = (struct cached_shape){(uint32_t)ix->dims_len, rank};
    ix->dims_len += rank;
    return 0;
}

static int keep_name(struct lode_tensor_index *ix, const char *name, size_t len, uint32_t *out,
                     struct lode_err *err)
{
    if (ix->names_len + len + 1 > LODE_TENSOR_NAMES_MAX)
        return lode_err_set(err, LODE_LIMIT,
                            "the tensor names of one version take more than %u bytes",
                            LODE_TENSOR_NAMES_MAX);
    if (lode_grow((void **)&ix->names, &ix->names_room, ix->names_len + len + 1, 1) < 0)
        return lode_err_nomem(err, "the tensor index");
    memcpy(ix->names + ix->names_len, name, len);
    ix->names[ix->names_len + len] = 0;
    *out = (uint32_t)ix->names_len;
    ix->names_len += len + 1;
    return 0;
}

/* Everything of a record but where its bytes lie. The record counts once `count` is raised. */
static int start_record(struct lode_index_builder *self, const char *name, size_t name_len,
                        const struct lode_tensor *t, struct index_record **out,
                        struct lode_err *err)
{
    struct lode_tensor_index *ix = self->ix;
    uint64_t elements, parameters, bytes;
    struct index_record r = {.len = t->len,
                             .dtype = (uint8_t)t->dtype,
                             .rank = (uint8_t)t->rank,
                             .flags = t->fortran_order ? INDEX_FORTRAN : 0};
    int e = check_name(name, name_len, err);
    if (e == 0)
        e = check_size(name, name_len, t, &elements, err);
    if (e < 0)
        return e;
    if (ix->count >= LODE_VERSION_TENSORS_MAX)
        return lode_err_set(err, LODE_LIMIT, "more than %d tensors in one version",
                            LODE_VERSION_TENSORS_MAX);
    if (!lode_add_u64(ix->parameters, elements, &parameters) ||
        !lode_add_u64(ix->bytes, t->len, &bytes))
        return lode_err_set(err, LODE_INVALID,
                            "the tensors together have more elements than 64 bits can count");
    if (lode_grow((void **)&ix->records, &ix->record_room, ix->count + 1, sizeof *ix->records) < 0)
        return lode_err_nomem(err, "the tensor index");
    e = keep_shape(self, t->shape, t->rank, &r.dims, err);
    if (e == 0)
        e = keep_name(ix, name, name_len, &r.name, err);
    if (e < 0)
        return e;
    ix->parameters = parameters;
    ix->bytes = bytes;
    ix->records[ix->count] = r;
    *out = &ix->records[ix->count];
    return 0;
}

int lode_index_add(struct lode_index_builder *self, const char *name, size_t name_len,
                   const struct lode_tensor *t, struct lode_err *err)
{
    struct index_record *r;
    uint64_t end;
    if (t->file >= LODE_VERSION_FILES_MAX || !lode_add_u64(t->offset, t->len, &end))
        return lode_err_set(err, LODE_INVALID, "tensor %s lies where no file can be",
                            lode_qn(name, name_len));
    int e = start_record(self, name, name_len, t, &r, err);
    if (e < 0)
        return e;
    r->file = t->file;
    r->offset = t->offset;
    self->ix->count++;
    return 0;
}

static int keep_codec(struct lode_tensor_index *ix, const char *codec, uint16_t *out,
                      struct lode_err *err)
{
    size_t i = 0;
    while (i < ix->codecs_len && strcmp(ix->codecs[i], codec) != 0)
        i++;
    if (i == ix->codecs_len) {
        if (strlen(codec) >= INDEX_CODEC_NAME || i >= LODE_CODECS_MAX)
            return lode_err_set(err, LODE_LIMIT,
                                "too many codecs, or the codec name %s is too long", lode_q(codec));
        if (lode_grow((void **)&ix->codecs, &ix->codecs_room, i + 1, sizeof *ix->codecs) < 0)
            return lode_err_nomem(err, "the tensor index");
        memcpy(ix->codecs[ix->codecs_len++], codec, strlen(codec) + 1);
    }
    *out = (uint16_t)i;
    return 0;
}

static int check_extents(const char *name, size_t name_len, const struct lode_extent *extents,
                         size_t n, uint64_t len, struct lode_err *err)
{
    uint64_t sum = 0, end;
    for (size_t i = 0; i < n; i++) {
        const struct lode_extent *e = &extents[i];
        if (e->file >= LODE_VERSION_FILES_MAX || !lode_add_u64(e->offset, e->stored_len, &end))
            return lode_err_set(err, LODE_INVALID, "tensor %s lies where no file can be",
                                lode_qn(name, name_len));
        if (e->raw_skip > e->raw_len ||
            (strcmp(e->codec, "raw") == 0 && e->raw_len != e->stored_len) ||
            !lode_add_u64(sum, e->raw_len - e->raw_skip, &sum))
            return lode_err_set(err, LODE_INVALID,
                                "tensor %s: the lengths of extent %zu contradict each other",
                                lode_qn(name, name_len), i);
    }
    if (n == 0 || sum != len)
        return lode_err_set(err, LODE_INVALID, "tensor %s: its extents do not add up to its length",
                            lode_qn(name, name_len));
    return 0;
}

int lode_index_add_extents(struct lode_index_builder *self, const char *name, size_t name_len,
                           const struct lode_tensor *t, const struct lode_extent *extents, size_t n,
                           struct lode_err *err)
{
    struct lode_tensor_index *ix = self->ix;
    struct index_record *r;
    int e = check_extents(name, name_len, extents, n, t->len, err);
    if (e < 0)
        return e;
    if (n > LODE_TENSOR_EXTENTS_MAX - ix->extents_len)
        return lode_err_set(err, LODE_LIMIT, "more than %d extents in one version",
                            LODE_TENSOR_EXTENTS_MAX);
    if (lode_grow((void **)&ix->extents, &ix->extents_room, ix->extents_len + n,
                  sizeof *ix->extents) < 0)
        return lode_err_nomem(err, "the tensor index");
    for (size_t i = 0; i < n; i++) {
        const struct lode_extent *x = &extents[i];
        struct index_extent *to = &ix->extents[ix->extents_len + i];
        *to = (struct index_extent){x->offset, x->stored_len, x->raw_len, x->raw_skip, x->file,
                                    0,         i + 1 == n};
        e = keep_codec(ix, x->codec, &to->codec, err);
        if (e < 0)
            return e;
    }
    e = start_record(self, name, name_len, t, &r, err);
    if (e < 0)
        return e;
    r->flags |= INDEX_EXTENTS;
    r->file = extents[0].file;
    r->offset = ix->extents_len;
    ix->extents_len += n;
    ix->count++;
    return 0;
}

/* The entry of a file, made when it is the first that is said of it; NULL after telling why not. */
static struct file_group *group_entry(struct lode_index_builder *self, unsigned file,
                                      struct lode_err *err)
{
    size_t had = self->files_len;
    if (file >= LODE_VERSION_FILES_MAX) {
        lode_err_set(err, LODE_INVALID, "there is no file %u", file);
        return NULL;
    }
    if (lode_grow((void **)&self->files, &self->files_room, (size_t)file + 1, sizeof *self->files) <
        0) {
        lode_err_nomem(err, "the tensor index");
        return NULL;
    }
    if (file >= had) {
        memset(self->files + had, 0, (file + 1 - had) * sizeof *self->files);
        self->files_len = (size_t)file + 1;
    }
    return &self->files[file];
}

int lode_index_builder_group(struct lode_index_builder *self, unsigned file, unsigned leader,
                             struct lode_err *err)
{
    if (leader >= LODE_VERSION_FILES_MAX)
        return lode_err_set(err, LODE_INVALID, "there is no file %u", leader);
    struct file_group *group = group_entry(self, file, err);
    if (!group)
        return file >= LODE_VERSION_FILES_MAX ? LODE_INVALID : LODE_NO_MEMORY;
    group->leader = leader + 1;
    return 0;
}

int lode_index_builder_yield(struct lode_index_builder *self, unsigned file, struct lode_err *err)
{
    struct file_group *group = group_entry(self, file, err);
    if (!group)
        return file >= LODE_VERSION_FILES_MAX ? LODE_INVALID : LODE_NO_MEMORY;
    group->yields = true;
    return 0;
}

/* ---- finishing ---- */

static unsigned group_of(const struct lode_index_builder *self, unsigned file)
{
    return file < self->files_len && self->files[file].leader ? self->files[file].leader - 1 : file;
}

static bool yields(const struct lode_index_builder *self, unsigned group)
{
    return group < self->files_len && self->files[group].yields;
}

static int by_name(const void *arg, uint32_t a, uint32_t b)
{
    const struct lode_tensor_index *ix = arg;
    return strcmp(index_name(ix, &ix->records[a]), index_name(ix, &ix->records[b]));
}

/* Moves the records into the order of `perm`, following each cycle once; `perm` is used up. */
static void permute(struct index_record *records, uint32_t *perm, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (perm[i] == i)
            continue;
        struct index_record first = records[i];
        size_t to = i;
        while (perm[to] != i) {
            size_t from = perm[to];
            records[to] = records[from];
            perm[to] = (uint32_t)to;
            to = from;
        }
        records[to] = first;
        perm[to] = (uint32_t)to;
    }
}

static int sort_by_name(struct lode_tensor_index *ix, struct lode_err *err)
{
    _cleanup_free_ uint32_t *perm = lode_calloc(ix->count, sizeof *perm);
    if (!perm)
        return lode_err_nomem(err, "sorting the tensor index");
    for (size_t i = 0; i < ix->count; i++)
        perm[i] = (uint32_t)i;
    if (lode_sort_u32(perm, ix->count, by_name, ix) < 0)
        return lode_err_nomem(err, "sorting the tensor index");
    permute(ix->records, perm, ix->count);
    return 0;
}

static const char *path_of(const char *const *paths, size_t n, unsigned file)
{
    return paths && file < n ? paths[file] : "?";
}

static int refuse_twice(const struct lode_index_builder *self, size_t i, const char *const *paths,
                        size_t n, struct lode_err *err)
{
    const struct index_record *a = &self->ix->records[i - 1], *b = &self->ix->records[i];
    const char *name = lode_q(index_name(self->ix, b));
    if (!paths)
        return lode_err_set(err, LODE_INVALID, "tensor %s comes twice", name);
    if (a->file == b->file)
        return lode_err_set(err, LODE_INVALID, "%s: tensor %s comes twice",
                            path_of(paths, n, a->file), name);
    return lode_err_set(err, LODE_INVALID, "tensor %s is in %s and in %s", name,
                        path_of(paths, n, a->file), path_of(paths, n, b->file));
}

enum { NAMES_AS_IN_FILE, NAMES_TO_QUALIFY, NAMES_QUALIFIED };

/* Of two groups with a name in common: who takes the longer names? Who yields, who has not yet,
 * else both. */
static bool mark(const struct lode_index_builder *self, uint8_t *names, unsigned a, unsigned b)
{
    bool may_a = names[a] != NAMES_QUALIFIED, may_b = names[b] != NAMES_QUALIFIED;
    if (may_a && may_b && yields(self, a) != yields(self, b)) {
        may_a = yields(self, a);
        may_b = !may_a;
    }
    if (may_a)
        names[a] = NAMES_TO_QUALIFY;
    if (may_b)
        names[b] = NAMES_TO_QUALIFY;
    return may_a || may_b;
}

/* Marks (in `names`, by group; NULL: none may change) the groups that are to take longer names.
 * INVALID where a name comes twice for good. */
static int mark_shared(const struct lode_index_builder *self, const char *const *paths, size_t n,
                       uint8_t *names, bool *any, struct lode_err *err)
{
    const struct lode_tensor_index *ix = self->ix;
    *any = false;
    for (size_t i = 1; i < ix->count; i++) {
        if (strcmp(index_name(ix, &ix->records[i - 1]), index_name(ix, &ix->records[i])) != 0)
            continue;
        unsigned a = group_of(self, ix->records[i - 1].file),
                 b = group_of(self, ix->records[i].file);
        if (names && a != b && a < n && b < n && mark(self, names, a, b))
            *any = true;
        else if (!LODE_PLANTED(duplicate_tensor_allowed))
            return refuse_twice(self, i, paths, n, err);
    }
    return 0;
}

/* "<label>:<name>" for the record; the label of a set of shards is its index file's path without
 * ".index.json". */
static int qualify(struct lode_tensor_index *ix, struct index_record *r, const char *label,
                   struct lode_err *err)
{
    static const char suffix[] = ".index.json";
    size_t len = strlen(label), tail = sizeof suffix - 1;
    if (len > tail && strcmp(label + len - tail, suffix) == 0)
        len -= tail;
    _cleanup_free_ char *name = lode_asprintf("%.*s:%s", (int)len, label, index_name(ix, r));
    if (!name)
        return lode_err_nomem(err, "the tensor index");
    int e = check_name(name, strlen(name), err);
    return e < 0 ? e : keep_name(ix, name, strlen(name), &r->name, err);
}

static int qualify_marked(struct lode_index_builder *self, const char *const *paths, size_t n,
                          uint8_t *names, struct lode_err *err)
{
    struct lode_tensor_index *ix = self->ix;
    for (size_t i = 0; i < ix->count; i++) {
        unsigned group = group_of(self, ix->records[i].file);
        int e = group < n && names[group] == NAMES_TO_QUALIFY
                    ? qualify(ix, &ix->records[i], paths[group], err)
                    : 0;
        if (e < 0)
            return e;
    }
    for (size_t i = 0; i < n; i++)
        names[i] = names[i] == NAMES_AS_IN_FILE ? NAMES_AS_IN_FILE : NAMES_QUALIFIED;
    return sort_by_name(ix, err);
}

/* Makes names unique, or says which cannot be. Input and output are in name order. A longer name
 * may meet one that somebody has, so that there is another round; few are enough for all but
 * mischief. */
static int settle_names(struct lode_index_builder *self, const char *const *paths, size_t n,
                        struct lode_err *err)
{
    enum { ROUNDS = 4 };
    bool any;
    _cleanup_free_ uint8_t *names = paths ? lode_zalloc(n) : NULL;
    if (paths && !names)
        return lode_err_nomem(err, "the tensor index");
    for (int round = 0; round < ROUNDS; round++) {
        int e = mark_shared(self, paths, n, names, &any, err);
        if (e < 0 || !any)
            return e;
        e = qualify_marked(self, paths, n, names, err);
        if (e < 0)
            return e;
    }
    return mark_shared(self, paths, n, NULL, &any, err);
}

/* Gives back the room that growing left over. */
static void fit(struct lode_tensor_index *ix)
{
    struct {
        void **at;
        size_t *room, len, element;
    } arrays[] = {{(void **)&ix->records, &ix->record_room, ix->count, sizeof *ix->records},
                  {(void **)&ix->names, &ix->names_room, ix->names_len, 1},
                  {(void **)&ix->dims, &ix->dims_room, ix->dims_len, sizeof *ix->dims},
                  {(void **)&ix->extents, &ix->extents_room, ix->extents_len, sizeof *ix->extents}};
    for (size_t i = 0; i < LODE_ARRAY_LEN(arrays); i++) {
        if (!*arrays[i].at || !arrays[i].len)
            continue;
        void *p = lode_realloc_array(*arrays[i].at, arrays[i].len, arrays[i].element);
        if (!p)
            continue;
        *arrays[i].at = p;
        *arrays[i].room = arrays[i].len;
    }
}

int lode_index_builder_finish(struct lode_index_builder *self, const char *const *paths, size_t n,
                              struct lode_tensor_index **out, struct lode_err *err)
{
    struct lode_tensor_index *fresh = lode_zalloc(sizeof *fresh);
    if (!fresh)
        return lode_err_nomem(err, "the tensor index");
    fresh->refs = 1;
    int e = sort_by_name(self->ix, err);
    if (e == 0)
        e = settle_names(self, paths, n, err);
    if (e < 0) {
        lode_free(fresh);
        return e;
    }
    fit(self->ix);
    *out = self->ix;
    self->ix = fresh;
    self->files_len = 0;
    memset(self->cache, 0, sizeof self->cache);
    return 0;
}
