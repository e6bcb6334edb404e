/* lode rm, lode restore: deletes a version, and takes that back. */
#include "cli/cli.h"

static int run_rm(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    char model[300], size[CLI_TEXT];
    bool dry = cli_flag(args, "dry-run");
    int r = lode_remove(lode, args->words[0], true, cli_call(args), &v, &err);
    if (r == 0 && !dry) {
        bool yes =
            cli_confirm(args, "Delete %s@%s (%s)? 'lode restore' can undo it for 24 hours.",
                        cli_model_name(v.ns, v.name, model), v.version, cli_bytes(v.size, size));
        /* The version that was shown is the one that goes, even if an alias moved meanwhile. */
        char ref[700];
        snprintf(ref, sizeof ref, "%s@%s", model, v.version);
        lode_version_release(&v);
        if (!yes)
            return CLI_FAILED;
        r = lode_remove(lode, ref, false, cli_call(args), &v, &err);
    }
    if (r < 0)
        return cli_fail(args, &err);
    return cli_done_version(
        args, &v, dry ? "Would delete %s@%s and free %s" : "Deleted %s@%s; gc will free %s",
        cli_model_name(v.ns, v.name, model), v.version, cli_bytes(v.size, size));
}

static const struct cli_option rm_options[] = {
    {"dry-run", 'n', CLI_FLAG, NULL, "only say what would be freed"},
    {"yes", 'y', CLI_FLAG, NULL, "do not ask"},
    {"message", 'm', CLI_VALUE, "WHY", "why, for the journal"},
    {0},
};

const struct cli_command cli_cmd_rm = {
    .name = "rm",
    .args = "REF",
    .min_args = 1,
    .max_args = 1,
    .on_root = run_rm,
    .options = rm_options,
    .summary = "delete a version",
    .text = "Refused while an alias or a reader holds it. The bytes go with 'lode gc' after 24 "
            "hours; until\n"
            "then 'lode restore' brings it back. Its name is never given again.",
};

static int run_restore(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    char model[300];
    int r = lode_restore(lode, args->words[0], cli_call(args), &v, &err);
    return r < 0 ? cli_fail(args, &err)
                 : cli_done_version(args, &v, "Restored %s@%s", cli_model_name(v.ns, v.name, model),
                                    v.version);
}

static const struct cli_option restore_options[] = {
    {"message", 'm', CLI_VALUE, "WHY", "why, for the journal"},
    {0},
};

const struct cli_command cli_cmd_restore = {
    .name = "restore",
    .args = "REF",
    .min_args = 1,
    .max_args = 1,
    .on_root = run_restore,
    .options = restore_options,
    .summary = "undo rm, before gc has freed the bytes",
    .text = "REF names the version or its number.",
};
