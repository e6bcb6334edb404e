/* What is made from the command table: help, man pages that render without a warning, completion
 * that completes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/attr.h"
#include "cli/cli.h"

static char dir[] = "/tmp/lode-test-help-XXXXXX";

static bool can(const char *program)
{
    char line[256];
    snprintf(line, sizeof line, "command -v %s >/dev/null 2>&1", program);
    return system(line) == 0;
}

/* What a shell prints, with stderr, in a text that the caller frees. */
static char *shell(const char *script)
{
    size_t room = 1 << 20;
    char *out = calloc(1, room);
    FILE *p = popen(script, "r");
    assert_non_null(out);
    assert_non_null(p);
    size_t n = fread(out, 1, room - 1, p);
    out[n] = 0;
    pclose(p);
    return out;
}

static int make_dir(void **state)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", dir);
    return system(line);
}

static void the_table_is_whole(void **state)
{
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        assert_true(((*c)->run != NULL) != ((*c)->on_root != NULL));
        assert_true((*c)->min_args <= (*c)->max_args);
        assert_non_null((*c)->summary);
        assert_true(strlen((*c)->summary) < 80);
        for (const struct cli_option *o = (*c)->options; o && o->name; o++) {
            assert_non_null(o->help);
            assert_int_equal(o->kind == CLI_FLAG, o->value == NULL);
            for (const struct cli_option *k = cli_common_options; k->name; k++) {
                assert_string_not_equal(o->name, k->name);
                assert_true(!o->letter || o->letter != k->letter);
            }
            for (const struct cli_option *k = (*c)->options; k != o; k++) {
                assert_string_not_equal(o->name, k->name);
                assert_true(!o->letter || o->letter != k->letter);
            }
        }
    }
}

static void help_names_everything(void **state)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    cli_help(NULL, out);
    fflush(out);
    for (const struct cli_command *const *c = cli_commands; *c; c++)
        assert_non_null(strstr(text, (*c)->summary));
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        rewind(out);
        cli_help(*c, out);
        fflush(out);
        for (const struct cli_option *o = (*c)->options; o && o->name; o++)
            assert_non_null(strstr(text, o->help));
    }
    fclose(out);
    free(text);
}

static void man_pages_render(void **state)
{
    char line[512];
    if (!can("groff")) {
        print_message("no groff here\n");
        skip();
    }
    assert_int_equal(cli_man_pages(dir), CLI_DONE);
    snprintf(line, sizeof line,
             "for p in %s/*.1; do groff -ww -man -Tutf8 $p 2>&1 >/dev/null; done", dir);
    char *warnings = shell(line);
    assert_string_equal(warnings, "");
    free(warnings);
    snprintf(line, sizeof line, "groff -man -Tascii -P-cbou %s/lode-push.1", dir);
    char *page = shell(line);
    assert_non_null(strstr(page, "lode push [OPTIONS] NAME PATH..."));
    assert_non_null(strstr(page, "--follow-links"));
    assert_non_null(strstr(page, "lode push rank model.safetensors --metric auc=0.91"));
    free(page);
    snprintf(line, sizeof line, "ls %s/*.1 | wc -l", dir);
    size_t pages = 1;
    for (const struct cli_command *const *c = cli_commands; *c; c++)
        pages++;
    char *count = shell(line);
    assert_int_equal(strtoul(count, NULL, 10), pages);
    free(count);
}

static void no_place_for_pages(void **state)
{
    assert_int_equal(cli_man_pages("/nonexistent"), CLI_FAILED);
}

static void write_completion(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", dir, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(cli_completion(name, out), CLI_DONE);
    fclose(out);
}

/* Completes the words (the last one is at the cursor) in bash; `models` is what `lode ls -q` says.
 */
static void completes(const char *words, unsigned at, const char *want)
{
    char path[256], line[1024];
    write_completion("bash", path);
    snprintf(
        line, sizeof line,
        "cd %s && mkdir -p empty && cd empty && bash -c '. %s; lode() { echo rank; echo team/x; }; "
        "COMP_WORDS=(%s); COMP_CWORD=%u; _lode; echo ${COMPREPLY[*]}' 2>&1",
        dir, path, words, at);
    char *got = shell(line);
    got[strcspn(got, "\n")] = 0;
    if (strcmp(got, want) != 0)
        print_error("'%s' completes to '%s'\n", words, got);
    assert_string_equal(got, want);
    free(got);
}

static void bash_completes(void **state)
{
    if (!can("bash")) {
        print_message("no bash here\n");
        skip();
    }
    completes("lode pu", 1, "push pull");
    completes("lode al", 1, "alias");
    completes("lode alias \"\"", 2, "ls set rm log");
    completes("lode alias s", 2, "set");
    completes("lode push --fo", 2, "--follow-links");
    completes("lode alias log rank prod --a", 5, "--at");
    completes("lode show ra", 2, "rank");
    completes("lode show zz", 2, "");
}

/* Shells that are not here cannot be asked; the scripts must at least parse where they are. */
static void other_shells_parse(void **state)
{
    static const char *const shells[] = {"zsh", "fish"};
    char path[256], line[512];
    size_t asked = 0;
    for (size_t i = 0; i < LODE_ARRAY_LEN(shells); i++) {
        write_completion(shells[i], path);
        if (!can(shells[i]))
            continue;
        snprintf(line, sizeof line, "%s -n %s 2>&1", shells[i], path);
        char *said = shell(line);
        assert_string_equal(said, "");
        free(said);
        asked++;
    }
    assert_int_equal(cli_completion("tcsh", stderr), CLI_USAGE);
    if (!asked) {
        print_message("neither zsh nor fish is here\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_whole), cmocka_unit_test(help_names_everything),
        cmocka_unit_test(man_pages_render),   cmocka_unit_test(no_place_for_pages),
        cmocka_unit_test(bash_completes),     cmocka_unit_test(other_shells_parse),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
