/* lode token add|ls|rm: who may call a server of this root. Tokens are made on the server's
 * machine. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "server/server.h"

static json_t *token_json(const struct lode_token_info *t, const char *secret)
{
    char time[LODE_TIME_TEXT];
    json_t *patterns = json_array();
    for (size_t i = 0; i < t->n_patterns; i++)
        json_array_append_new(patterns, json_string(t->patterns[i]));
    json_t *doc = json_pack("{s:s,s:s,s:s,s:o,s:s}", "id", t->id, "name", t->name, "scope",
                            lode_scope_name(t->scope), "models", patterns, "created",
                            lode_time_rfc3339(t->created_ms, time));
    if (doc && secret)
        json_object_set_new(doc, "token", json_string(secret));
    return doc;
}

static int show_new(const struct cli_args *args, const struct lode_token_info *t,
                    const char *secret)
{
    if (cli_json(args))
        return cli_print_json(token_json(t, secret));
    puts(secret);
    if (!cli_quiet(args))
        fprintf(stderr, "The token of %s (%s), shown this once. Clients set LODE_TOKEN to it.\n",
                t->name, lode_scope_name(t->scope));
    return CLI_DONE;
}

static int run_add(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_token_info t = {0};
    enum lode_scope scope = LODE_SCOPE_READ;
    const char *wanted = cli_value(args, "scope");
    char *secret = NULL;
    size_t n;
    if (wanted && lode_scope_parse(wanted, &scope, &err) < 0)
        return cli_usage(args, "%s", err.text);
    const char **patterns = cli_values(args, "models", &n);
    int r = lode_token_add(lode, args->words[0], scope, patterns, n, &secret, &t, &err);
    int status = r < 0 ? cli_fail(args, &err) : show_new(args, &t, secret);
    lode_free_secret(secret);
    lode_token_info_release(&t);
    lode_free((void *)(uintptr_t)patterns);
    return status;
}

static const struct cli_option add_options[] = {
    {"scope", 0, CLI_VALUE, "SCOPE", "read, write or admin (read); each includes those before it"},
    {"models", 0, CLI_LIST, "GLOB", "only these models"},
    {0},
};

const struct cli_command cli_cmd_token_add = {
    .name = "token add",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .on_root = run_add,
    .options = add_options,
    .summary = "make a token; it is shown once",
    .text = "Example:\n  lode token add --scope write --models 'rank-*' trainer",
};

static int print_tokens(const struct cli_args *args, const struct lode_tokens *all)
{
    static const char *const heads[] = {"NAME", "SCOPE", "ID", "CREATED", "MODELS"};
    json_t *list = json_array();
    struct cli_table *table = cli_table_new(heads, LODE_ARRAY_LEN(heads));
    for (size_t i = 0; i < all->n; i++) {
        const struct lode_token_info *t = &all->items[i];
        char time[CLI_TEXT];
        char *patterns = cli_join(t->patterns, t->n_patterns, " ");
        const char *cells[] = {t->name, lode_scope_name(t->scope), t->id,
                               cli_time(t->created_ms, time), t->n_patterns ? patterns : "*"};
        cli_table_row(table, cells);
        json_array_append_new(list, token_json(t, NULL));
        lode_free(patterns);
    }
    if (cli_json(args)) {
        cli_table_print(table, NULL);
        return cli_print_json(json_pack("{s:o}", "tokens", list));
    }
    json_decref(list);
    cli_table_print(table, all->n ? stdout : NULL);
    if (all->n == 0 && !cli_quiet(args))
        fputs("No tokens. 'lode token add NAME' makes one.\n", stderr);
    return CLI_DONE;
}

static int run_ls(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    struct lode_tokens all = {0};
    int r = lode_token_ls(lode, &all, &err);
    int status = r < 0 ? cli_fail(args, &err) : print_tokens(args, &all);
    lode_tokens_release(&all);
    return status;
}

const struct cli_command cli_cmd_token_ls = {
    .name = "token ls",
    .args = "",
    .max_args = 0,
    .on_root = run_ls,
    .summary = "list the tokens",
};

static int run_rm(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    int r = lode_token_rm(lode, args->words[0], &err);
    if (r < 0)
        return cli_fail(args, &err);
    if (cli_json(args))
        return cli_print_json(json_pack("{s:s}", "removed", args->words[0]));
    if (!cli_quiet(args))
        printf("Removed the token %s\n", args->words[0]);
    return CLI_DONE;
}

const struct cli_command cli_cmd_token_rm = {
    .name = "token rm",
    .args = "NAME|ID",
    .min_args = 1,
    .max_args = 1,
    .on_root = run_rm,
    .summary = "take a token back, at once",
};
