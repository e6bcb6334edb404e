/* diff: what differs between two versions, file by file and tensor by tensor: see <lode/lode.h>.
 *
 * Files are compared by SHA-256, so nothing is read. A tensor of one name, type and shape in both
 * is compared by what the manifests know, where that is enough (the same bytes of the same file;
 * whole blocks that match or differ), and else by reading both, checked, up to the first
 * difference.
 */
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "load/blocks.h"
#include "load/tensors.h"
#include "registry/handle.h"

struct side {
    struct lode_version version;
    struct lode_manifest *manifest;
    struct lode_place place;
    struct lode_tensor_reader *reader;
};

struct diff {
    struct lode *lode;
    struct side a, b;
    void *rooms[2];
};

static void side_release(struct side *s)
{
    lode_tensor_reader_free(s->reader);
    lode_place_release(&s->place);
    lode_manifest_free(s->manifest);
    lode_version_release(&s->version);
}

static void diff_release(struct diff *self)
{
    side_release(&self->a);
    side_release(&self->b);
    lode_free(self->rooms[0]);
    lode_free(self->rooms[1]);
}
#define _cleanup_diff_ __attribute__((cleanup(diff_release)))

static int side_open(struct lode *lode, const char *ref, struct side *s, struct lode_err *err)
{
    int r = lode_handle_resolve(lode, ref, &s->version, err);
    if (r == 0)
        r = lode_handle_ops(lode)->manifest(lode->catalog, &s->version, &s->manifest, err);
    if (r == 0)
        r = lode_handle_ops(lode)->place(lode->catalog, &s->version, &s->place, err);
    return r < 0 ? r
                 : lode_tensor_reader_new(s->place.store, s->place.prefix, s->manifest, &s->reader,
                                          err);
}

/* {"same": n, "changed": [names], "added": [names], "removed": [names]} in the making. */
struct part {
    json_t *lists[3];
    uint64_t same;
};
enum { CHANGED, ADDED, REMOVED };
static const char *const list_names[] = {"changed", "added", "removed"};

static int part_add(struct part *p, int list, const char *name, struct lode_err *err)
{
    if (!p->lists[list] && !(p->lists[list] = json_array()))
        return lode_err_nomem(err, "a report");
    return json_array_append_new(p->lists[list], json_string(name)) < 0
               ? lode_err_nomem(err, "a report")
               : 0;
}

/* Consumes the lists; NULL when out of memory. */
static json_t *part_finish(struct part *p)
{
    json_t *doc = json_pack("{s:I}", "same", (json_int_t)p->same);
    int bad = !doc;
    for (int i = 0; i < 3; i++) {
        json_t *list = p->lists[i] ? p->lists[i] : json_array();
        if (bad)
            json_decref(list);
        else
            bad = json_object_set_new(doc, list_names[i], list) < 0;
    }
    if (!bad)
        return doc;
    json_decref(doc);
    return NULL;
}

static int diff_files(const struct diff *self, struct part *p, struct lode_err *err)
{
    const struct lode_manifest *a = self->a.manifest, *b = self->b.manifest;
    size_t i = 0, k = 0;
    int r = 0;
    while (r == 0 && (i < a->n_files || k < b->n_files)) {
        int order = i == a->n_files   ? 1
                    : k == b->n_files ? -1
                                      : strcmp(a->files[i].path, b->files[k].path);
        if (order < 0)
            r = part_add(p, REMOVED, a->files[i].path, err);
        else if (order > 0)
            r = part_add(p, ADDED, b->files[k].path, err);
        else if (memcmp(&a->files[i].sha256, &b->files[k].sha256, sizeof a->files[i].sha256) == 0)
            p->same++;
        else
            r = part_add(p, CHANGED, b->files[k].path, err);
        i += order <= 0;
        k += order >= 0;
    }
    return r;
}

static bool same_type(const struct lode_tensor *x, const struct lode_tensor *y)
{
    return x->dtype == y->dtype && x->rank == y->rank && x->len == y->len &&
           x->fortran_order == y->fortran_order &&
           (x->rank == 0 || memcmp(x->shape, y->shape, x->rank * sizeof *x->shape) == 0);
}

/* 1 the same, 0 different, -1 the manifests alone do not tell. */
static int by_digests(const struct diff *self, const struct lode_tensor *x,
                      const struct lode_tensor *y)
{
    const struct lode_manifest_file *f = &self->a.manifest->files[x->file],
                                    *g = &self->b.manifest->files[y->file];
    uint64_t size = self->a.manifest->block_size;
    if (!x->direct || !y->direct)
        return -1;
    if (x->offset == y->offset && memcmp(&f->sha256, &g->sha256, sizeof f->sha256) == 0)
        return 1;
    if (size != self->b.manifest->block_size || x->offset % size != y->offset % size)
        return -1;
    /* Blocks that lie wholly inside the tensor, at the same phase in both: one that differs settles
     * it. */
    for (uint64_t from = (x->offset + size - 1) / size; (from + 1) * size <= x->offset + x->len;
         from++) {
        uint64_t other = from - x->offset / size + y->offset / size;
        if (memcmp(&f->blocks[from], &g->blocks[other], sizeof *f->blocks) != 0)
            return 0;
    }
    return -1;
}

#define COMPARE_STEP (1u << 20) /* bytes read of each side at a time */

static int by_bytes(struct diff *self, size_t i, size_t k, uint64_t len, bool *same,
                    struct lode_err *err)
{
    *same = true;
    for (uint64_t at = 0; *same && at < len; at += COMPARE_STEP) {
        size_t n = (size_t)lode_min(len - at, (uint64_t)COMPARE_STEP);
        int r = lode_tensor_read(self->a.reader, i, at, self->rooms[0], n, err);
        if (r == 0)
            r = lode_tensor_read(self->b.reader, k, at, self->rooms[1], n, err);
        if (r < 0)
            return r;
        *same = memcmp(self->rooms[0], self->rooms[1], n) == 0;
    }
    return 0;
}

static int diff_tensor(struct diff *self, size_t i, size_t k, bool *same, struct lode_err *err)
{
    struct lode_tensor x = lode_index_get(self->a.manifest->tensors, i),
                       y = lode_index_get(self->b.manifest->tensors, k);
    if (!same_type(&x, &y)) {
        *same = false;
        return 0;
    }
    int known = by_digests(self, &x, &y);
    if (known < 0)
        return by_bytes(self, i, k, x.len, same, err);
    *same = known;
    return 0;
}

static int diff_tensors(struct diff *self, struct part *p, struct lode_err *err)
{
    const struct lode_tensor_index *a = self->a.manifest->tensors, *b = self->b.manifest->tensors;
    size_t n = a ? lode_index_count(a) : 0, m = b ? lode_index_count(b) : 0, i = 0, k = 0;
    int r = 0;
    while (r == 0 && (i < n || k < m)) {
        const char *x = i < n ? lode_index_get(a, i).name : NULL,
                   *y = k < m ? lode_index_get(b, k).name : NULL;
        int order = !x ? 1 : !y ? -1 : strcmp(x, y);
        bool same = false;
        if (order == 0)
            r = diff_tensor(self, i, k, &same, err);
        if (r == 0 && same)
            p->same++;
        else if (r == 0)
            r = part_add(p,
                         order == 0  ? CHANGED
                         : order < 0 ? REMOVED
                                     : ADDED,
                         order <= 0 ? x : y, err);
        i += order <= 0;
        k += order >= 0;
    }
    return r;
}

static json_t *side_json(const struct side *s)
{
    return json_pack("{s:s, s:s, s:s, s:I}", "ns", s->version.ns, "name", s->version.name,
                     "version", s->version.version, "seq", (json_int_t)s->version.seq);
}

int lode_diff(struct lode *lode, const char *from, const char *to, char **json,
              struct lode_err *err)
{
    _cleanup_diff_ struct diff self = {.lode = lode};
    struct part files = {0}, tensors = {0};
    int r = side_open(lode, from, &self.a, err);
    if (r == 0)
        r = side_open(lode, to, &self.b, err);
    self.rooms[0] = lode_alloc(COMPARE_STEP);
    self.rooms[1] = lode_alloc(COMPARE_STEP);
    if (r == 0 && (!self.rooms[0] || !self.rooms[1]))
        r = lode_err_nomem(err, "a comparison");
    if (r == 0)
        r = diff_files(&self, &files, err);
    if (r == 0)
        r = diff_tensors(&self, &tensors, err);
    json_t *f = part_finish(&files), *t = part_finish(&tensors);
    if (r < 0) {
        json_decref(f);
        json_decref(t);
        return r;
    }
    bool same = true; /* equal files have equal tensors */
    for (int i = 0; i < 3; i++)
        same = same && json_array_size(json_object_get(f, list_names[i])) == 0;
    return lode_json_hand_out(json_pack("{s:o, s:o, s:b, s:o, s:o}", "from", side_json(&self.a),
                                        "to", side_json(&self.b), "same", same, "files", f,
                                        "tensors", t),
                              json, err);
}
