/* Help, man pages and shell completion, all from the command table. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/err.h"
#include "cli/cli.h"
#include "base/version.h"

/* Letters to change to turn a into b (Levenshtein), for words of up to 40 letters. */
static size_t distance(const char *a, const char *b)
{
    size_t row[41], n = strlen(b);
    if (n > 40 || strlen(a) > 40)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = lode_min(change, lode_min(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

const char *cli_suggest(const char *word, const char *const *from, size_t n)
{
    const char *best = NULL;
    size_t least = strlen(word) / 2 + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, from[i]);
        if (d < least) {
            least = d;
            best = from[i];
        }
    }
    return best;
}

static void option_lines(const struct cli_option *options, FILE *out)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->letter ? "-" : " ",
                 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        fprintf(out, "  %-28s %s%s\n", left, o->help, o->kind == CLI_LIST ? " (repeatable)" : "");
    }
}

static void help_all(FILE *out)
{
    fputs("lode keeps trained models in the storage you have, and brings the right one into "
          "memory.\n\n"
          "Usage: lode COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n",
          out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        char left[80];
        snprintf(left, sizeof left, "%s %s", (*c)->name, (*c)->args);
        fprintf(out, "  %-38s %s\n", left, (*c)->summary);
    }
    fputs("\nOptions of every command:\n", out);
    option_lines(cli_common_options, out);
    fputs("\nA REF is [NAMESPACE/]NAME[@VERSION|@NUMBER|@ALIAS]; without @ it is the newest "
          "version.\n"
          "'lode COMMAND --help' explains one command.\n",
          out);
}

void cli_help(const struct cli_command *command, FILE *out)
{
    if (!command) {
        help_all(out);
        return;
    }
    fprintf(out, "Usage: lode %s %s%s\n\n%c%s.\n", command->name,
            command->options ? "[OPTIONS] " : "", command->args,
            toupper((unsigned char)command->summary[0]), command->summary + 1);
    if (command->text)
        fprintf(out, "\n%s\n", command->text);
    if (command->options) {
        fputs("\nOptions:\n", out);
        option_lines(command->options, out);
    }
    fputs("\nCommon options:\n", out);
    option_lines(cli_common_options, out);
}

/* ---- man pages (man(7) macros) ---- */

/* Text with '-' and '\' escaped, and no line that begins with a control character of roff. */
static void roff(const char *s, FILE *out)
{
    bool start = true;
    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\''))
            fputs("\\&", out);
        if (*s == '\\')
            fputs("\\e", out);
        else if (*s == '-')
            fputs("\\-", out);
        else
            fputc(*s, out);
        start = *s == '\n';
    }
}

static void man_options(const struct cli_option *options, FILE *out)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        fputs(".TP\n.B ", out);
        if (o->letter)
            fprintf(out, "\\-%c, ", o->letter);
        fputs("\\-\\-", out);
        roff(o->name, out);
        fprintf(out, " %s\n", o->value ? o->value : "");
        roff(o->help, out);
        fputc('\n', out);
    }
}

static void man_name(const char *name, char *out, size_t room)
{
    snprintf(out, room, "lode-%s", name);
    for (char *c = out; *c; c++)
        *c = *c == ' ' ? '-' : *c;
}

static void man_command(const struct cli_command *c, FILE *out)
{
    char page[80];
    man_name(c->name, page, sizeof page);
    fprintf(out,
            ".TH %s 1 \"\" \"lode " LODE_VERSION
            "\"\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B lode %s\n",
            page, page, c->summary, c->name);
    roff("[OPTIONS] ", out);
    roff(c->args, out);
    fputs("\n.SH DESCRIPTION\n.nf\n", out);
    roff(c->text ? c->text : c->summary, out);
    fputs("\n.fi\n.SH OPTIONS\n", out);
    man_options(c->options, out);
    fputs(".SH COMMON OPTIONS\n", out);
    man_options(cli_common_options, out);
    fputs(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage.\n.SH SEE ALSO\n.BR lode (1)\n", out);
}

static void man_overview(FILE *out)
{
    fputs(".TH lode 1 \"\" \"lode " LODE_VERSION
          "\"\n.SH NAME\nlode \\- publish, find and load trained models\n"
          ".SH SYNOPSIS\n.B lode\nCOMMAND [OPTIONS] [ARGUMENTS]\n.SH COMMANDS\n",
          out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        fprintf(out, ".TP\n.B %s ", (*c)->name);
        roff((*c)->args, out);
        fputc('\n', out);
        roff((*c)->summary, out);
        fputc('\n', out);
    }
    fputs(".SH OPTIONS OF EVERY COMMAND\n", out);
    man_options(cli_common_options, out);
    fputs(
        ".SH ENVIRONMENT\n.TP\n.B LODE_URL\nthe root\n.TP\n.B LODE_STORE, LODE_COORD\na root as a "
        "pair\n"
        ".TP\n.B LODE_TOKEN\nthe token for a server\n.TP\n.B LODE_HOME\nthe default root, ~/.lode\n"
        ".TP\n.B LODE_CACHE\ncaches, ~/.cache/lode\n.TP\n.B LODE_LOG\nerror, warn, info or debug\n",
        out);
}

static FILE *man_open(const char *dir, const char *page)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.1", dir, page);
    FILE *out = fopen(path, "we");
    struct lode_err err = {0};
    if (!out) {
        lode_err_sys(&err, "cannot write %s", path);
        cli_fail(NULL, &err);
    }
    return out;
}

static int man_close(FILE *out)
{
    return fclose(out) == 0 ? CLI_DONE : CLI_FAILED;
}

int cli_man_pages(const char *dir)
{
    FILE *out = man_open(dir, "lode");
    if (!out)
        return CLI_FAILED;
    man_overview(out);
    int status = man_close(out);
    for (const struct cli_command *const *c = cli_commands; *c && status == CLI_DONE; c++) {
        char page[80];
        man_name((*c)->name, page, sizeof page);
        if (!(out = man_open(dir, page)))
            return CLI_FAILED;
        man_command(*c, out);
        status = man_close(out);
    }
    return status;
}

/* ---- completion ---- */

static void complete_options(const struct cli_option *options, const char *before,
                             const char *after, FILE *out)
{
    for (const struct cli_option *o = options; o && o->name; o++)
        fprintf(out, "%s--%s%s", before, o->name, after);
}

/* Length of the first word of a command's name: the group of "alias set". */
static int first_len(const struct cli_command *c)
{
    return (int)strcspn(c->name, " ");
}

static bool same_first(const struct cli_command *a, const struct cli_command *b)
{
    return first_len(a) == first_len(b) && strncmp(a->name, b->name, (size_t)first_len(a)) == 0;
}

/* Is it the first command of the table with its first word? */
static bool opens_group(const struct cli_command *const *c)
{
    return c == cli_commands || !same_first(c[-1], c[0]);
}

/* The second words of the group that begins at c. */
static void second_words(const struct cli_command *const *c, FILE *out)
{
    for (const struct cli_command *const *d = c; *d && same_first(*c, *d); d++)
        fprintf(out, "%s%s", d == c ? "" : " ", (*d)->name + first_len(*d) + 1);
}

/* Between single quotes; `quote` is how the shell writes one there. */
static void quoted(const char *s, const char *quote, FILE *out)
{
    fputc('\'', out);
    for (; *s; s++) {
        if (*s == '\'')
            fputs(quote, out);
        else
            fputc(*s, out);
    }
    fputc('\'', out);
}

static void complete_bash(FILE *out)
{
    fputs("# bash completion of lode\n_lode() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} options= words=\n"
          "    case \"${COMP_WORDS[1]-} ${COMP_WORDS[2]-}\" in\n",
          out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        fprintf(out, "    '%s'*) options='", (*c)->name);
        complete_options((*c)->options, "", " ", out);
        complete_options(cli_common_options, "", " ", out);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n    case $COMP_CWORD,${COMP_WORDS[1]-} in\n    1,*) words='", out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        if (opens_group(c))
            fprintf(out, "%.*s ", first_len(*c), (*c)->name);
    }
    fputs("' ;;\n", out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        if (!opens_group(c) || !(*c)->name[first_len(*c)])
            continue;
        fprintf(out, "    2,%.*s) words='", first_len(*c), (*c)->name);
        second_words(c, out);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n    case $cur in\n"
          "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n"
          "    *) if [ -z \"$words\" ]; then\n"
          "           COMPREPLY=($(compgen -W \"$(lode ls -q 2>/dev/null)\" -- \"$cur\") "
          "$(compgen -f -- \"$cur\"))\n"
          "       else COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); fi ;;\n"
          "    esac\n}\ncomplete -F _lode lode\n",
          out);
}

static void complete_zsh(FILE *out)
{
    fputs("#compdef lode\n_lode() {\n    local -a commands\n    commands=(\n", out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        char line[256];
        snprintf(line, sizeof line, "%.*s:%s", first_len(*c), (*c)->name, (*c)->summary);
        fputs("        ", out);
        if (opens_group(c))
            quoted(line, "'\\''", out);
        fputc('\n', out);
    }
    fputs("    )\n    if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
          "    case \"$CURRENT $words[2]\" in\n",
          out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        if (!opens_group(c) || !(*c)->name[first_len(*c)])
            continue;
        fprintf(out, "    '3 %.*s') compadd -- ", first_len(*c), (*c)->name);
        second_words(c, out);
        fputs("; return ;;\n", out);
    }
    fputs("    esac\n    case \"$words[2] $words[3]\" in\n", out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        fprintf(out, "    '%s'*) compadd --", (*c)->name);
        complete_options((*c)->options, " ", "", out);
        complete_options(cli_common_options, " ", "", out);
        fputs(" ;;\n", out);
    }
    fputs("    esac\n    _files\n}\n_lode \"$@\"\n", out);
}

static void fish_options(const char *command, int len, const struct cli_option *options, FILE *out)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        fputs("complete -c lode", out);
        if (command)
            fprintf(out, " -n '__fish_seen_subcommand_from %.*s'", len, command);
        fprintf(out, " -l %s%s -d ", o->name, o->kind == CLI_FLAG ? "" : " -r");
        quoted(o->help, "\\'", out);
        fputc('\n', out);
    }
}

static void complete_fish(FILE *out)
{
    fputs("# fish completion of lode\n", out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        int n = first_len(*c);
        if (opens_group(c)) {
            fprintf(out, "complete -c lode -n __fish_use_subcommand -a %.*s -d ", n, (*c)->name);
            quoted((*c)->summary, "\\'", out);
            fputc('\n', out);
        }
        if ((*c)->name[n])
            fprintf(out, "complete -c lode -f -n '__fish_seen_subcommand_from %.*s' -a %s\n", n,
                    (*c)->name, (*c)->name + n + 1);
        fish_options((*c)->name, n, (*c)->options, out);
    }
    fish_options(NULL, 0, cli_common_options, out);
}

int cli_completion(const char *shell, FILE *out)
{
    static const struct {
        const char *shell;
        void (*print)(FILE *out);
    } shells[] = {{"bash", complete_bash}, {"zsh", complete_zsh}, {"fish", complete_fish}};
    for (size_t i = 0; i < LODE_ARRAY_LEN(shells); i++) {
        if (strcmp(shell, shells[i].shell) == 0) {
            shells[i].print(out);
            return CLI_DONE;
        }
    }
    fprintf(stderr, "lode: completion is for bash, zsh or fish, not '%s'\n", shell);
    return CLI_USAGE;
}
