/* lode alias ls|set|rm|log, promote, rollback: movable names of versions. */
#include <string.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "model/record.h"

static const struct cli_option why_option[] = {
    {"message", 'm', CLI_VALUE, "WHY", "why, for the journal"},
    {0},
};

static int run_ls(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_model_info m = {0};
    int r = lode_show_model(lode, args->words[0], &m, &err);
    if (r < 0)
        return cli_fail(args, &err);
    int status = CLI_DONE;
    if (cli_json(args)) {
        status = cli_print_json(lode_model_info_to_json(&m));
    } else {
        if (m.latest && !cli_quiet(args))
            printf("%-20s %s  (computed)\n", "latest", m.latest);
        for (size_t i = 0; i < m.n_aliases; i++)
            printf(cli_quiet(args) ? "%s\n" : "%-20s %s\n", m.aliases[i].alias,
                   m.aliases[i].version);
    }
    lode_model_info_release(&m);
    return status;
}

const struct cli_command cli_cmd_alias_ls = {
    .name = "alias ls",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .on_root = run_ls,
    .summary = "list the aliases of a model",
};

static int moved(const struct cli_args *args, struct lode_journal_entry *e)
{
    char model[300];
    cli_model_name(e->ns, e->name, model);
    if (e->number == 0)
        return cli_done_entry(args, e, "%s@%s is at %s already", model, e->alias, e->to);
    return cli_done_entry(args, e, "%s@%s: %s -> %s", model, e->alias, e->from ? e->from : "(none)",
                          e->to ? e->to : "(removed)");
}

static int run_set(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_journal_entry e = {0};
    int r = lode_alias_set(lode, args->words[0], args->words[1], cli_call(args), &e, &err);
    return r < 0 ? cli_fail(args, &err) : moved(args, &e);
}

const struct cli_command cli_cmd_alias_set = {
    .name = "alias set",
    .args = "REF ALIAS",
    .min_args = 2,
    .max_args = 2,
    .on_root = run_set,
    .options = why_option,
    .summary = "point an alias at a version",
    .text = "Example:\n  lode alias set rank@12 canary -m 'ten percent of traffic'",
};

const struct cli_command cli_cmd_promote = {
    .name = "promote",
    .args = "REF ALIAS",
    .min_args = 2,
    .max_args = 2,
    .on_root = run_set,
    .options = why_option,
    .summary = "make a version the one that an alias means",
    .text = "One step, seen by every watcher. 'lode rollback NAME ALIAS' takes it back.\n\n"
            "Example:\n  lode promote rank@canary prod -m 'auc +0.8 %'",
};

static int run_rm(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_journal_entry e = {0};
    int r = lode_alias_remove(lode, args->words[0], args->words[1], cli_call(args), &e, &err);
    return r < 0 ? cli_fail(args, &err) : moved(args, &e);
}

const struct cli_command cli_cmd_alias_rm = {
    .name = "alias rm",
    .args = "NAME ALIAS",
    .min_args = 2,
    .max_args = 2,
    .on_root = run_rm,
    .options = why_option,
    .summary = "remove an alias",
};

static int run_rollback(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_journal_entry e = {0};
    int r = lode_rollback(lode, args->words[0], args->words[1], cli_call(args), &e, &err);
    return r < 0 ? cli_fail(args, &err) : moved(args, &e);
}

const struct cli_command cli_cmd_rollback = {
    .name = "rollback",
    .args = "NAME ALIAS",
    .min_args = 2,
    .max_args = 2,
    .on_root = run_rollback,
    .options = why_option,
    .summary = "point an alias back at what it was before",
    .text = "Example:\n  lode rollback rank prod -m 'errors in region 2'",
};

static int show_at(const struct cli_args *args, struct lode *lode, const char *at)
{
    struct lode_err err = {0};
    struct lode_journal_entry e = {0};
    int64_t when;
    char a[LODE_TIME_TEXT], b[LODE_TIME_TEXT];
    if (lode_time_parse(at, &when, &err) < 0 ||
        lode_alias_at(lode, args->words[0], args->words[1], when, &e, &err) < 0)
        return cli_fail(args, &err);
    return cli_done_entry(args, &e, "%s was @%s at %s, since %s (by %s)", e.to, e.alias,
                          lode_time_rfc3339(when, a), lode_time_rfc3339(e.when_ms, b), e.who);
}

static int print_journal(const struct cli_args *args, struct lode_journal *p)
{
    int status = CLI_DONE;
    if (cli_json(args))
        status = cli_print_json(lode_journal_to_json(p));
    for (size_t i = 0; !cli_json(args) && i < p->n; i++)
        cli_print_entry(&p->items[i], stdout);
    if (p->n == 0 && !cli_json(args) && !cli_quiet(args))
        fputs("No changes.\n", stderr);
    if (!cli_json(args) && p->next && !cli_quiet(args))
        fprintf(stderr, "There are more: --page '%s'\n", p->next);
    lode_journal_release(p);
    return status;
}

static int show_log(const struct cli_args *args, struct lode *lode, const char *model,
                    const char *alias)
{
    struct lode_err err = {0};
    struct lode_journal p = {0};
    uint32_t limit = 0;
    int status = cli_number(args, "limit", 1000, &limit);
    if (status)
        return status;
    if (lode_log_entries(lode, model, alias, limit, cli_value(args, "page"), &p, &err) < 0)
        return cli_fail(args, &err);
    struct lode_model_info m = {0};
    if (p.n == 0 && model && lode_show_model(lode, model, &m, &err) < 0)
        return cli_fail(args, &err);
    lode_model_info_release(&m);
    return print_journal(args, &p);
}

static int run_alias_log(const struct cli_args *args, struct lode *lode)
{
    const char *at = cli_value(args, "at");
    return at ? show_at(args, lode, at) : show_log(args, lode, args->words[0], args->words[1]);
}

static const struct cli_option alias_log_options[] = {
    {"at", 0, CLI_VALUE, "TIME", "which version it was then: 2026-03-03T12:00Z"},
    {"limit", 'n', CLI_VALUE, "N", "at most so many"},
    {"page", 0, CLI_VALUE, "TOKEN", "go on where a page ended"},
    {0},
};

const struct cli_command cli_cmd_alias_log = {
    .name = "alias log",
    .args = "NAME ALIAS",
    .min_args = 2,
    .max_args = 2,
    .on_root = run_alias_log,
    .options = alias_log_options,
    .summary = "every move of an alias: when, who, why",
    .text = "Example:\n  lode alias log rank prod --at 2026-03-03T12:00Z",
};

static int run_log(const struct cli_args *args, struct lode *lode)
{
    return show_log(args, lode, args->n_words ? args->words[0] : NULL, NULL);
}

static const struct cli_option log_options[] = {
    {"limit", 'n', CLI_VALUE, "N", "at most so many"},
    {"page", 0, CLI_VALUE, "TOKEN", "go on where a page ended"},
    {0},
};

const struct cli_command cli_cmd_log = {
    .name = "log",
    .args = "[NAME]",
    .max_args = 1,
    .on_root = run_log,
    .options = log_options,
    .summary = "every change, newest first: when, who, why",
};
