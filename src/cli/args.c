/* Parsing: options may stand anywhere, "--" ends them, "--name=value" and "--name value" are the
 * same. Common options may come before the command word. Unknown words are answered with the
 * nearest known one.
 */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "cli/cli.h"
#include "model/record.h"

const struct cli_option cli_common_options[] = {
    {"url", 0, CLI_VALUE, "URL", "the root: a directory or http(s)://server (LODE_URL)"},
    {"store", 0, CLI_VALUE, "URL", "with --coord: where the bytes are (LODE_STORE)"},
    {"coord", 0, CLI_VALUE, "URL", "with --store: where the facts are (LODE_COORD)"},
    {"context", 0, CLI_VALUE, "NAME", "a context of the configuration (LODE_CONTEXT)"},
    {"cacert", 0, CLI_VALUE, "FILE", "certificate authority for https"},
    {"fresh", 0, CLI_FLAG, NULL, "ask for the newest state, whatever it costs"},
    {"json", 0, CLI_FLAG, NULL, "print the result as JSON"},
    {"quiet", 'q', CLI_FLAG, NULL, "print only names or paths, no progress"},
    {"help", 'h', CLI_FLAG, NULL, "explain the command"},
    {0},
};

static const struct cli_option *find_long(const struct cli_option *options, const char *name,
                                          size_t len)
{
    for (; options && options->name; options++) {
        if (strlen(options->name) == len && memcmp(options->name, name, len) == 0)
            return options;
    }
    return NULL;
}

static const struct cli_option *find_letter(const struct cli_option *options, char letter)
{
    for (; options && options->name; options++) {
        if (options->letter == letter)
            return options;
    }
    return NULL;
}

static const struct cli_option *own_options(const struct cli_args *args)
{
    return args->command ? args->command->options : NULL;
}

static const char *nearest_option(const struct cli_args *args, const char *name)
{
    const char *names[64];
    size_t n = 0;
    const struct cli_option *lists[] = {own_options(args), cli_common_options};
    for (size_t i = 0; i < 2; i++) {
        for (const struct cli_option *o = lists[i]; o && o->name && n < LODE_ARRAY_LEN(names); o++)
            names[n++] = o->name;
    }
    return cli_suggest(name, names, n);
}

static int unknown_option(const struct cli_args *args, const char *word)
{
    const char *near = nearest_option(args, word + strspn(word, "-"));
    if (near)
        return cli_usage(args, "unknown option %s; did you mean --%s?", lode_q(word), near);
    return cli_usage(args, "unknown option %s", lode_q(word));
}

static int give(struct cli_args *args, const struct cli_option *option, const char *value)
{
    struct cli_given *more = lode_realloc_array(args->given, args->n_given + 1, sizeof *more);
    if (!more)
        return cli_usage(args, "out of memory for the arguments");
    args->given = more;
    args->given[args->n_given++] = (struct cli_given){option, value};
    return 0;
}

/* One argument that starts with '-'; *i moves on where it takes the next one as its value. */
static int take_option(struct cli_args *args, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1), *equals = is_long ? strchr(name, '=') : NULL;
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *o =
        is_long ? find_long(own_options(args), name, len) : find_letter(own_options(args), *name);
    if (!o)
        o = is_long ? find_long(cli_common_options, name, len)
                    : find_letter(cli_common_options, *name);
    if (!o)
        return unknown_option(args, word);
    if (o->kind == CLI_FLAG) {
        if (equals || (!is_long && len > 1))
            return cli_usage(args, "--%s takes no value", o->name);
        return give(args, o, NULL);
    }
    if (equals)
        return give(args, o, equals + 1);
    if (!is_long && len > 1)
        return give(args, o, name + 1);
    if (*i + 1 >= argc)
        return cli_usage(args, "--%s needs a value: --%s %s", o->name, o->name, o->value);
    return give(args, o, argv[++*i]);
}

/* Does `command`'s name begin with these words? Answers how many words it has, 0 for no match. */
static unsigned matches(const struct cli_command *command, const char *first, const char *second)
{
    size_t n = strlen(first);
    if (strncmp(command->name, first, n) != 0)
        return 0;
    if (command->name[n] == 0)
        return 1;
    if (command->name[n] != ' ')
        return 0;
    return second && strcmp(command->name + n + 1, second) == 0 ? 2 : 0;
}

static bool is_group(const char *word)
{
    size_t n = strlen(word);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        if (strncmp((*c)->name, word, n) == 0 && (*c)->name[n] == ' ')
            return true;
    }
    return false;
}

static int unknown_command(const struct cli_args *args, const char *word, const char *second)
{
    const char *names[128];
    size_t n = 0;
    if (is_group(word)) {
        fprintf(stderr,
                second ? "lode: no command '%s %s'; there are:\n"
                       : "lode: '%s' needs one more word:\n",
                word, second ? second : "");
        for (const struct cli_command *const *c = cli_commands; *c; c++) {
            if (strncmp((*c)->name, word, strlen(word)) == 0)
                fprintf(stderr, "  lode %s %s\n", (*c)->name, (*c)->args);
        }
        return CLI_USAGE;
    }
    for (const struct cli_command *const *c = cli_commands; *c && n < LODE_ARRAY_LEN(names); c++)
        names[n++] = (*c)->name;
    const char *near = cli_suggest(word, names, n);
    return near ? cli_usage(args, "no command %s; did you mean 'lode %s'?", lode_q(word), near)
                : cli_usage(args, "no command %s; 'lode help' lists them", lode_q(word));
}

static int take_command(struct cli_args *args, int argc, char **argv, int *i)
{
    const char *second = *i + 1 < argc ? argv[*i + 1] : NULL;
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        unsigned words = matches(*c, argv[*i], second);
        if (words) {
            args->command = *c;
            *i += (int)words - 1;
            return 0;
        }
    }
    return unknown_command(args, argv[*i], second);
}

static int take_all(struct cli_args *args, int argc, char **argv)
{
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        int status = 0;
        if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!only_words && !args->command && strcmp(argv[i], "--version") == 0)
            argv[i--] = (char *)(uintptr_t) "version";
        else if (!only_words && argv[i][0] == '-' && argv[i][1])
            status = take_option(args, argc, argv, &i);
        else if (!args->command)
            status = take_command(args, argc, argv, &i);
        else
            args->words[args->n_words++] = argv[i];
        if (status)
            return status;
    }
    return 0;
}

static int check_count(const struct cli_args *args)
{
    const struct cli_command *c = args->command;
    if (args->n_words < c->min_args)
        return cli_usage(args, "too few arguments; it is: lode %s %s", c->name, c->args);
    if (args->n_words > c->max_args)
        return cli_usage(args, "unexpected argument %s; it is: lode %s %s",
                         lode_q(args->words[c->max_args]), c->name, c->args);
    return 0;
}

int cli_parse(int argc, char **argv, struct cli_args *out, bool *finished)
{
    out->words = lode_calloc((size_t)argc + 1, sizeof *out->words);
    if (!out->words)
        return cli_usage(NULL, "out of memory for the arguments");
    int status = take_all(out, argc, argv);
    if (status)
        return status;
    if (cli_flag(out, "help") || !out->command) {
        bool asked = cli_flag(out, "help");
        cli_help(out->command, asked ? stdout : stderr);
        *finished = true;
        return asked ? CLI_DONE : CLI_USAGE;
    }
    return check_count(out);
}

void cli_args_release(struct cli_args *args)
{
    lode_free(args->given);
    lode_free(args->words);
    *args = (struct cli_args){0};
}

const char *cli_value(const struct cli_args *args, const char *name)
{
    for (size_t i = args->n_given; i > 0; i--) {
        if (strcmp(args->given[i - 1].option->name, name) == 0)
            return args->given[i - 1].value;
    }
    return NULL;
}

bool cli_flag(const struct cli_args *args, const char *name)
{
    for (size_t i = 0; i < args->n_given; i++) {
        if (strcmp(args->given[i].option->name, name) == 0)
            return true;
    }
    return false;
}

const char **cli_values(const struct cli_args *args, const char *name, size_t *n)
{
    const char **values = lode_calloc(args->n_given + 1, sizeof *values);
    *n = 0;
    for (size_t i = 0; values && i < args->n_given; i++) {
        if (strcmp(args->given[i].option->name, name) == 0)
            values[(*n)++] = args->given[i].value;
    }
    return values;
}

bool cli_json(const struct cli_args *args)
{
    return args && cli_flag(args, "json");
}

bool cli_quiet(const struct cli_args *args)
{
    return cli_flag(args, "quiet");
}

int cli_number(const struct cli_args *args, const char *name, uint32_t max, uint32_t *out)
{
    const char *s = cli_value(args, name);
    char *end;
    if (!s)
        return 0;
    unsigned long v = strtoul(s, &end, 10);
    if (*s < '0' || *s > '9' || *end || v == 0 || v > max)
        return cli_usage(args, "--%s must be a number from 1 to %u, not %s", name, max, lode_q(s));
    *out = (uint32_t)v;
    return 0;
}

int cli_tag_words(const char *const *words, size_t n_words, struct lode_tag **out, size_t *n)
{
    for (size_t i = 0; i < n_words; i++) {
        const char *equals = strchr(words[i], '=');
        struct lode_err err = {0};
        if (!equals)
            return cli_usage(NULL, "a tag is KEY=VALUE, not %s", lode_q(words[i]));
        char *key = lode_strndup(words[i], (size_t)(equals - words[i]));
        int r = key ? lode_tags_set(out, n, key, equals + 1, &err) : lode_err_nomem(&err, "a tag");
        lode_free(key);
        if (r < 0)
            return cli_usage(NULL, "%s", err.text);
    }
    return 0;
}

static int metric_of(const char *word, struct lode_metric **out, size_t *n)
{
    const char *equals = strchr(word, '=');
    struct lode_err err = {0};
    char *end = NULL;
    double value = equals ? strtod(equals + 1, &end) : 0;
    if (!equals || end == equals + 1 || *end || !isfinite(value))
        return cli_usage(NULL, "a metric is KEY=NUMBER, not %s", lode_q(word));
    char *key = lode_strndup(word, (size_t)(equals - word));
    int r = key ? lode_metrics_set(out, n, key, value, &err) : lode_err_nomem(&err, "a metric");
    lode_free(key);
    return r < 0 ? cli_usage(NULL, "%s", err.text) : 0;
}

int cli_metric_words(const char *const *words, size_t n_words, struct lode_metric **out, size_t *n)
{
    int status = 0;
    for (size_t i = 0; i < n_words && status == 0; i++)
        status = metric_of(words[i], out, n);
    return status;
}

int cli_tags(const struct cli_args *args, const char *name, struct lode_tag **out, size_t *n)
{
    size_t count;
    const char **values = cli_values(args, name, &count);
    int status = cli_tag_words(values, count, out, n);
    lode_free(values);
    return status;
}

int cli_metrics(const struct cli_args *args, const char *name, struct lode_metric **out, size_t *n)
{
    size_t count;
    const char **values = cli_values(args, name, &count);
    int status = cli_metric_words(values, count, out, n);
    lode_free(values);
    return status;
}
