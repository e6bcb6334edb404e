/* lode watch: tells every change as it happens, until Ctrl-C. */
#include "cli/cli.h"

enum { WATCH_TICK_MS = 250 }; /* how soon Ctrl-C is seen; events come at once */

static int tell(const struct cli_args *args, struct lode_journal_entry *e)
{
    if (cli_json(args))
        cli_print_json_text(lode_journal_entry_json(e));
    else
        cli_print_entry(e, stdout);
    lode_journal_entry_release(e);
    return fflush(stdout) == 0 ? CLI_DONE : CLI_FAILED;
}

static int follow(const struct cli_args *args, struct lode_watch *w)
{
    uint32_t left = 0;
    int status = cli_number(args, "count", 1000000, &left);
    bool counted = left > 0;
    while (status == CLI_DONE && !cli_interrupted() && (!counted || left > 0)) {
        struct lode_journal_entry e = {0};
        struct lode_err err = {0};
        int r = lode_watch_next(w, WATCH_TICK_MS, &e, &err);
        if (r == LODE_TIMEOUT)
            continue;
        status = r < 0 ? cli_fail(args, &err) : tell(args, &e);
        left -= counted;
    }
    return status;
}

static int run(const struct cli_args *args, struct lode *lode)
{
    struct lode_watch *w = NULL;
    struct lode_err err = {0};
    if (lode_watch_open(lode, args->n_words ? args->words[0] : NULL, cli_value(args, "from"), &w,
                        &err) < 0)
        return cli_fail(args, &err);
    if (!cli_json(args) && !cli_quiet(args))
        fprintf(stderr, "watching %s; Ctrl-C ends it\n",
                args->n_words ? args->words[0] : "every model");
    int status = follow(args, w);
    lode_watch_close(w);
    return status;
}

static const struct cli_option options[] = {
    {"from", 0, CLI_VALUE, "EVENT", "begin after this event"},
    {"count", 'n', CLI_VALUE, "N", "end after so many"},
    {0},
};

const struct cli_command cli_cmd_watch = {
    .name = "watch",
    .args = "[NAME]",
    .max_args = 1,
    .on_root = run,
    .options = options,
    .summary = "tell every change as it happens",
    .text = "With --json one document a line; its \"event\" can be given to --from later.",
};
