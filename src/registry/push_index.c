/* What the files are: their headers are read and checked before a byte is written. See
 * registry/push.h. */
#include <errno.h>
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "format/format.h"
#include "registry/push.h"

/* The last file read from stays open: parsers go from file to file. */
struct reader {
    const struct lode_sources *sources;
    unsigned number;
    int fd; /* -1: none */
};

static int read_at(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                   struct lode_err *err)
{
    struct reader *self = arg;
    const struct lode_source *source = &self->sources->items[number];
    if (self->fd < 0 || self->number != number) {
        lode_closep(&self->fd);
        self->fd = -1;
        self->number = number;
        int r = lode_source_open(source, &self->fd, err);
        if (r < 0)
            return r;
    }
    if (lode_pread_full(self->fd, into, len, offset) == 0)
        return 0;
    if (errno == ENODATA)
        return lode_err_set(err, LODE_CHANGED, "%s became shorter while it was read",
                            lode_q(source->from));
    return lode_err_sys(err, "cannot read %s", lode_q(source->from));
}

static int index_files(const struct lode_sources *sources, struct lode_manifest *m,
                       struct lode_err *err)
{
    struct reader reader = {.sources = sources, .fd = -1};
    _cleanup_free_ struct lode_format_input *inputs = lode_calloc(sources->n, sizeof *inputs);
    if (!inputs)
        return lode_err_nomem(err, "a list of files");
    for (size_t i = 0; i < sources->n; i++)
        inputs[i] = (struct lode_format_input){.path = sources->items[i].path,
                                               .size = sources->items[i].size};
    int r = lode_format_index_files(inputs, sources->n, read_at, &reader, &m->tensors, err);
    lode_closep(&reader.fd);
    for (size_t i = 0; r == 0 && i < sources->n; i++) {
        m->files[i].format = lode_strdup(inputs[i].format);
        if (!m->files[i].format)
            r = lode_err_nomem(err, "a format's name");
    }
    return r;
}

int lode_sources_manifest(const struct lode_sources *sources, struct lode_manifest **out,
                          struct lode_err *err)
{
    _cleanup_manifest_ struct lode_manifest *m = lode_zalloc(sizeof *m);
    if (!m || !(m->files = lode_calloc(sources->n, sizeof *m->files)))
        return lode_err_nomem(err, "a manifest");
    m->block_size = LODE_BLOCK_SIZE;
    m->created_ms = lode_now_ms();
    m->n_files = sources->n;
    for (size_t i = 0; i < sources->n; i++) {
        m->files[i].size = sources->items[i].size;
        m->files[i].mode = sources->items[i].mode;
        if (!(m->files[i].path = lode_strdup(sources->items[i].path)))
            return lode_err_nomem(err, "a manifest");
    }
    int r = index_files(sources, m, err);
    if (r == 0)
        *out = lode_steal(m);
    return r;
}

int push_index(struct push *self, struct lode_err *err)
{
    int r = lode_sources_manifest(&self->sources, &self->manifest, err);
    if (r < 0)
        return r;
    self->manifest->ns = lode_strdup(self->model.ns);
    self->manifest->name = lode_strdup(self->model.name);
    return self->manifest->ns && self->manifest->name ? 0 : lode_err_nomem(err, "a manifest");
}
