/* The manifest in memory: see model/manifest.h. Its bytes are made in manifest_write.c and read in
 * manifest_read.c. */
#include "model/manifest.h"
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/size.h"
#include "model/manifest_rules.h"

static void release_file(struct lode_manifest_file *f)
{
    lode_free(f->path);
    lode_free(f->format);
    lode_free(f->blocks);
}

struct lode_manifest *lode_manifest_ref(struct lode_manifest *m)
{
    __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

void lode_manifest_free(struct lode_manifest *m)
{
    if (!m || __atomic_fetch_sub(&m->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < m->n_files; i++)
        release_file(&m->files[i]);
    lode_free(m->files);
    lode_free(m->ns);
    lode_free(m->name);
    lode_free(m->version);
    lode_index_unref(m->tensors);
    lode_free(m);
}

/* Binary search for the `len` bytes at `path`. */
static const struct lode_manifest_file *find(const struct lode_manifest *m, const char *path,
                                             size_t len)
{
    size_t lo = 0, hi = m->n_files;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const char *at = m->files[mid].path;
        size_t at_len = strlen(at);
        int order = memcmp(at, path, lode_min(at_len, len));
        if (order == 0 && at_len == len)
            return &m->files[mid];
        if (order < 0 || (order == 0 && at_len < len))
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct lode_manifest_file *lode_manifest_find(const struct lode_manifest *m, const char *path)
{
    return find(m, path, strlen(path));
}

/* None of the directories above `path` is a file. */
static int check_parents(const struct lode_manifest *m, const char *path, struct lode_err *err)
{
    for (const char *at = strchr(path, '/'); at; at = strchr(at + 1, '/')) {
        if (find(m, path, (size_t)(at - path)))
            return lode_err_set(err, LODE_INVALID, "%s is a file and also the directory of %s",
                                lode_qn(path, (size_t)(at - path)), lode_q(path));
    }
    return 0;
}

static int check_file(const struct lode_manifest_file *f, uint32_t block_size, struct lode_err *err)
{
    int r = lode_path_check(f->path, strlen(f->path), err);
    if (r < 0)
        return r;
    if (f->size > INT64_MAX)
        return lode_err_set(err, LODE_INVALID, "file %s has an impossible size", lode_q(f->path));
    if (f->mode != 0644 && f->mode != 0755)
        return lode_err_set(err, LODE_INVALID, "file %s has mode %o; 644 and 755 are kept",
                            lode_q(f->path), f->mode);
    if (f->n_blocks != lode_div_up(f->size, block_size))
        return lode_err_set(err, LODE_INVALID, "file %s of %llu bytes has %zu block sums",
                            lode_q(f->path), (unsigned long long)f->size, f->n_blocks);
    if (!lode_name_ok(f->format, strlen(f->format)))
        return lode_err_set(err, LODE_INVALID, "file %s has no format", lode_q(f->path));
    return 0;
}

static int check_files(const struct lode_manifest *m, struct lode_err *err)
{
    uint64_t sum = 0;
    if (m->n_files == 0 || m->n_files > LODE_VERSION_FILES_MAX)
        return lode_err_set(err, LODE_INVALID, "%zu files; a version has 1 to %d", m->n_files,
                            LODE_VERSION_FILES_MAX);
    for (size_t i = 0; i < m->n_files; i++) {
        const struct lode_manifest_file *f = &m->files[i];
        int r = check_file(f, m->block_size, err);
        if (r < 0)
            return r;
        if (i && strcmp(m->files[i - 1].path, f->path) >= 0)
            return lode_err_set(err, LODE_INVALID, "file %s comes twice or out of order",
                                lode_q(f->path));
        if (!lode_add_u64(sum, f->size, &sum) || sum > INT64_MAX)
            return lode_err_set(err, LODE_INVALID, "the files' sizes add up to more than fits");
    }
    for (size_t i = 0; i < m->n_files; i++) {
        int r = check_parents(m, m->files[i].path, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int lode_manifest_check(const struct lode_manifest *m, struct lode_err *err)
{
    int r = strcmp(m->ns, "_") == 0
                ? 0
                : lode_name_check(LODE_NAME_NAMESPACE, m->ns, strlen(m->ns), err);
    r = r < 0 ? r : lode_name_check(LODE_NAME_MODEL, m->name, strlen(m->name), err);
    r = r < 0 ? r : lode_name_check(LODE_NAME_VERSION, m->version, strlen(m->version), err);
    if (r == 0 && m->block_size != LODE_BLOCK_SIZE)
        r = lode_err_set(err, LODE_INVALID, "blocks of %u bytes; this Lode knows %u", m->block_size,
                         LODE_BLOCK_SIZE);
    return r < 0 ? r : check_files(m, err);
}

/* ---- sorting ---- */

struct order {
    struct lode_manifest_file file;
    size_t was;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct order *)a)->file.path, ((const struct order *)b)->file.path);
}

static bool is_sorted(const struct lode_manifest *m)
{
    for (size_t i = 1; i < m->n_files; i++) {
        if (strcmp(m->files[i - 1].path, m->files[i].path) > 0)
            return false;
    }
    return true;
}

/* Adds tensor i of `from`, its files renumbered. */
static int add_renumbered(struct lode_index_builder *b, const struct lode_tensor_index *from,
                          size_t i, const unsigned *now, struct lode_err *err)
{
    struct lode_tensor t = lode_index_get(from, i);
    size_t n = lode_index_extents(from, i);
    if (t.direct) {
        t.file = now[t.file];
        return lode_index_add(b, t.name, strlen(t.name), &t, err);
    }
    _cleanup_free_ struct lode_extent *extents = lode_calloc(n, sizeof *extents);
    if (!extents)
        return lode_err_nomem(err, "a tensor index");
    for (size_t k = 0; k < n; k++) {
        extents[k] = lode_index_extent(from, i, k);
        extents[k].file = now[extents[k].file];
    }
    return lode_index_add_extents(b, t.name, strlen(t.name), &t, extents, n, err);
}

static int renumber(struct lode_manifest *m, const unsigned *now, struct lode_err *err)
{
    struct lode_tensor_index *moved;
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    if (!b)
        return lode_err_nomem(err, "a tensor index");
    for (size_t i = 0; i < lode_index_count(m->tensors); i++) {
        int r = add_renumbered(b, m->tensors, i, now, err);
        if (r < 0)
            return r;
    }
    int r = lode_index_builder_finish(b, NULL, 0, &moved, err);
    if (r < 0)
        return r;
    lode_index_unref(m->tensors);
    m->tensors = moved;
    return 0;
}

static int sort_files(struct lode_manifest *m, struct lode_err *err)
{
    _cleanup_free_ struct order *files = lode_calloc(m->n_files, sizeof *files);
    _cleanup_free_ unsigned *now = lode_calloc(m->n_files, sizeof *now);
    if (!files || !now)
        return lode_err_nomem(err, "a manifest");
    for (size_t i = 0; i < m->n_files; i++)
        files[i] = (struct order){m->files[i], i};
    qsort(files, m->n_files, sizeof *files, by_path);
    for (size_t i = 0; i < m->n_files; i++)
        now[files[i].was] = (unsigned)i;
    int r = m->tensors ? renumber(m, now, err) : 0;
    for (size_t i = 0; r == 0 && i < m->n_files; i++)
        m->files[i] = files[i].file;
    return r;
}

int lode_manifest_sort(struct lode_manifest *m, struct lode_err *err)
{
    int r = is_sorted(m) ? 0 : sort_files(m, err);
    return r < 0 ? r : check_files(m, err);
}

/* ---- sums ---- */

uint64_t lode_manifest_bytes(const struct lode_manifest *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n_files; i++)
        sum += m->files[i].size;
    return sum;
}

static bool listed(const char *const *formats, size_t n, const char *format)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(formats[i], format) == 0)
            return true;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

#define FORMATS_TOLD 16 /* formats that a version's summary names */

char *lode_manifest_formats(const struct lode_manifest *m)
{
    const char *formats[FORMATS_TOLD];
    size_t n = 0;
    for (size_t i = 0; i < m->n_files && n < FORMATS_TOLD; i++) {
        const char *format = m->files[i].format;
        if (strcmp(format, "opaque") != 0 && !listed(formats, n, format))
            formats[n++] = format;
    }
    if (n == 0)
        return lode_strdup("opaque");
    qsort(formats, n, sizeof *formats, by_name);
    _cleanup_buf_ struct lode_buf out = LODE_BUF_INIT(FORMATS_TOLD * (LODE_NAME_MAX + 1));
    for (size_t i = 0; i < n; i++)
        lode_buf_addf(&out, "%s%s", i ? "+" : "", formats[i]);
    return lode_buf_steal(&out);
}
