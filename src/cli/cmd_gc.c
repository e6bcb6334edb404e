/* lode gc: frees what nothing refers to. */
#include "base/clock.h"
#include "cli/cli.h"

static int print_gc(const struct cli_args *args, const json_t *doc)
{
    size_t i;
    json_t *item;
    char bytes[CLI_TEXT];
    size_t n = json_array_size(json_object_get(doc, "freed"));
    if (cli_json(args))
        return CLI_DONE;
    json_array_foreach(json_object_get(doc, "foreign"), i, item)
        fprintf(stderr, "lode: foreign, left alone: %s\n",
                json_is_string(item) ? json_string_value(item) : cli_str(item, "key"));
    if (!cli_quiet(args))
        printf("%s %s in %zu place%s\n",
               json_is_true(json_object_get(doc, "dry_run")) ? "Would free" : "Freed",
               cli_bytes(cli_num(doc, "bytes"), bytes), n, cli_plural(n));
    return CLI_DONE;
}

static int run_gc(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    char *json = NULL;
    struct lode_gc_options o = {.grace_ms = -1, .dry_run = cli_flag(args, "dry-run")};
    const char *grace = cli_value(args, "grace");
    if (grace && lode_duration_parse(grace, &o.grace_ms, &err) < 0)
        return cli_usage(args, "%s", err.text);
    o.call = cli_call(args);
    int r = lode_gc(lode, &o, &json, &err);
    return cli_report(args, r, json, &err, print_gc);
}

static const struct cli_option gc_options[] = {
    {"grace", 0, CLI_VALUE, "TIME", "keep what was deleted later than this ago (24h)"},
    {"dry-run", 'n', CLI_FLAG, NULL, "only say what would be freed"},
    {"yes", 'y', CLI_FLAG, NULL, "do not ask"},
    {0},
};

const struct cli_command cli_cmd_gc = {
    .name = "gc",
    .args = "",
    .max_args = 0,
    .on_root = run_gc,
    .options = gc_options,
    .summary = "free the bytes of deleted versions and abandoned pushes",
    .text = "Works from records alone: nothing that is live, in use, or that Lode did not write is "
            "touched.",
};
