/* The command line: one table of commands, from which parsing, --help, man pages and shell
 * completion all come.
 *
 * A command is one file src/cli/cmd_<name>.c that exports one `const struct cli_command`. Results
 * go to stdout, all else to stderr; a command answers the process's exit status: 0 done, 1 failed,
 * 2 usage. --json prints documents in the schemas of docs/formats/json.md.
 */
#pragma once
#include <jansson.h>
#include <lode/lode.h>
#include <stdbool.h>
#include <stdio.h>
#include "base/attr.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

enum cli_option_kind { CLI_FLAG, CLI_VALUE, CLI_LIST };

struct cli_option {
    const char *name;          /* "dry-run"; long, without dashes */
    char letter;               /* 'n', or 0 */
    enum cli_option_kind kind; /* CLI_LIST may be given several times */
    const char *value;         /* what its value is called in help: "K=V" */
    const char *help;
};

struct cli_args;

struct cli_command {
    const char *name;                        /* "push", or two words: "alias set" */
    const char *args;                        /* "NAME PATH..." */
    unsigned min_args, max_args;             /* positional arguments; max CLI_MANY for no bound */
    const char *summary;                     /* one line */
    const char *text;                        /* paragraphs for the man page; examples at the end */
    const struct cli_option *options;        /* ended by a NULL name, or NULL */
    int (*run)(const struct cli_args *args); /* one of the two: run alone, */
    int (*on_root)(const struct cli_args *args,
                   struct lode *lode); /* or on the opened root, which is closed after */
};
#define CLI_MANY 1000000u

extern const struct cli_command *const cli_commands[]; /* NULL-ended, in the order of help */
extern const struct cli_option cli_common_options[];   /* every command takes these */

/* ---- parsed arguments ---- */

struct cli_given {
    const struct cli_option *option;
    const char *value; /* NULL for a flag */
};
struct cli_args {
    const struct cli_command *command;
    struct cli_given *given;
    size_t n_given;
    const char **words; /* positional */
    size_t n_words;
};

/* Finds the command and its options in argv. 0, or CLI_USAGE after saying what is wrong on stderr;
 * CLI_DONE with command NULL: help was asked and printed. */
int cli_parse(int argc, char **argv, struct cli_args *out, bool *finished);
void cli_args_release(struct cli_args *args);

bool cli_flag(const struct cli_args *args, const char *name);
const char *cli_value(const struct cli_args *args,
                      const char *name); /* the last one given, or NULL */
const char **cli_values(const struct cli_args *args, const char *name,
                        size_t *n); /* lode_free the array */
bool cli_json(const struct cli_args *args);
bool cli_quiet(const struct cli_args *args);

/* "K=V" options as tags; "K=NUMBER" as metrics. On a bad one says so and answers CLI_USAGE. */
int cli_tags(const struct cli_args *args, const char *name, struct lode_tag **out, size_t *n);
int cli_metrics(const struct cli_args *args, const char *name, struct lode_metric **out, size_t *n);
int cli_tag_words(const char *const *words, size_t n_words, struct lode_tag **out, size_t *n);
int cli_metric_words(const char *const *words, size_t n_words, struct lode_metric **out, size_t *n);
int cli_number(const struct cli_args *args, const char *name, uint32_t max,
               uint32_t *out); /* 0 stays when absent */

/* ---- running ---- */

/* Opens what --url, --store, --coord, --context, --token say. On failure reports and answers
 * CLI_FAILED. */
int cli_open(const struct cli_args *args, struct lode **out);
int cli_open_options(const struct cli_args *args, struct lode_open_options *out);

/* The callbacks of a verb: progress on stderr, Ctrl-C, and -m. Valid until the next call. */
const struct lode_call *cli_call(const struct cli_args *args);
void cli_call_done(void);   /* ends the progress line */
bool cli_interrupted(void); /* Ctrl-C or SIGTERM came */
void cli_catch_signals(void);

/* Reports an error (as JSON on stderr with --json) and answers CLI_FAILED. */
int cli_fail(const struct cli_args *args, const struct lode_err *err);
int cli_usage(const struct cli_args *args, const char *fmt, ...) lode_printf(2, 3);

/* Asks "... [y/N]" on a terminal; true at once with --yes. Without a terminal and without --yes:
 * false, after saying so. */
bool cli_confirm(const struct cli_args *args, const char *fmt, ...) lode_printf(2, 3);

/* ---- printing ---- */

/* A JSON document on stdout. Takes text that lode_string_free frees. */
int cli_print_json_text(char *json);
int cli_print_json(json_t *doc); /* takes the reference */

/* A table: cells are copied; widths follow the content; the last column is not padded. */
struct cli_table;
struct cli_table *cli_table_new(const char *const *heads, size_t n);
void cli_table_row(struct cli_table *t, const char *const *cells);
void cli_table_print(struct cli_table *t, FILE *out); /* and frees it; out NULL: only frees */

#define CLI_TEXT 64
const char *cli_bytes(uint64_t n, char out[CLI_TEXT]); /* "1.4 GiB" */
const char *cli_count(uint64_t n, char out[CLI_TEXT]); /* "3.2 B" of parameters */
const char *cli_plural(uint64_t n);                    /* "" for 1, else "s" */
const char *cli_time(int64_t ms, char out[CLI_TEXT]);  /* "2026-11-21 09:30:00Z" */
char *cli_join(char *const *items, size_t n,
               const char *between); /* lode_free; "" when out of memory */
/* "ns/name", the default namespace left out. */
const char *cli_model_name(const char *ns, const char *name, char out[300]);

void cli_print_version(const struct lode_version *v); /* the block that show prints */
void cli_print_versions(const struct lode_versions *p, bool with_name);
void cli_print_entry(const struct lode_journal_entry *e, FILE *out); /* one line of a journal */

/* Ends a verb that answers a version or a journal entry: JSON, its id alone with -q, or the
 * sentence. Releases it. */
int cli_done_version(const struct cli_args *args, struct lode_version *v, const char *fmt, ...)
    lode_printf(3, 4);
int cli_done_entry(const struct cli_args *args, struct lode_journal_entry *e, const char *fmt, ...)
    lode_printf(3, 4);

/* A verb's report, JSON text that this frees (or its failure): printed as it is with --json;
 * `print` says the rest to a person, minds --json and -q itself, and answers the exit status. */
typedef int cli_report_print(const struct cli_args *args, const json_t *doc);
int cli_report(const struct cli_args *args, int r, char *json, const struct lode_err *err,
               cli_report_print *print);
const char *cli_str(const json_t *o, const char *key); /* "-" when absent */
uint64_t cli_num(const json_t *o, const char *key);    /* 0 when absent */

/* ---- help ---- */
void cli_help(const struct cli_command *command, FILE *out); /* NULL: all commands */
int cli_man_pages(const char *dir);               /* writes lode.1, lode-push.1 ... into dir */
int cli_completion(const char *shell, FILE *out); /* bash, zsh, fish */
const char *cli_suggest(const char *word, const char *const *from,
                        size_t n); /* nearest word, or NULL */
