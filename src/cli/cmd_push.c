/* lode push: publishes files as a new version. */
#include "base/mem.h"
#include "cli/cli.h"
#include "model/record.h"

static int push(const struct cli_args *args, struct lode *lode, struct lode_push_options *o)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    char size[CLI_TEXT], model[300];
    o->call = cli_call(args);
    int r = lode_push(lode, args->words[0], o, &v, &err);
    cli_call_done();
    if (r < 0)
        return cli_fail(args, &err);
    cli_model_name(v.ns, v.name, model);
    cli_bytes(v.size, size);
    if (o->dry_run)
        return cli_done_version(args, &v,
                                "Would publish %s: %s in %llu file%s; nothing was written", model,
                                size, (unsigned long long)v.files, cli_plural(v.files));
    return cli_done_version(args, &v, "Published %s@%s: %s in %llu file%s, number %llu", model,
                            v.version, size, (unsigned long long)v.files, cli_plural(v.files),
                            (unsigned long long)v.seq);
}

static int run(const struct cli_args *args, struct lode *lode)
{
    struct lode_push_options o = {
        .paths = args->words + 1,
        .n_paths = args->n_words - 1,
        .version = cli_value(args, "version"),
        .parent = cli_value(args, "parent"),
        .replication = cli_value(args, "replication"),
        .layout = cli_value(args, "layout"),
        .dry_run = cli_flag(args, "dry-run"),
        .follow_links = cli_flag(args, "follow-links"),
        .no_resume = cli_flag(args, "no-resume"),
    };
    struct lode_tag *tags = NULL;
    struct lode_metric *metrics = NULL;
    o.aliases = cli_values(args, "alias", &o.n_aliases);
    int status = cli_tags(args, "tag", &tags, &o.n_tags);
    if (!status)
        status = cli_metrics(args, "metric", &metrics, &o.n_metrics);
    o.tags = tags;
    o.metrics = metrics;
    if (!status)
        status = push(args, lode, &o);
    lode_tags_free(tags, o.n_tags);
    lode_metrics_free(metrics, o.n_metrics);
    lode_free((void *)(uintptr_t)o.aliases);
    return status;
}

static const struct cli_option options[] = {
    {"version", 0, CLI_VALUE, "V", "name it; without, the date and time name it"},
    {"alias", 'a', CLI_LIST, "A", "move this alias to it in the same step"},
    {"tag", 't', CLI_LIST, "K=V", "tag it"},
    {"metric", 0, CLI_LIST, "K=NUMBER", "record an evaluation result"},
    {"parent", 0, CLI_VALUE, "REF", "the version it was made from"},
    {"replication", 0, CLI_VALUE, "POLICY", "the replication to reach"},
    {"layout", 0, CLI_VALUE, "LAYOUT", "how bytes lie in the store: plain"},
    {"follow-links", 0, CLI_FLAG, NULL, "store what symbolic links outside the directory point to"},
    {"no-resume", 0, CLI_FLAG, NULL, "do not go on with an interrupted push"},
    {"dry-run", 0, CLI_FLAG, NULL, "check everything, write nothing"},
    {"message", 'm', CLI_VALUE, "WHY", "why, for the journal"},
    {0},
};

const struct cli_command cli_cmd_push = {
    .name = "push",
    .args = "NAME PATH...",
    .min_args = 2,
    .max_args = CLI_MANY,
    .on_root = run,
    .options = options,
    .summary = "publish files or directories as a new version",
    .text = "A directory's files keep their paths below it. The version appears whole, at once, "
            "when all is\n"
            "safely stored; an interrupted push leaves nothing visible and goes on when it is "
            "repeated.\n\n"
            "Examples:\n  lode push rank model.safetensors --metric auc=0.91 --alias canary\n"
            "  lode push team/rank ./checkpoint --parent rank@prod -m 'new features'",
};
