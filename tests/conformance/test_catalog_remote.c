/* The catalog's suite on the remote catalog, against a real server in this process over sqlite and
 * posix. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "conformance/catalog_suite.h"
#include "support/root.h"
#include "support/serving.h"

static struct serving served;

static void done(void *arg)
{
    if (served.server)
        serving_stop(&served);
    served = (struct serving){0};
}

static void fresh(void *arg)
{
    done(arg);
    served = serving_start(NULL, true);
}

static struct lode_catalog *open_client(void *arg)
{
    struct lode_err err = {0};
    struct lode_catalog *catalog = NULL;
    const struct lode_remote_config config = {.url = lode_server_url(served.server),
                                              .token = served.token};
    if (lode_catalog_remote(&config, &catalog, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return catalog;
}

static void close_client(void *arg, struct lode_catalog *catalog)
{
    lode_catalog_close(catalog);
}

int main(void)
{
    static const struct catalog_suite suite = {.name = "catalog: remote",
                                               .fresh = fresh,
                                               .open = open_client,
                                               .close = close_client,
                                               .done = done};
    root_scratch();
    return catalog_suite_run(&suite);
}
