/* lode diff: the files and tensors of two versions. */
#include <string.h>
#include "cli/cli.h"

static size_t diff_part(const struct cli_args *args, const json_t *doc, const char *what)
{
    static const char *const kinds[] = {"added", "removed", "changed"};
    static const char marks[] = "+-~";
    const json_t *part = json_object_get(doc, what);
    size_t total = 0, i;
    json_t *item;
    for (size_t k = 0; k < LODE_ARRAY_LEN(kinds); k++) {
        json_array_foreach(json_object_get(part, kinds[k]), i, item)
        {
            const char *name = json_is_string(item)
                                   ? json_string_value(item)
                                   : cli_str(item, json_object_get(item, "path") ? "path" : "name");
            total++;
            if (!cli_json(args) && !cli_quiet(args))
                printf("%c %.*s %s\n", marks[k], (int)strlen(what) - 1, what, name);
        }
    }
    return total;
}

static int print_diff(const struct cli_args *args, const json_t *doc)
{
    size_t n = diff_part(args, doc, "files") + diff_part(args, doc, "tensors");
    if (n == 0 && !cli_json(args) && !cli_quiet(args))
        puts("the same");
    return n && cli_flag(args, "exit-code") ? CLI_FAILED : CLI_DONE;
}

static int run_diff(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    char *json = NULL;
    int r = lode_diff(lode, args->words[0], args->words[1], &json, &err);
    return cli_report(args, r, json, &err, print_diff);
}

static const struct cli_option diff_options[] = {
    {"exit-code", 0, CLI_FLAG, NULL, "exit with 1 if they differ"},
    {0},
};

const struct cli_command cli_cmd_diff = {
    .name = "diff",
    .args = "REF REF",
    .min_args = 2,
    .max_args = 2,
    .on_root = run_diff,
    .options = diff_options,
    .summary = "compare the files and tensors of two versions",
    .text = "Example:\n  lode diff rank@prod rank@canary",
};
