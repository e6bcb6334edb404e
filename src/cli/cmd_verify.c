/* lode verify: every byte against its digest. */
#include "cli/cli.h"

static int print_verify(const struct cli_args *args, const json_t *doc)
{
    size_t i;
    json_t *fault;
    char bytes[CLI_TEXT];
    uint64_t versions = cli_num(doc, "versions"), files = cli_num(doc, "files");
    bool clean = json_is_true(json_object_get(doc, "clean"));
    json_array_foreach(json_object_get(doc, "faults"), i, fault)
        fprintf(stderr, "lode: %s@%s: %s: %s\n", cli_str(fault, "name"), cli_str(fault, "version"),
                cli_str(fault, "path"), cli_str(fault, "message"));
    if (!cli_json(args) && !cli_quiet(args))
        printf("%s: %llu version%s, %llu file%s, %s\n", clean ? "clean" : "NOT clean",
               (unsigned long long)versions, cli_plural(versions), (unsigned long long)files,
               cli_plural(files), cli_bytes(cli_num(doc, "bytes"), bytes));
    return clean ? CLI_DONE : CLI_FAILED;
}

static int run_verify(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    char *json = NULL;
    bool all = cli_flag(args, "all");
    if (all == (args->n_words == 1))
        return cli_usage(args, "say a REF or --all");
    int r = lode_verify(lode, all ? NULL : args->words[0], cli_call(args), &json, &err);
    return cli_report(args, r, json, &err, print_verify);
}

static const struct cli_option verify_options[] = {
    {"all", 0, CLI_FLAG, NULL, "every version"},
    {0},
};

const struct cli_command cli_cmd_verify = {
    .name = "verify",
    .args = "REF|--all",
    .max_args = 1,
    .on_root = run_verify,
    .options = verify_options,
    .summary = "read every byte and compare it with its digest",
    .text = "Exits with 1 and names file and block where something does not match.",
};
