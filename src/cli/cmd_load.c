/* lode load: brings a version, or a local file or directory, into memory and says how long it took.
 */
#include "base/mem.h"
#include "base/name.h"
#include "cli/cli.h"

static json_t *tensor_json(const struct lode_tensor_view *t)
{
    json_t *shape = json_array();
    for (unsigned i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    return json_pack("{s:s,s:s,s:o,s:I,s:s}", "name", t->name, "dtype", lode_dtype_name(t->dtype),
                     "shape", shape, "size", (json_int_t)t->len, "file", t->file ? t->file : "");
}

static int print_json(const struct lode_model *m, const struct lode_load_stats *s)
{
    json_t *tensors = json_array();
    struct lode_tensor_view t;
    for (size_t i = 0; i < lode_model_count(m); i++) {
        if (lode_model_at(m, i, &t, NULL) == 0)
            json_array_append_new(tensors, tensor_json(&t));
    }
    return cli_print_json(json_pack("{s:o,s:I,s:I,s:f,s:b,s:b}", "tensors", tensors, "bytes",
                                    (json_int_t)s->bytes, "read", (json_int_t)s->read, "seconds",
                                    s->seconds, "verified", s->verified, "mapped", s->mapped));
}

static void shape_text(const struct lode_tensor_view *t, char *out, size_t room)
{
    size_t used = (size_t)snprintf(out, room, "[");
    for (unsigned i = 0; i < t->rank && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%llu", i ? ", " : "",
                                 (unsigned long long)t->shape[i]);
    if (used < room)
        snprintf(out + used, room - used, "]");
}

static void print_table(const struct lode_model *m)
{
    static const char *const heads[] = {"TENSOR", "DTYPE", "SHAPE", "SIZE"};
    struct cli_table *table = cli_table_new(heads, LODE_ARRAY_LEN(heads));
    for (size_t i = 0; i < lode_model_count(m); i++) {
        struct lode_tensor_view t;
        char shape[256], size[CLI_TEXT];
        if (lode_model_at(m, i, &t, NULL) < 0)
            continue;
        shape_text(&t, shape, sizeof shape);
        const char *cells[] = {t.name, lode_dtype_name(t.dtype), shape, cli_bytes(t.len, size)};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
}

static int show(const struct cli_args *args, const struct lode_model *m)
{
    struct lode_load_stats s;
    char bytes[CLI_TEXT], rate[CLI_TEXT];
    lode_model_stats(m, &s);
    if (cli_json(args))
        return print_json(m, &s);
    if (!cli_quiet(args) && lode_model_count(m) > 0)
        print_table(m);
    printf("%zu tensor%s, %s in %.3f s (%s/s), %s, %s\n", lode_model_count(m),
           cli_plural(lode_model_count(m)), cli_bytes(s.bytes, bytes), s.seconds,
           cli_bytes((uint64_t)((double)s.bytes / (s.seconds > 1e-9 ? s.seconds : 1e-9)), rate),
           s.mapped ? "mapped" : "read",
           s.verified                             ? "verified"
           : lode_looks_like_path(args->words[0]) ? "no digests to check"
                                                  : "NOT verified");
    return CLI_DONE;
}

static int run(const struct cli_args *args)
{
    struct lode *lode = NULL;
    struct lode_err err = {0};
    struct lode_model *m = NULL;
    struct lode_load_options o = {.no_verify = cli_flag(args, "no-verify"),
                                  .copy = cli_flag(args, "copy")};
    int status = lode_looks_like_path(args->words[0]) ? 0 : cli_open(args, &lode);
    if (status)
        return status;
    o.tensors = cli_values(args, "tensor", &o.n_tensors);
    o.call = cli_call(args);
    int r = lode_load(lode, args->words[0], &o, &m, &err);
    cli_call_done();
    status = r < 0 ? cli_fail(args, &err) : show(args, m);
    lode_model_free(m);
    lode_close(lode);
    lode_free((void *)(uintptr_t)o.tensors);
    return status;
}

static const struct cli_option options[] = {
    {"tensor", 0, CLI_LIST, "GLOB", "only tensors with these names"},
    {"copy", 0, CLI_FLAG, NULL, "into private memory, even where files could be mapped"},
    {"no-verify", 0, CLI_FLAG, NULL, "do not check digests"},
    {0},
};

const struct cli_command cli_cmd_load = {
    .name = "load",
    .args = "REF|PATH",
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .options = options,
    .summary = "bring a model into memory; print its tensors, bytes, time and rate",
    .text =
        "A PATH starts with / ./ ../ or ~ and needs no registry.\n\n"
        "Examples:\n  lode load rank@prod\n  lode load ./model.safetensors --tensor 'layers.0.*'",
};
