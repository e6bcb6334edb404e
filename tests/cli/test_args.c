/* Parsing a command line: options anywhere, values in both spellings, "--", counts, suggestions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/attr.h"
#include "base/mem.h"
#include "cli/cli.h"

enum { WORDS_MAX = 16 };

static char said[4096]; /* what the last parse wrote to stderr */

/* Parses the words of `line` and keeps what it says. */
static int parse(char *line, struct cli_args *out, bool *finished)
{
    char *argv[WORDS_MAX] = {(char *)(uintptr_t) "lode"}, *state = NULL;
    int argc = 1;
    for (char *w = strtok_r(line, " ", &state); w && argc < WORDS_MAX;
         w = strtok_r(NULL, " ", &state))
        argv[argc++] = w;
    FILE *heard = tmpfile();
    int kept = dup(STDERR_FILENO);
    assert_non_null(heard);
    fflush(stderr);
    dup2(fileno(heard), STDERR_FILENO);
    *finished = false;
    *out = (struct cli_args){0};
    int status = cli_parse(argc, argv, out, finished);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(heard);
    said[fread(said, 1, sizeof said - 1, heard)] = 0;
    fclose(heard);
    return status;
}

static void refused(const char *text, const char *says)
{
    struct cli_args args;
    bool finished;
    char line[256];
    snprintf(line, sizeof line, "%s", text);
    int status = parse(line, &args, &finished);
    cli_args_release(&args);
    if (status != CLI_USAGE || !strstr(said, says))
        print_error("'%s': %d, says: %s\n", text, status, said);
    assert_int_equal(status, CLI_USAGE);
    assert_non_null(strstr(said, says));
}

static void taken(const char *text, struct cli_args *args, char line[256])
{
    bool finished;
    snprintf(line, 256, "%s", text);
    int status = parse(line, args, &finished);
    if (status != CLI_DONE)
        print_error("'%s': %d, says: %s\n", text, status, said);
    assert_int_equal(status, CLI_DONE);
    assert_false(finished);
    assert_string_equal(said, "");
}

static void options_anywhere(void **state)
{
    struct cli_args args;
    char line[256];
    taken("--url /r push -q rank --version=v1 a -m why b --tag x=1 --tag y=2", &args, line);
    assert_string_equal(args.command->name, "push");
    assert_int_equal(args.n_words, 3);
    assert_string_equal(args.words[0], "rank");
    assert_string_equal(args.words[2], "b");
    assert_string_equal(cli_value(&args, "url"), "/r");
    assert_string_equal(cli_value(&args, "version"), "v1");
    assert_string_equal(cli_value(&args, "message"), "why");
    assert_null(cli_value(&args, "parent"));
    assert_true(cli_quiet(&args));
    assert_false(cli_json(&args));
    size_t n;
    const char **tags = cli_values(&args, "tag", &n);
    assert_int_equal(n, 2);
    assert_string_equal(tags[1], "y=2");
    lode_free((void *)(uintptr_t)tags);
    cli_args_release(&args);
}

static void the_last_one_counts(void **state)
{
    struct cli_args args;
    char line[256];
    taken("ls --limit 3 --limit=7 --sort= -n12", &args, line);
    uint32_t limit = 0;
    assert_int_equal(cli_number(&args, "limit", 1000, &limit), 0);
    assert_int_equal(limit, 12);
    assert_string_equal(cli_value(&args, "sort"), "");
    cli_args_release(&args);
}

static void two_words_and_dashes(void **state)
{
    struct cli_args args;
    char line[256];
    taken("alias set rank@1 prod", &args, line);
    assert_string_equal(args.command->name, "alias set");
    assert_int_equal(args.n_words, 2);
    cli_args_release(&args);
    taken("push -- --json -q", &args, line);
    assert_false(cli_json(&args));
    assert_string_equal(args.words[0], "--json");
    assert_string_equal(args.words[1], "-q");
    cli_args_release(&args);
    taken("cat -", &args, line); /* a lone dash is a word */
    assert_string_equal(args.words[0], "-");
    cli_args_release(&args);
}

static void refusals(void **state)
{
    refused("lss", "did you mean 'lode ls'?");
    refused("zzzzzzzz", "'lode help' lists them");
    refused("alias", "lode alias set REF ALIAS");
    refused("alias ste a b", "no command 'alias ste'");
    refused("ls --jsno", "did you mean --json?");
    refused("push --verson=1 a b", "did you mean --version?");
    refused("ls -Z", "unknown option '-Z'");
    refused("ls --limit", "--limit needs a value");
    refused("ls --json=1", "--json takes no value");
    refused("ls -qx", "takes no value");
    refused("push rank", "too few arguments; it is: lode push NAME PATH...");
    refused("show a b", "unexpected argument 'b'");
    refused("", "Usage: lode COMMAND");
}

static void numbers(void **state)
{
    static const char *const bad[] = {"0", "1001", "-1", "x", "1x", "99999999999999999999", ""};
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++) {
        struct cli_args args;
        char line[256], text[64];
        uint32_t n = 5;
        snprintf(text, sizeof text, "ls --limit=%s", bad[i]);
        taken(text, &args, line);
        assert_int_equal(cli_number(&args, "limit", 1000, &n), CLI_USAGE);
        assert_int_equal(n, 5);
        cli_args_release(&args);
    }
}

static void suggestions(void **state)
{
    static const char *const words[] = {"push", "pull", "promote", "alias set"};
    assert_string_equal(cli_suggest("psuh", words, 4), "push");
    assert_string_equal(cli_suggest("pul", words, 4), "pull");
    assert_string_equal(cli_suggest("promot", words, 4), "promote");
    assert_null(cli_suggest("xyz", words, 4));
    assert_null(cli_suggest("", words, 4));
    assert_null(cli_suggest("a-word-much-longer-than-forty-letters-has-no-neighbour", words, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_anywhere),
        cmocka_unit_test(the_last_one_counts),
        cmocka_unit_test(two_words_and_dashes),
        cmocka_unit_test(refusals),
        cmocka_unit_test(numbers),
        cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
