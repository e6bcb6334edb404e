/* Opening the root that the common options name. */
#include <stdlib.h>
#include "cli/cli.h"

int cli_open_options(const struct cli_args *args, struct lode_open_options *out)
{
    /* There is no --token: a command line is seen by every user of the machine. */
    *out = (struct lode_open_options){
        .url = cli_value(args, "url"),
        .store = cli_value(args, "store"),
        .coord = cli_value(args, "coord"),
        .context = cli_value(args, "context"),
        .cacert = cli_value(args, "cacert"),
        .fresh = cli_flag(args, "fresh"),
    };
    if ((out->store != NULL) != (out->coord != NULL))
        return cli_usage(args, "--store and --coord go together");
    if (out->url && out->store)
        return cli_usage(args, "say either --url or --store and --coord");
    return 0;
}

int cli_open(const struct cli_args *args, struct lode **out)
{
    struct lode_open_options options;
    struct lode_err err = {0};
    int status = cli_open_options(args, &options);
    if (status)
        return status;
    return lode_open(&options, out, &err) < 0 ? cli_fail(args, &err) : 0;
}
