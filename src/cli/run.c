/* Runs a command line: see run.h. */
#include "cli/run.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include "base/err.h"
#include "cli/cli.h"

/* A result that did not reach stdout (a full disk behind a redirection) is a failure, not a
 * success; a reader that has seen enough (| head) is none. */
static int flushed(int status)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EPIPE)
        return status;
    struct lode_err err = {0};
    lode_err_sys(&err, "cannot write the result");
    cli_fail(NULL, &err);
    return status ? status : CLI_FAILED;
}

static int run_on_root(const struct cli_args *args)
{
    struct lode *lode = NULL;
    int status = cli_open(args, &lode);
    if (status == CLI_DONE)
        status = args->command->on_root(args, lode);
    cli_call_done();
    lode_close(lode);
    return status;
}

int cli_main(int argc, char **argv)
{
    struct cli_args args = {0};
    bool finished = false;
    signal(SIGPIPE, SIG_IGN);
    int status = cli_parse(argc, argv, &args, &finished);
    if (status == CLI_DONE && !finished) {
        cli_catch_signals();
        status = args.command->run ? args.command->run(&args) : run_on_root(&args);
        cli_call_done();
    }
    cli_args_release(&args);
    return flushed(status);
}
