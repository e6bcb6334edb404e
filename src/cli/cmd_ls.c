/* lode ls: models, or the versions of one. */
#include <string.h>
#include "base/mem.h"
#include "cli/cli.h"
#include "model/record.h"

static void models_table(const struct lode_models *p)
{
    static const char *const heads[] = {"NAME", "VERSIONS", "LATEST", "UPDATED", "ALIASES"};
    struct cli_table *t = cli_table_new(heads, LODE_ARRAY_LEN(heads));
    for (size_t i = 0; i < p->n; i++) {
        const struct lode_model_info *m = &p->items[i];
        char name[300], count[24], time[CLI_TEXT];
        char *texts[64];
        size_t n = lode_min(m->n_aliases, LODE_ARRAY_LEN(texts));
        for (size_t k = 0; k < n; k++)
            texts[k] = lode_asprintf("%s=%s", m->aliases[k].alias, m->aliases[k].version);
        char *aliases = cli_join(texts, n, " ");
        snprintf(count, sizeof count, "%llu", (unsigned long long)m->versions);
        const char *cells[] = {cli_model_name(m->ns, m->name, name), count,
                               m->latest ? m->latest : "-", cli_time(m->updated_ms, time), aliases};
        cli_table_row(t, cells);
        lode_free(aliases);
        for (size_t k = 0; k < n; k++)
            lode_free(texts[k]);
    }
    cli_table_print(t, stdout);
}

static void more(const struct cli_args *args, const char *next)
{
    if (next && !cli_quiet(args))
        fprintf(stderr, "There are more: --page '%s'\n", next);
}

static int list_models(const struct cli_args *args, struct lode *lode,
                       const struct lode_list_options *o)
{
    struct lode_models p = {0};
    struct lode_err err = {0};
    char name[300];
    int status = CLI_DONE;
    if (lode_ls_models(lode, cli_value(args, "namespace"), o, &p, &err) < 0)
        return cli_fail(args, &err);
    if (cli_json(args))
        status = cli_print_json(lode_models_to_json(&p));
    else if (!cli_quiet(args) && p.n)
        models_table(&p);
    for (size_t i = 0; cli_quiet(args) && !cli_json(args) && i < p.n; i++)
        puts(cli_model_name(p.items[i].ns, p.items[i].name, name));
    if (p.n == 0 && !cli_json(args) && !cli_quiet(args))
        fputs(o->filter ? "No model fits the filter.\n"
                        : "No models. 'lode push NAME PATH' publishes one.\n",
              stderr);
    if (!cli_json(args))
        more(args, p.next);
    lode_models_release(&p);
    return status;
}

/* An empty list of a model's versions may mean that there is no such model: then that is said. */
static int check_model(const struct cli_args *args, struct lode *lode, const char *model)
{
    struct lode_model_info m = {0};
    struct lode_err err = {0};
    int r = model ? lode_show_model(lode, model, &m, &err) : 0;
    lode_model_info_release(&m);
    return r < 0 ? cli_fail(args, &err) : CLI_DONE;
}

static int list_versions(const struct cli_args *args, struct lode *lode, const char *model,
                         const struct lode_list_options *o)
{
    struct lode_versions p = {0};
    struct lode_err err = {0};
    char name[300];
    int status = CLI_DONE;
    if (lode_ls_versions(lode, model, o, &p, &err) < 0)
        return cli_fail(args, &err);
    if (p.n == 0 && (status = check_model(args, lode, model)) != CLI_DONE)
        return status;
    if (cli_json(args))
        status = cli_print_json(lode_versions_to_json(&p));
    else if (!cli_quiet(args) && p.n)
        cli_print_versions(&p, model == NULL);
    for (size_t i = 0; cli_quiet(args) && !cli_json(args) && i < p.n; i++)
        printf("%s%s%s\n", model ? "" : cli_model_name(p.items[i].ns, p.items[i].name, name),
               model ? "" : "@", p.items[i].version);
    if (p.n == 0 && !cli_json(args) && !cli_quiet(args))
        fputs("No versions.\n", stderr);
    if (!cli_json(args))
        more(args, p.next);
    lode_versions_release(&p);
    return status;
}

static int run(const struct cli_args *args, struct lode *lode)
{
    struct lode_list_options o = {
        .filter = cli_value(args, "filter"),
        .sort = cli_value(args, "sort"),
        .page = cli_value(args, "page"),
        .deleted = cli_flag(args, "deleted"),
    };
    int status = cli_number(args, "limit", 1000, &o.limit);
    if (status)
        return status;
    if (args->n_words || cli_flag(args, "versions"))
        return list_versions(args, lode, args->n_words ? args->words[0] : NULL, &o);
    return list_models(args, lode, &o);
}

static const struct cli_option options[] = {
    {"filter", 0, CLI_VALUE, "EXPR", "only those for which it holds"},
    {"sort", 0, CLI_VALUE, "KEY[:desc]",
     "by name, version, seq, created, size, format, parameters, tags.x, metrics.x"},
    {"limit", 'n', CLI_VALUE, "N", "at most so many (100; 1000 at the most)"},
    {"page", 0, CLI_VALUE, "TOKEN", "go on where a page ended"},
    {"versions", 0, CLI_FLAG, NULL, "versions of all models"},
    {"deleted", 0, CLI_FLAG, NULL, "deleted and unfinished versions too"},
    {"namespace", 0, CLI_VALUE, "NS", "models of this namespace only"},
    {0},
};

const struct cli_command cli_cmd_ls = {
    .name = "ls",
    .args = "[NAME]",
    .max_args = 1,
    .on_root = run,
    .options = options,
    .summary = "list models, or the versions of one",
    .text = "Filters: metrics.auc >= 0.9 AND tags.team = 'search' AND name LIKE 'rank-%', with OR, "
            "NOT,\n"
            "parentheses, IN, ILIKE. A comparison with a missing field is false.\n\n"
            "Examples:\n  lode ls\n  lode ls rank --sort metrics.auc:desc --limit 5\n"
            "  lode ls --versions --filter \"created >= '2026-03-01' AND NOT format = 'opaque'\"",
};
