/* Loading tensors: choosing, then mapping or reading. See load/load.h. */
#include "load/load.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include "base/clock.h"
#include "base/fs.h"
#include "base/glob.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "load/fill.h"
#include "load/model.h"
#include "load/plan.h"
#include "load/tensors.h"

/* How a file is brought in. */
enum way { NOT_WANTED, MAP, READ };

struct run {
    struct lode_load *load;
    struct lode_model *model;
    struct lode_bytes *bytes;
    enum way *ways;        /* by file */
    void **maps;           /* by file: base of its mapping, or NULL */
    struct lode_plan plan; /* of the files that are read */
    void *memory;          /* of the plan */
};

static void run_release(struct run *run)
{
    lode_plan_release(&run->plan);
    lode_free(run->ways);
    lode_free(run->maps);
    lode_model_free(run->model);
}
#define _cleanup_run_ __attribute__((cleanup(run_release)))

/* What an element needs to lie on: its own size, up to 8. */
static bool is_aligned(const struct lode_tensor *t)
{
    unsigned bytes = lode_dtype_bits(t->dtype) / 8;
    bytes = bytes == 16 ? 8 : bytes;
    return bytes < 2 || (bytes & (bytes - 1)) != 0 || t->offset % bytes == 0;
}

/* True for a tensor that can be used where it lies in its file. */
static bool in_place(const struct lode_tensor *t)
{
    return t->direct && is_aligned(t);
}

static int choose(struct run *run, struct lode_err *err)
{
    const struct lode_load_options *o = run->load->options;
    const struct lode_tensor_index *index = run->load->manifest->tensors;
    struct lode_model *m = run->model;
    size_t count = index ? lode_index_count(index) : 0;
    m->chosen = lode_calloc(count + 1, sizeof *m->chosen);
    if (!m->chosen)
        return lode_err_nomem(err, "a list of tensors");
    for (size_t i = 0; i < count; i++) {
        if (!o ||
            lode_glob_any(o->tensors, o->n_tensors, lode_index_get(index, i).name, false, true))
            m->chosen[m->n++] = i;
    }
    if (m->n == 0 && o && o->n_tensors)
        return lode_err_set(err, LODE_NOT_FOUND, "none of the %zu tensors matches %s", count,
                            lode_q(o->tensors[0]));
    m->data = lode_calloc(m->n + 1, sizeof *m->data);
    m->own = lode_calloc(m->n + 1, sizeof *m->own);
    return m->data && m->own ? 0 : lode_err_nomem(err, "a list of tensors");
}

/* ---- which way ---- */

static bool can_map(struct run *run, unsigned file)
{
    struct statfs fs;
    int fd;
    if (run->load->options && run->load->options->copy)
        return false;
    return lode_bytes_local(run->bytes, file, &fd, NULL) == 0 && lode_sys->fstatfs(fd, &fs) == 0 &&
           !lode_fs_not_local((uint32_t)fs.f_type);
}

static int choose_ways(struct run *run, struct lode_err *err)
{
    size_t n = run->load->manifest->n_files;
    run->ways = lode_calloc(n + 1, sizeof *run->ways);
    run->maps = lode_calloc(n + 1, sizeof *run->maps);
    if (!run->ways || !run->maps)
        return lode_err_nomem(err, "a plan");
    for (size_t i = 0; i < run->model->n; i++) {
        struct lode_tensor t = lode_index_get(run->load->manifest->tensors, run->model->chosen[i]);
        if (t.len > 0 && in_place(&t) && run->ways[t.file] == NOT_WANTED)
            run->ways[t.file] = can_map(run, t.file) ? MAP : READ;
    }
    return 0;
}

/* ---- mapping ---- */

static int changed(struct run *run, unsigned file, struct lode_err *err)
{
    return lode_err_set(err, LODE_CHANGED, "%s changed while it was loaded",
                        lode_q(run->load->manifest->files[file].path));
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Reads and checks what is wanted of a file that will be mapped; remembers it if that was all of
 * it. */
static int check_file(struct run *run, unsigned file, int fd, const struct stat *before,
                      struct lode_err *err)
{
    const struct lode_manifest_file *f = &run->load->manifest->files[file];
    struct lode_check check = {before, run->load->digest, &f->sha256};
    _cleanup_plan_ struct lode_plan plan = {0};
    struct stat after;
    int r = 0;
    if (!lode_bytes_checked(run->bytes, file) ||
        (run->load->digest && lode_checks_has(run->load->checks, &check)))
        return 0;
    for (size_t i = 0; r == 0 && i < run->model->n; i++) {
        struct lode_tensor t = lode_index_get(run->load->manifest->tensors, run->model->chosen[i]);
        if (t.file == file && t.len > 0 && in_place(&t))
            r = lode_plan_want(&plan, file, f->size, t.offset, t.len,
                               run->load->manifest->block_size, err);
    }
    if (r == 0)
        r = lode_plan_finish(&plan, err);
    if (r == 0)
        r = lode_fill(run->bytes, &plan, NULL, run->load->options ? run->load->options->call : NULL,
                      err);
    if (r < 0)
        return r;
    run->model->stats.read += plan.read;
    if (lode_sys->fstat(fd, &after) < 0 || !same_file(before, &after))
        return changed(run, file, err);
    if (plan.read == f->size && run->load->digest)
        lode_checks_add(run->load->checks, &check);
    return 0;
}

static int map_file(struct run *run, unsigned file, struct lode_err *err)
{
    const struct lode_manifest_file *f = &run->load->manifest->files[file];
    struct stat st;
    int fd;
    int r = lode_bytes_local(run->bytes, file, &fd, err);
    if (r < 0)
        return r;
    if (lode_sys->fstat(fd, &st) < 0)
        return lode_err_sys(err, "cannot look at %s", lode_q(f->path));
    if ((uint64_t)st.st_size != f->size)
        return lode_err_set(err, LODE_CORRUPT, "%s has %llu bytes, not %llu", lode_q(f->path),
                            (unsigned long long)st.st_size, (unsigned long long)f->size);
    if ((r = check_file(run, file, fd, &st, err)) < 0)
        return r;
    /* Private and writable: a consumer that writes (torch, DLPack) gets a copy of that page and
     * never the file. */
    void *base = lode_sys->mmap(NULL, (size_t)f->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (base == MAP_FAILED)
        return lode_err_sys(err, "cannot map %s", lode_q(f->path));
    r = lode_model_keep(run->model, base, (size_t)f->size, err);
    if (r < 0)
        lode_sys->munmap(base, (size_t)f->size);
    else
        run->maps[file] = base;
    return r;
}

/* ---- reading ---- */

static int read_files(struct run *run, struct lode_err *err)
{
    const struct lode_manifest *m = run->load->manifest;
    int r = 0;
    for (size_t i = 0; r == 0 && i < run->model->n; i++) {
        struct lode_tensor t = lode_index_get(m->tensors, run->model->chosen[i]);
        uint32_t unit = lode_bytes_checked(run->bytes, t.file) ? m->block_size : LODE_PLAN_PAGE;
        if (t.len > 0 && in_place(&t) && run->ways[t.file] == READ)
            r = lode_plan_want(&run->plan, t.file, m->files[t.file].size, t.offset, t.len, unit,
                               err);
    }
    if (r == 0)
        r = lode_plan_finish(&run->plan, err);
    if (r < 0 || run->plan.bytes == 0)
        return r;
    run->memory = lode_sys->mmap(NULL, (size_t)run->plan.bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (run->memory == MAP_FAILED)
        return lode_err_sys(err, "no memory for %llu bytes of tensors",
                            (unsigned long long)run->plan.bytes);
    if ((r = lode_model_keep(run->model, run->memory, (size_t)run->plan.bytes, err)) < 0) {
        lode_sys->munmap(run->memory, (size_t)run->plan.bytes);
        return r;
    }
    madvise(run->memory, (size_t)run->plan.bytes, MADV_HUGEPAGE); /* a hint */
    r = lode_fill(run->bytes, &run->plan, run->memory,
                  run->load->options ? run->load->options->call : NULL, err);
    run->model->stats.read += run->plan.read;
    return r;
}

/* What is not simply a range of a file gets memory of its own. */
static int decode(struct run *run, size_t k, const struct lode_tensor *t, struct lode_err *err)
{
    struct lode_model *m = run->model;
    if (!(m->own[k] = lode_alloc_aligned(64, (size_t)t->len)))
        return lode_err_nomem(err, t->name);
    m->data[k] = m->own[k];
    m->stats.read += t->len;
    return lode_tensor_decode(run->bytes, m->chosen[k], m->own[k], err);
}

static int place_tensors(struct run *run, struct lode_err *err)
{
    static const uint64_t empty; /* where tensors without bytes point */
    struct lode_model *m = run->model;
    int r = 0;
    for (size_t k = 0; r == 0 && k < m->n; k++) {
        struct lode_tensor t = lode_index_get(run->load->manifest->tensors, m->chosen[k]);
        m->stats.bytes += t.len;
        if (t.len == 0)
            m->data[k] = &empty;
        else if (!in_place(&t))
            r = decode(run, k, &t, err);
        else if (run->ways[t.file] == MAP)
            m->data[k] = (const char *)run->maps[t.file] + t.offset;
        else
            m->data[k] = (const char *)run->memory + lode_plan_place(&run->plan, t.file, t.offset);
    }
    return r;
}

static void fill_stats(struct run *run, uint64_t started_ns)
{
    struct lode_load_stats *s = &run->model->stats;
    s->seconds = (double)(lode_mono_ns() - started_ns) / 1e9;
    s->verified = run->bytes->verify;
    for (size_t i = 0; i < run->load->manifest->n_files; i++) {
        s->mapped |= run->maps[i] != NULL;
        s->verified &= run->ways[i] == NOT_WANTED || lode_bytes_checked(run->bytes, (unsigned)i);
    }
}

int lode_load_run(struct lode_load *load, struct lode_model **out, struct lode_err *err)
{
    _cleanup_run_ struct run run = {.load = load, .bytes = load->bytes};
    uint64_t started = lode_mono_ns();
    if (!(run.model = lode_model_new()))
        return lode_err_nomem(err, "a model");
    int r = choose(&run, err);
    if (r == 0)
        r = choose_ways(&run, err);
    for (size_t i = 0; r == 0 && i < load->manifest->n_files; i++) {
        if (run.ways[i] == MAP)
            r = map_file(&run, (unsigned)i, err);
    }
    if (r == 0)
        r = read_files(&run, err);
    if (r == 0)
        r = place_tensors(&run, err);
    if (r < 0)
        return r;
    fill_stats(&run, started);
    run.model->manifest = lode_steal(load->manifest);
    *out = lode_steal(run.model);
    return 0;
}
