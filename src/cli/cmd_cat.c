/* lode cat: one file of a version on stdout. */
#include <errno.h>
#include <unistd.h>
#include "base/err.h"
#include "base/sys.h"
#include "cli/cli.h"

static int to_stdout(void *arg, const void *data, size_t len)
{
    if (lode_write_full(STDOUT_FILENO, data, len) == 0)
        return 0;
    *(int *)arg = errno;
    return LODE_CANCELLED;
}

static int run(const struct cli_args *args, struct lode *lode)
{
    struct lode_err err = {0};
    int write_error = 0;
    struct lode_call call = *cli_call(args);
    call.progress = NULL;
    int r = lode_cat(lode, args->words[0], 0, 0, to_stdout, &write_error, &call, &err);
    if (r < 0 && write_error == EPIPE)
        return CLI_DONE; /* "| head" has seen enough */
    if (r < 0 && write_error) {
        errno = write_error;
        lode_err_sys(&err, "cannot write the result");
    }
    return r < 0 ? cli_fail(args, &err) : CLI_DONE;
}

const struct cli_command cli_cmd_cat = {
    .name = "cat",
    .args = "REF/FILE",
    .min_args = 1,
    .max_args = 1,
    .on_root = run,
    .summary = "write one file of a version to stdout",
    .text = "Every block is checked before it is written.\n\nExample:\n  lode cat "
            "rank@prod/config.json",
};
