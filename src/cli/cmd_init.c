/* lode init: makes a root. */
#include <string.h>
#include "cli/cli.h"

static int run(const struct cli_args *args)
{
    struct lode_open_options options;
    struct lode_err err = {0};
    int status = cli_open_options(args, &options);
    if (status)
        return status;
    if (args->n_words && (options.url || options.store))
        return cli_usage(args, "say the root once: as an argument or with --url");
    if (args->n_words)
        options.url = args->words[0];
    options.create = true;
    if (lode_init(&options, &err) < 0)
        return cli_fail(args, &err);
    struct lode *lode = NULL;
    char *json = NULL;
    if (lode_open(&options, &lode, &err) < 0)
        return cli_fail(args, &err);
    if (cli_json(args)) {
        int r = lode_root_json(lode, &json, &err);
        status = r < 0 ? cli_fail(args, &err) : cli_print_json_text(json);
    } else {
        printf(cli_quiet(args) ? "%s\n" : "A new root is ready at %s\n", lode_url(lode));
    }
    lode_close(lode);
    return status;
}

const struct cli_command cli_cmd_init = {
    .name = "init",
    .args = "[URL]",
    .max_args = 1,
    .run = run,
    .summary = "make a new root",
    .text = "A root is where models live: a directory (the embedded default, ~/.lode), or a store "
            "and a\n"
            "coord given as a pair. It is refused where there is one already.\n\n"
            "Example:\n  lode init /srv/models",
};
