/* Printing: tables, sizes, times, versions, journal lines, errors. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "model/record.h"
#include "model/ref.h"

int cli_fail(const struct cli_args *args, const struct lode_err *err)
{
    cli_call_done();
    if (cli_json(args)) {
        json_t *doc =
            json_pack("{s:{s:s,s:s,s:{}}}", "error", "code", lode_code_name(err->code), "message",
                      err->text[0] ? err->text : lode_code_text(err->code), "detail");
        char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
        fprintf(stderr, "%s\n",
                text ? text
                     : "{\"error\":{\"code\":\"no_memory\",\"message\":\"out of "
                       "memory\",\"detail\":{}}}");
        lode_string_free(text);
        json_decref(doc);
    } else {
        fprintf(stderr, "lode: %s\n", err->text[0] ? err->text : lode_code_text(err->code));
    }
    return CLI_FAILED;
}

int cli_usage(const struct cli_args *args, const char *fmt, ...)
{
    va_list ap;
    fputs("lode: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    if (args && args->command)
        fprintf(stderr, "\nTry 'lode %s --help'.\n", args->command->name);
    else
        fputc('\n', stderr);
    return CLI_USAGE;
}

bool cli_confirm(const struct cli_args *args, const char *fmt, ...)
{
    if (cli_flag(args, "yes"))
        return true;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    if (!isatty(STDIN_FILENO)) {
        fputs("\nlode: there is no terminal to ask at; say --yes to go on\n", stderr);
        return false;
    }
    fputs(" [y/N] ", stderr);
    char answer[16] = {0};
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int cli_print_json_text(char *json)
{
    if (!json) {
        fputs("lode: out of memory for the result\n", stderr);
        return CLI_FAILED;
    }
    puts(json);
    lode_string_free(json);
    return CLI_DONE;
}

int cli_print_json(json_t *doc)
{
    char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);
    return cli_print_json_text(text);
}

/* ---- reports ---- */

const char *cli_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "-";
}

uint64_t cli_num(const json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

int cli_report(const struct cli_args *args, int r, char *json, const struct lode_err *err,
               cli_report_print *print)
{
    cli_call_done();
    if (r < 0)
        return cli_fail(args, err);
    json_t *doc = json_loads(json, 0, NULL);
    if (cli_json(args))
        puts(json);
    int status = print(args, doc);
    json_decref(doc);
    lode_string_free(json);
    return status;
}

/* ---- tables ---- */

struct cli_table {
    size_t columns, rows, cap;
    char **cells; /* rows * columns, owned */
};

/* Columns a text takes on a terminal: its code points. */
static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

struct cli_table *cli_table_new(const char *const *heads, size_t n)
{
    struct cli_table *t = lode_zalloc(sizeof *t);
    if (!t)
        return NULL;
    t->columns = n;
    cli_table_row(t, heads);
    return t;
}

void cli_table_row(struct cli_table *t, const char *const *cells)
{
    if (!t ||
        lode_grow((void **)&t->cells, &t->cap, (t->rows + 1) * t->columns, sizeof *t->cells) < 0)
        return;
    for (size_t i = 0; i < t->columns; i++)
        t->cells[t->rows * t->columns + i] = lode_strdup(cells[i] ? cells[i] : "");
    t->rows++;
}

static const char *cell(const struct cli_table *t, size_t row, size_t column)
{
    const char *s = t->cells[row * t->columns + column];
    return s ? s : "";
}

static size_t column_width(const struct cli_table *t, size_t column)
{
    size_t most = 0;
    for (size_t r = 0; r < t->rows; r++)
        most = lode_max(most, width(cell(t, r, column)));
    return most;
}

void cli_table_print(struct cli_table *t, FILE *out)
{
    if (!t)
        return;
    for (size_t r = 0; out && r < t->rows; r++) {
        for (size_t c = 0; c < t->columns; c++) {
            const char *s = cell(t, r, c);
            fputs(s, out);
            size_t pad = c + 1 < t->columns ? column_width(t, c) - width(s) + 2 : 0;
            fprintf(out, "%*s", (int)pad, "");
        }
        fputc('\n', out);
    }
    for (size_t i = 0; i < t->rows * t->columns; i++)
        lode_free(t->cells[i]);
    lode_free(t->cells);
    lode_free(t);
}

/* ---- small texts ---- */

const char *cli_bytes(uint64_t n, char out[CLI_TEXT])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < LODE_ARRAY_LEN(units); u++)
        v /= 1024;
    snprintf(out, CLI_TEXT, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return out;
}

const char *cli_count(uint64_t n, char out[CLI_TEXT])
{
    static const char *const units[] = {"", " K", " M", " B", " T"};
    double v = (double)n;
    size_t u = 0;
    for (; v >= 1000 && u + 1 < LODE_ARRAY_LEN(units); u++)
        v /= 1000;
    snprintf(out, CLI_TEXT, u ? "%.1f%s" : "%.0f%s", v, units[u]);
    return out;
}

const char *cli_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

const char *cli_time(int64_t ms, char out[CLI_TEXT])
{
    char text[LODE_TIME_TEXT];
    if (ms == 0)
        return "-";
    lode_time_rfc3339(ms, text);
    snprintf(out, CLI_TEXT, "%.10s %.8sZ", text, text + 11);
    return out;
}

char *cli_join(char *const *items, size_t n, const char *between)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1 << 20);
    for (size_t i = 0; i < n; i++) {
        lode_buf_adds(&b, i ? between : "");
        lode_buf_adds(&b, items[i]);
    }
    char *s = lode_buf_steal(&b);
    return s ? s : lode_strdup("");
}

const char *cli_model_name(const char *ns, const char *name, char out[300])
{
    bool plain = !ns || strcmp(ns, LODE_DEFAULT_NS) == 0;
    snprintf(out, 300, "%s%s%s", plain ? "" : ns, plain ? "" : "/", name);
    return out;
}

/* ---- versions and entries ---- */

static void print_facts(const struct lode_version *v)
{
    char a[CLI_TEXT], b[CLI_TEXT];
    char *aliases = cli_join(v->aliases, v->n_aliases, ", ");
    printf("version     %s  (number %llu%s)\n", v->version, (unsigned long long)v->seq,
           v->latest ? ", latest" : "");
    printf("state       %s\n", lode_state_name(v->state));
    if (v->n_aliases)
        printf("aliases     %s\n", aliases ? aliases : "");
    printf("created     %s by %s\n", cli_time(v->created_ms, a), v->author ? v->author : "-");
    if (v->why)
        printf("why         %s\n", v->why);
    printf("size        %s in %llu file%s\n", cli_bytes(v->size, a), (unsigned long long)v->files,
           cli_plural(v->files));
    printf("format      %s\n", v->format ? v->format : "-");
    if (v->tensors)
        printf("tensors     %llu, %s parameters\n", (unsigned long long)v->tensors,
               cli_count(v->parameters, b));
    if (v->parent)
        printf("parent      %s\n", v->parent);
    if (v->replication)
        printf("replication %s\n", v->replication);
    if (v->digest)
        printf("digest      %s\n", v->digest);
    lode_free(aliases);
}

void cli_print_version(const struct lode_version *v)
{
    char model[300];
    printf("model       %s\n", cli_model_name(v->ns, v->name, model));
    print_facts(v);
    for (size_t i = 0; i < v->n_tags; i++)
        printf("tag         %s = %s\n", v->tags[i].key, v->tags[i].value);
    for (size_t i = 0; i < v->n_metrics; i++)
        printf("metric      %s = %.15g\n", v->metrics[i].key, v->metrics[i].value);
}

static void version_row(struct cli_table *t, const struct lode_version *v, bool with_name)
{
    char model[300], seq[24], time[CLI_TEXT], size[CLI_TEXT];
    snprintf(seq, sizeof seq, "%llu", (unsigned long long)v->seq);
    char *aliases = cli_join(v->aliases, v->n_aliases, ",");
    const char *cells[] = {cli_model_name(v->ns, v->name, model),
                           v->version,
                           seq,
                           cli_time(v->created_ms, time),
                           cli_bytes(v->size, size),
                           v->format ? v->format : "-",
                           lode_state_name(v->state),
                           aliases && *aliases ? aliases
                           : v->latest         ? "(latest)"
                                               : ""};
    cli_table_row(t, with_name ? cells : cells + 1);
    lode_free(aliases);
}

void cli_print_versions(const struct lode_versions *p, bool with_name)
{
    static const char *const heads[] = {"NAME", "VERSION", "SEQ",   "CREATED",
                                        "SIZE", "FORMAT",  "STATE", "ALIASES"};
    struct cli_table *t =
        cli_table_new(with_name ? heads : heads + 1, LODE_ARRAY_LEN(heads) - !with_name);
    for (size_t i = 0; i < p->n; i++)
        version_row(t, &p->items[i], with_name);
    cli_table_print(t, stdout);
}

static void entry_deed(const struct lode_journal_entry *e, char *out, size_t room)
{
    switch (e->change) {
    case LODE_CHANGE_COMMIT:
        snprintf(out, room, "published %s", e->to);
        break;
    case LODE_CHANGE_ALIAS_SET:
        snprintf(out, room, "%s: %s -> %s", e->alias, e->from ? e->from : "(none)", e->to);
        break;
    case LODE_CHANGE_ALIAS_REMOVE:
        snprintf(out, room, "%s: %s -> (removed)", e->alias, e->from ? e->from : "(none)");
        break;
    case LODE_CHANGE_DELETE:
        snprintf(out, room, "deleted %s", e->to ? e->to : e->from);
        break;
    case LODE_CHANGE_RESTORE:
        snprintf(out, room, "restored %s", e->to);
        break;
    }
}

void cli_print_entry(const struct lode_journal_entry *e, FILE *out)
{
    char time[LODE_TIME_TEXT], model[300], deed[512] = "";
    entry_deed(e, deed, sizeof deed);
    fprintf(out, "%s  %s  %s  by %s%s%s\n", lode_time_rfc3339(e->when_ms, time),
            cli_model_name(e->ns, e->name, model), deed, e->who ? e->who : "-",
            e->why ? "  -- " : "", e->why ? e->why : "");
}

int cli_done_version(const struct cli_args *args, struct lode_version *v, const char *fmt, ...)
{
    int status = CLI_DONE;
    if (cli_json(args)) {
        status = cli_print_json_text(lode_version_json(v));
    } else if (cli_quiet(args)) {
        puts(v->version);
    } else {
        va_list ap;
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        putchar('\n');
    }
    lode_version_release(v);
    return status;
}

int cli_done_entry(const struct cli_args *args, struct lode_journal_entry *e, const char *fmt, ...)
{
    int status = CLI_DONE;
    if (cli_json(args)) {
        status = cli_print_json_text(lode_journal_entry_json(e));
    } else if (cli_quiet(args)) {
        puts(e->to ? e->to : "");
    } else {
        va_list ap;
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        putchar('\n');
    }
    lode_journal_entry_release(e);
    return status;
}
