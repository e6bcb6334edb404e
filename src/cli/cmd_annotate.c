/* lode tag and lode metric: small facts about a version. */
#include <math.h>
#include "base/mem.h"
#include "base/name.h"
#include "cli/cli.h"
#include "model/record.h"

static int tag(const struct cli_args *args, struct lode *lode, struct lode_tag *tags, size_t n)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    char model[300];
    if (lode_tag(lode, args->words[0], tags, n, cli_call(args), &v, &err) < 0)
        return cli_fail(args, &err);
    return cli_done_version(args, &v, "%s@%s has %zu tag%s", cli_model_name(v.ns, v.name, model),
                            v.version, v.n_tags, cli_plural(v.n_tags));
}

/* Keys to remove go to the end of the list with a NULL value, which the verb understands. */
static int append_removals(struct lode_tag **tags, size_t *n, const char **keys, size_t n_keys)
{
    struct lode_tag *more = lode_realloc_array(*tags, *n + n_keys + 1, sizeof *more);
    if (!more)
        return cli_usage(NULL, "out of memory");
    *tags = more;
    for (size_t i = 0; i < n_keys; i++)
        more[(*n)++] = (struct lode_tag){.key = lode_strdup(keys[i])};
    return 0;
}

static int run_tag(const struct cli_args *args, struct lode *lode)
{
    struct lode_tag *tags = NULL;
    size_t n = 0, n_keys;
    const char **keys = cli_values(args, "remove", &n_keys);
    int status = cli_tag_words(args->words + 1, args->n_words - 1, &tags, &n);
    if (!status && n + n_keys == 0)
        status = cli_usage(args, "say at least one KEY=VALUE or --remove KEY");
    if (!status)
        status = append_removals(&tags, &n, keys, n_keys);
    if (!status)
        status = tag(args, lode, tags, n);
    lode_tags_free(tags, n);
    lode_free((void *)(uintptr_t)keys);
    return status;
}

static const struct cli_option tag_options[] = {
    {"remove", 0, CLI_LIST, "KEY", "remove this tag"},
    {"message", 'm', CLI_VALUE, "WHY", "why"},
    {0},
};

const struct cli_command cli_cmd_tag = {
    .name = "tag",
    .args = "REF [KEY=VALUE...]",
    .min_args = 1,
    .max_args = CLI_MANY,
    .on_root = run_tag,
    .options = tag_options,
    .summary = "set or remove tags of a version",
    .text = "Example:\n  lode tag rank@3 team=search --remove draft",
};

static int metric(const struct cli_args *args, struct lode *lode, struct lode_metric *metrics,
                  size_t n)
{
    struct lode_err err = {0};
    struct lode_version v = {0};
    char model[300];
    if (lode_set_metrics(lode, args->words[0], metrics, n, cli_call(args), &v, &err) < 0)
        return cli_fail(args, &err);
    return cli_done_version(args, &v, "%s@%s has %zu metric%s", cli_model_name(v.ns, v.name, model),
                            v.version, v.n_metrics, cli_plural(v.n_metrics));
}

static int run_metric(const struct cli_args *args, struct lode *lode)
{
    struct lode_metric *metrics = NULL;
    size_t n = 0, n_keys;
    const char **keys = cli_values(args, "remove", &n_keys);
    int status = cli_metric_words(args->words + 1, args->n_words - 1, &metrics, &n);
    if (!status && n + n_keys == 0)
        status = cli_usage(args, "say at least one KEY=NUMBER or --remove KEY");
    struct lode_metric *more =
        status ? NULL : lode_realloc_array(metrics, n + n_keys + 1, sizeof *more);
    if (more) {
        metrics = more;
        for (size_t i = 0; i < n_keys; i++)
            metrics[n++] = (struct lode_metric){.key = lode_strdup(keys[i]), .value = NAN};
        status = metric(args, lode, metrics, n);
    }
    lode_metrics_free(metrics, n);
    lode_free((void *)(uintptr_t)keys);
    return status;
}

static const struct cli_option metric_options[] = {
    {"remove", 0, CLI_LIST, "KEY", "remove this metric"},
    {"message", 'm', CLI_VALUE, "WHY", "why"},
    {0},
};

const struct cli_command cli_cmd_metric = {
    .name = "metric",
    .args = "REF [KEY=NUMBER...]",
    .min_args = 1,
    .max_args = CLI_MANY,
    .on_root = run_metric,
    .options = metric_options,
    .summary = "set or remove evaluation results of a version",
    .text = "Example:\n  lode metric rank@3 auc=0.917 latency_ms=12",
};
