/* lode pull: writes a version's files into a directory. */
#include "base/mem.h"
#include "cli/cli.h"

static int run(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    struct lode_pull_options o = {.force = cli_flag(args, "force")};
    char *path = NULL, size[CLI_TEXT], model[300];
    int status = CLI_DONE;
    o.include = cli_values(args, "include", &o.n_include);
    o.exclude = cli_values(args, "exclude", &o.n_exclude);
    o.call = cli_call(args);
    int r = lode_pull(lode, args->words[0], args->n_words > 1 ? args->words[1] : NULL, &o, &path,
                      &v, &err);
    cli_call_done();
    lode_free((void *)(uintptr_t)o.include);
    lode_free((void *)(uintptr_t)o.exclude);
    if (r < 0)
        return cli_fail(args, &err);
    if (cli_json(args))
        status = cli_print_json(json_pack("{s:s,s:s,s:s,s:s,s:I}", "path", path, "ns", v.ns, "name",
                                          v.name, "version", v.version, "seq", (json_int_t)v.seq));
    else if (cli_quiet(args))
        puts(path);
    else
        printf("%s@%s is in %s (%s)\n", cli_model_name(v.ns, v.name, model), v.version, path,
               cli_bytes(v.size, size));
    lode_version_release(&v);
    lode_string_free(path);
    return status;
}

static const struct cli_option options[] = {
    {"include", 0, CLI_LIST, "GLOB", "only these files: * within a folder, ** across"},
    {"exclude", 0, CLI_LIST, "GLOB", "not these files"},
    {"force", 'f', CLI_FLAG, NULL, "replace files that differ"},
    {0},
};

const struct cli_command cli_cmd_pull = {
    .name = "pull",
    .args = "REF [DEST]",
    .min_args = 1,
    .max_args = 2,
    .on_root = run,
    .options = options,
    .summary = "write a version's files into a directory",
    .text = "Every byte is checked. Files that are there already and match are kept, so that an "
            "interrupted\n"
            "pull goes on where it was; files that differ are replaced only with --force.\n\n"
            "Example:\n  lode pull rank@prod ./model --exclude '*.md'",
};
