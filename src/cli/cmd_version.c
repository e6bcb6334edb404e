/* lode version, lode help. */
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "base/version.h"

static int run_version(const struct cli_args *args)
{
    if (cli_json(args))
        return cli_print_json(json_pack("{s:s}", "version", LODE_VERSION));
    puts(cli_quiet(args) ? LODE_VERSION : "lode " LODE_VERSION);
    return CLI_DONE;
}

const struct cli_command cli_cmd_version = {
    .name = "version",
    .args = "",
    .max_args = 0,
    .run = run_version,
    .summary = "print the version of lode",
};

static const struct cli_command *find(const char *first, const char *second)
{
    char name[128];
    snprintf(name, sizeof name, second ? "%s %s" : "%s", first, second ? second : "");
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        if (strcmp((*c)->name, name) == 0)
            return *c;
    }
    return NULL;
}

/* The commands that begin with this word; false when there is none. */
static bool help_group(const char *word)
{
    size_t n = strlen(word), found = 0;
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        if (strncmp((*c)->name, word, n) == 0 && (*c)->name[n] == ' ') {
            char left[80];
            snprintf(left, sizeof left, "%s %s", (*c)->name, (*c)->args);
            printf("  lode %-26s %s\n", left, (*c)->summary);
            found++;
        }
    }
    return found > 0;
}

static int run_help(const struct cli_args *args)
{
    const char *man = cli_value(args, "man"), *shell = cli_value(args, "completion");
    if (man)
        return cli_man_pages(man);
    if (shell)
        return cli_completion(shell, stdout);
    if (args->n_words == 0) {
        cli_help(NULL, stdout);
        return CLI_DONE;
    }
    const struct cli_command *c = find(args->words[0], args->n_words > 1 ? args->words[1] : NULL);
    if (!c && args->n_words == 1 && help_group(args->words[0]))
        return CLI_DONE;
    if (!c)
        return cli_usage(NULL, "no command '%s'; 'lode help' lists them", args->words[0]);
    cli_help(c, stdout);
    return CLI_DONE;
}

static const struct cli_option help_options[] = {
    {"man", 0, CLI_VALUE, "DIR", "write the man pages into a directory"},
    {"completion", 0, CLI_VALUE, "SHELL", "print the completion for bash, zsh or fish"},
    {0},
};

const struct cli_command cli_cmd_help = {
    .name = "help",
    .args = "[COMMAND]",
    .max_args = 2,
    .run = run_help,
    .options = help_options,
    .summary = "explain a command, or list them all",
};
