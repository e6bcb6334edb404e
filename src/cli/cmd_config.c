/* lode config ls|set|rm|use: named contexts, so that roots have short names. */
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "cli/cli.h"
#include "registry/config.h"

static int load(const struct cli_args *args, struct lode_config *config)
{
    struct lode_err err = {0};
    return lode_config_load(config, &err) < 0 ? cli_fail(args, &err) : 0;
}

static int save(const struct cli_args *args, const struct lode_config *config, int r,
                struct lode_err *err, const char *done)
{
    if (r == 0)
        r = lode_config_save(config, err);
    if (r < 0)
        return cli_fail(args, err);
    if (cli_json(args))
        return cli_print_json(json_pack("{s:s}", "context", args->words[0]));
    if (!cli_quiet(args))
        printf("%s %s in %s\n", done, args->words[0], config->path);
    return CLI_DONE;
}

/* ---- ls ---- */

static json_t *context_json(const char *name, const struct lode_context *c, bool current)
{
    return json_pack("{s:s,s:b,s:s?,s:s?,s:s?,s:b,s:s?}", "name", name, "current", current, "url",
                     c->url, "store", c->store, "coord", c->coord, "has_token", c->token != NULL,
                     "cacert", c->cacert);
}

static void context_row(struct cli_table *t, const char *name, const struct lode_context *c,
                        bool current)
{
    char *pair =
        c->url ? NULL
               : lode_asprintf("%s + %s", c->store ? c->store : "-", c->coord ? c->coord : "-");
    const char *cells[] = {current ? "*" : "", name, c->url ? c->url : pair,
                           c->token ? "token" : ""};
    cli_table_row(t, cells);
    lode_free(pair);
}

static int run_ls(const struct cli_args *args)
{
    static const char *const heads[] = {"", "CONTEXT", "ROOT", "AUTH"};
    _cleanup_config_ struct lode_config config = {0};
    const char *name;
    json_t *value;
    int status = load(args, &config);
    if (status)
        return status;
    const char *current = json_string_value(json_object_get(config.doc, "current"));
    json_t *list = json_array();
    struct cli_table *table = cli_table_new(heads, LODE_ARRAY_LEN(heads));
    json_object_foreach(json_object_get(config.doc, "contexts"), name, value)
    {
        struct lode_context c;
        if (lode_config_context(&config, name, &c, NULL) < 0)
            continue;
        bool is_current = current && strcmp(current, name) == 0;
        json_array_append_new(list, context_json(name, &c, is_current));
        context_row(table, name, &c, is_current);
    }
    bool none = json_array_size(list) == 0;
    cli_table_print(table, cli_json(args) || none ? NULL : stdout);
    if (cli_json(args))
        return cli_print_json(json_pack("{s:s,s:o}", "path", config.path, "contexts", list));
    json_decref(list);
    if (none && !cli_quiet(args))
        fputs("No contexts. 'lode config set NAME --url URL' adds one.\n", stderr);
    return CLI_DONE;
}

const struct cli_command cli_cmd_config_ls = {
    .name = "config ls",
    .args = "",
    .max_args = 0,
    .run = run_ls,
    .summary = "list the contexts",
};

/* ---- set ---- */

/* From standard input, so that it stands in no history and in no process list. The caller frees it
 * as a secret. */
static char *read_token(void)
{
    char line[1024];
    if (isatty(STDIN_FILENO))
        fputs("Token: ", stderr);
    if (!fgets(line, sizeof line, stdin))
        return NULL;
    line[strcspn(line, "\r\n")] = 0;
    char *token = lode_strdup(line);
    explicit_bzero(line, sizeof line);
    return token;
}

static int run_set(const struct cli_args *args)
{
    _cleanup_config_ struct lode_config config = {0};
    struct lode_err err = {0};
    struct lode_open_options o;
    int status = cli_open_options(args, &o);
    if (!status && !o.url && !o.store)
        status = cli_usage(args, "say the root: --url URL, or --store URL and --coord URL");
    if (!status)
        status = load(args, &config);
    if (status)
        return status;
    char *token = cli_flag(args, "token-stdin") ? read_token() : NULL;
    struct lode_context c = {.name = args->words[0],
                             .url = o.url,
                             .store = o.store,
                             .coord = o.coord,
                             .token = token,
                             .cacert = o.cacert};
    int r = lode_config_set(&config, &c, &err);
    status = save(args, &config, r, &err, "Set");
    lode_free_secret(token);
    return status;
}

static const struct cli_option set_options[] = {
    {"token-stdin", 0, CLI_FLAG, NULL,
     "read the token from standard input and keep it (the file is readable by you alone)"},
    {0},
};

const struct cli_command cli_cmd_config_set = {
    .name = "config set",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .run = run_set,
    .options = set_options,
    .summary = "add or replace a context",
    .text =
        "Example:\n  lode config set prod --url https://models.example:7740 --token-stdin < token",
};

/* ---- rm, use ---- */

static int run_rm(const struct cli_args *args)
{
    _cleanup_config_ struct lode_config config = {0};
    struct lode_err err = {0};
    int status = load(args, &config);
    if (status)
        return status;
    int r = lode_config_remove(&config, args->words[0], &err);
    return save(args, &config, r, &err, "Removed");
}

const struct cli_command cli_cmd_config_rm = {
    .name = "config rm",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .run = run_rm,
    .summary = "remove a context",
};

static int run_use(const struct cli_args *args)
{
    _cleanup_config_ struct lode_config config = {0};
    struct lode_err err = {0};
    int status = load(args, &config);
    if (status)
        return status;
    int r = lode_config_use(&config, args->words[0], &err);
    return save(args, &config, r, &err, "Now using");
}

const struct cli_command cli_cmd_config_use = {
    .name = "config use",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .run = run_use,
    .summary = "make a context the default",
};
