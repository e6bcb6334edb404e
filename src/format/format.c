/* The table of formats and the driver of their parsers: see format/format.h. */
#include "format/format.h"
#include <pthread.h>
#include <string.h>
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plugin.h"
#include "format/formats.h"

enum { PIECE = 1 << 20 };

static const struct lode_format_ops *table[LODE_FORMATS_MAX + 1] = {
    &lode_format_safetensors,
    &lode_format_npz,
    &lode_format_npy,
    NULL,
};

const struct lode_format_ops *const *lode_formats(void)
{
    return table;
}

/* Entries are only ever added, under the lock; whoever makes an index has taken it once, and then
 * reads on without. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool plugins_loaded;

static int add_format(const struct lode_format_ops *ops, struct lode_err *err)
{
    size_t n = 0;
    if (ops->abi != LODE_FORMAT_ABI)
        return lode_err_set(err, LODE_INVALID, "a plug-in's format is made for ABI %u, this is %d",
                            ops->abi, LODE_FORMAT_ABI);
    if (!ops->name || !ops->match || !ops->open || !ops->step || !ops->feed || !ops->close)
        return lode_err_set(err, LODE_INVALID, "a plug-in's format lacks a name or a function");
    for (; table[n]; n++) {
        if (strcmp(table[n]->name, ops->name) == 0)
            return lode_err_set(err, LODE_EXISTS, "there is a format %s already", ops->name);
    }
    if (n == LODE_FORMATS_MAX)
        return lode_err_set(err, LODE_LIMIT, "more than %d formats", LODE_FORMATS_MAX);
    __atomic_store_n(&table[n], ops, __ATOMIC_RELEASE);
    return 0;
}

int lode_format_register(const struct lode_format_ops *ops, struct lode_err *err)
{
    pthread_mutex_lock(&lock);
    int r = add_format(ops, err);
    pthread_mutex_unlock(&lock);
    return r;
}

struct plugin_formats {
    int result;
    struct lode_err *err;
};

/* All formats of one plug-in; true ends the search at an error. */
static bool add_of_plugin(void *arg, void *symbol, const char *path)
{
    struct plugin_formats *w = arg;
    const struct lode_format_ops *const *ops = ((lode_plugin_format_fn *)symbol)(LODE_FORMAT_ABI);
    for (; ops && *ops; ops++) {
        w->result = add_format(*ops, w->err);
        if (w->result == LODE_EXISTS)
            w->result = 0; /* an earlier try came this far */
        if (w->result < 0) {
            lode_err_prefix(w->err, "%s", path);
            return true;
        }
    }
    return false;
}

static int load_plugins(struct lode_err *err)
{
    struct plugin_formats w = {.err = err};
    pthread_mutex_lock(&lock);
    int r = plugins_loaded ? 0 : lode_plugin_each("lode_plugin_format", add_of_plugin, &w, err);
    if (r == 0)
        r = w.result;
    plugins_loaded = r == 0;
    pthread_mutex_unlock(&lock);
    return r;
}

/* ---- which format takes which file ---- */

/* What the driver knows while it works. */
struct driver {
    struct lode_format_input *inputs;
    size_t n;
    lode_format_read *read;
    void *arg;
    struct lode_index_builder *into;
    struct lode_format_file *files;       /* the set at work */
    const struct lode_format_ops **taken; /* by file */
    uint8_t *by_content;                  /* by file: only its content looked like it */
    void *piece;                          /* PIECE bytes */
};

/* Pickles are stored and never looked into, whatever their bytes look like. */
static bool is_pickle(const char *path)
{
    static const char *const suffixes[] = {".pkl", ".pickle", ".joblib", ".pck"};
    size_t len = strlen(path);
    for (size_t i = 0; i < LODE_ARRAY_LEN(suffixes); i++) {
        size_t n = strlen(suffixes[i]);
        if (len >= n && strcmp(path + len - n, suffixes[i]) == 0)
            return true;
    }
    return false;
}

static struct lode_format_file file_of(const struct driver *d, size_t i)
{
    return (struct lode_format_file){
        .path = d->inputs[i].path, .size = d->inputs[i].size, .number = (unsigned)i};
}

static int detect(struct driver *d, size_t i, struct lode_err *err)
{
    uint8_t head[LODE_FORMAT_HEAD];
    struct lode_format_file f = file_of(d, i);
    enum lode_format_match best = LODE_FORMAT_NO;
    d->inputs[i].format = "opaque";
    if (is_pickle(f.path))
        return 0;
    f.head = head;
    f.head_len = (size_t)lode_min(f.size, (uint64_t)sizeof head);
    int e = f.head_len ? d->read(d->arg, f.number, 0, head, f.head_len, err) : 0;
    if (e < 0)
        return e;
    for (size_t k = 0; table[k]; k++) {
        enum lode_format_match m = table[k]->match(&f);
        if (m > best) {
            best = m;
            d->taken[i] = table[k];
        }
    }
    d->by_content[i] = best == LODE_FORMAT_BY_CONTENT;
    return 0;
}

/* ---- one parser over one set of files ---- */

static int feed(struct driver *d, struct lode_format *parser, const struct lode_format_need *need,
                struct lode_err *err)
{
    uint64_t size = need->file < d->n ? d->inputs[need->file].size : 0;
    if (need->offset > size || need->length > size - need->offset || need->length == 0)
        return lode_err_set(err, LODE_INTERNAL, "the %s parser asks for bytes that are not there",
                            parser->ops->name);
    for (uint64_t done = 0; done < need->length;) {
        size_t n = (size_t)lode_min(need->length - done, (uint64_t)PIECE);
        int e = d->read(d->arg, need->file, need->offset + done, d->piece, n, err);
        if (e == 0)
            e = parser->ops->feed(parser, d->piece, n, err);
        if (e < 0)
            return e;
        done += n;
    }
    return 0;
}

static int drive(struct driver *d, const struct lode_format_ops *ops, size_t n_files,
                 struct lode_err *err)
{
    struct lode_format *parser;
    struct lode_format_need need;
    int r = ops->open(d->files, n_files, d->into, &parser, err);
    if (r < 0)
        return r;
    parser->ops = ops;
    while ((r = ops->step(parser, &need, err)) == LODE_FORMAT_NEED) {
        r = feed(d, parser, &need, err);
        if (r < 0)
            break;
    }
    ops->close(parser);
    return r;
}

/* Parses d->files. What is not what it looked like, or says nothing to an index, stays opaque. */
static int parse_set(struct driver *d, const struct lode_format_ops *ops, size_t n_files,
                     bool by_content, struct lode_err *err)
{
    struct lode_err own = {0};
    size_t mark = lode_index_builder_count(d->into);
    int r = drive(d, ops, n_files, &own);
    bool refused = r == LODE_INVALID || r == LODE_LIMIT;
    if (r == LODE_UNSUPPORTED || (by_content && refused)) {
        lode_index_builder_rewind(d->into, mark);
        lode_log(by_content ? LODE_LOG_INFO : LODE_LOG_WARN, "kept as opaque bytes: %s", own.text);
        return 0;
    }
    if (r < 0) {
        if (err)
            *err = own;
        return r;
    }
    for (size_t i = 0; i < n_files; i++)
        d->inputs[d->files[i].number].format = ops->name;
    return by_content ? lode_index_builder_yield(d->into, d->files[0].number, err) : 0;
}

/* All files that `ops` took: those of a set by name together, every other one alone. */
static int parse_format(struct driver *d, const struct lode_format_ops *ops, struct lode_err *err)
{
    size_t together = 0;
    int e = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (d->taken[i] == ops && !d->by_content[i] && (ops->flags & LODE_FORMAT_SETS))
            d->files[together++] = file_of(d, i);
    }
    if (together)
        e = parse_set(d, ops, together, false, err);
    for (size_t i = 0; i < d->n && e == 0; i++) {
        if (d->taken[i] != ops || (!d->by_content[i] && (ops->flags & LODE_FORMAT_SETS)))
            continue;
        d->files[0] = file_of(d, i);
        e = parse_set(d, ops, 1, d->by_content[i], err);
    }
    return e;
}

static int finish(struct driver *d, struct lode_tensor_index **out, struct lode_err *err)
{
    _cleanup_free_ const char **paths = lode_calloc(d->n, sizeof *paths);
    if (!paths)
        return lode_err_nomem(err, "the tensor index");
    for (size_t i = 0; i < d->n; i++)
        paths[i] = d->inputs[i].path;
    return lode_index_builder_finish(d->into, paths, d->n, out, err);
}

static int run(struct driver *d, struct lode_tensor_index **out, struct lode_err *err)
{
    int e = 0;
    for (size_t i = 0; i < d->n && e == 0; i++)
        e = detect(d, i, err);
    for (size_t k = 0; table[k] && e == 0; k++)
        e = parse_format(d, table[k], err);
    return e < 0 ? e : finish(d, out, err);
}

int lode_format_index_files(struct lode_format_input *files, size_t n, lode_format_read *read,
                            void *arg, struct lode_tensor_index **out, struct lode_err *err)
{
    if (n > LODE_VERSION_FILES_MAX)
        return lode_err_set(err, LODE_LIMIT, "more than %d files in one version",
                            LODE_VERSION_FILES_MAX);
    int e = load_plugins(err);
    if (e < 0)
        return e;
    _cleanup_index_builder_ struct lode_index_builder *into = lode_index_builder_new();
    _cleanup_free_ struct lode_format_file *set = lode_calloc(n, sizeof *set);
    _cleanup_free_ const struct lode_format_ops **taken = lode_calloc(n, sizeof *taken);
    _cleanup_free_ uint8_t *by_content = lode_zalloc(n);
    _cleanup_free_ void *piece = lode_alloc(PIECE);
    if (!into || !set || !taken || !by_content || !piece)
        return lode_err_nomem(err, "the tensor index");
    struct driver d = {files, n, read, arg, into, set, taken, by_content, piece};
    return run(&d, out, err);
}
