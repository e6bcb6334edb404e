/* lode show: one version, its files and tensors. */
#include <string.h>
#include "cli/cli.h"

static void print_files(const json_t *files)
{
    static const char *const heads[] = {"FILE", "SIZE", "FORMAT", "SHA256"};
    struct cli_table *t = cli_table_new(heads, LODE_ARRAY_LEN(heads));
    size_t i;
    json_t *f;
    json_array_foreach((json_t *)(uintptr_t)files, i, f)
    {
        char size[CLI_TEXT];
        const char *cells[] = {cli_str(f, "path"), cli_bytes(cli_num(f, "size"), size),
                               cli_str(f, "format"), cli_str(f, "sha256")};
        cli_table_row(t, cells);
    }
    putchar('\n');
    cli_table_print(t, stdout);
}

static void print_tensors(const json_t *tensors)
{
    static const char *const heads[] = {"TENSOR", "DTYPE", "SHAPE", "SIZE"};
    struct cli_table *t = cli_table_new(heads, LODE_ARRAY_LEN(heads));
    size_t i;
    json_t *f;
    json_array_foreach((json_t *)(uintptr_t)tensors, i, f)
    {
        char size[CLI_TEXT];
        char *shape = json_dumps(json_object_get(f, "shape"), JSON_COMPACT);
        const char *cells[] = {cli_str(f, "name"), cli_str(f, "dtype"), shape,
                               cli_bytes(cli_num(f, "size"), size)};
        cli_table_row(t, cells);
        lode_string_free(shape);
    }
    putchar('\n');
    cli_table_print(t, stdout);
}

static int print_all(const struct cli_args *args, struct lode *lode, char *json)
{
    struct lode_version v = {0};
    struct lode_err err = {0};
    if (lode_show(lode, args->words[0], &v, &err) < 0) {
        lode_string_free(json);
        return cli_fail(args, &err);
    }
    json_t *doc = json_loads(json, 0, NULL);
    lode_string_free(json);
    cli_print_version(&v);
    print_files(json_object_get(doc, "files"));
    if (cli_flag(args, "tensors"))
        print_tensors(json_object_get(doc, "tensors"));
    json_decref(doc);
    lode_version_release(&v);
    return CLI_DONE;
}

static int run(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    char *json = NULL;
    if (lode_describe(lode, args->words[0], cli_flag(args, "tensors"), &json, &err) < 0)
        return cli_fail(args, &err);
    return cli_json(args) ? cli_print_json_text(json) : print_all(args, lode, json);
}

static const struct cli_option options[] = {
    {"tensors", 0, CLI_FLAG, NULL, "list the tensors too"},
    {0},
};

const struct cli_command cli_cmd_show = {
    .name = "show",
    .args = "REF",
    .min_args = 1,
    .max_args = 1,
    .on_root = run,
    .options = options,
    .summary = "show a version, its files and tensors",
    .text = "Example:\n  lode show rank@prod --tensors",
};
