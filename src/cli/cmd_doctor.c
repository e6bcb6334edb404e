/* lode doctor, backup, recover: the health of a root and its facts. */
#include "cli/cli.h"

static int print_doctor(const struct cli_args *args, const json_t *doc)
{
    size_t i;
    json_t *check;
    bool ok = json_is_true(json_object_get(doc, "ok"));
    if (!cli_json(args)) {
        json_array_foreach(json_object_get(doc, "checks"), i, check)
            printf("%-5s %-10s %s\n", cli_str(check, "status"), cli_str(check, "name"),
                   cli_str(check, "message"));
    }
    return ok ? CLI_DONE : CLI_FAILED;
}

static int run_doctor(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    char *json = NULL;
    int r = lode_doctor(lode, &json, &err);
    return cli_report(args, r, json, &err, print_doctor);
}

const struct cli_command cli_cmd_doctor = {
    .name = "doctor",
    .args = "",
    .max_args = 0,
    .on_root = run_doctor,
    .summary = "check the root, the store, the coord and this machine",
};

static int print_path(const struct cli_args *args, const json_t *doc)
{
    if (!cli_json(args))
        printf("%s\n", cli_str(doc, "path"));
    return CLI_DONE;
}

static int run_backup(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    char *json = NULL;
    int r = lode_backup(lode, args->words[0], &json, &err);
    return cli_report(args, r, json, &err, print_path);
}

const struct cli_command cli_cmd_backup = {
    .name = "backup",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .on_root = run_backup,
    .summary = "copy the facts of an embedded root, while it is used",
    .text = "The bytes of the models are files: back them up as files. 'lode recover' puts the "
            "facts back.",
};

static int run_recover(const struct cli_args *args)
{
    struct lode_open_options options;
    struct lode_err err = {0};
    char *json = NULL;
    int status = cli_open_options(args, &options);
    if (status)
        return status;
    if (!cli_confirm(args, "Replace the facts of the root by those in %s?", args->words[0]))
        return CLI_FAILED;
    int r = lode_recover(args->words[0], &options, &json, &err);
    return cli_report(args, r, json, &err, print_path);
}

static const struct cli_option recover_options[] = {
    {"yes", 'y', CLI_FLAG, NULL, "do not ask"},
    {0},
};

const struct cli_command cli_cmd_recover = {
    .name = "recover",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .run = run_recover,
    .options = recover_options,
    .summary = "put the facts of a backup back in place",
};
