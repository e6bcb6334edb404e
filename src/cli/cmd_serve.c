/* lode serve: the library behind HTTP. */
#include <stdlib.h>
#include "base/mem.h"
#include "cli/cli.h"
#include "server/server.h"

static void ready(void *arg, const char *url)
{
    const struct cli_args *args = arg;
    if (cli_json(args))
        cli_print_json(json_pack("{s:s}", "url", url));
    else
        printf(cli_quiet(args) ? "%s\n" : "serving at %s; Ctrl-C ends it\n", url);
    fflush(stdout);
}

static int numbers(const struct cli_args *args, struct lode_serve_options *o)
{
    const struct {
        const char *name;
        unsigned *out;
    } all[] = {
        {"threads", &o->threads}, {"workers", &o->workers}, {"connections", &o->connections}};
    int status = 0;
    for (size_t i = 0; i < LODE_ARRAY_LEN(all) && !status; i++) {
        uint32_t n = 0;
        status = cli_number(args, all[i].name, 1000000, &n);
        *all[i].out = n;
    }
    return status;
}

static int run(const struct cli_args *args)
{
    struct lode_open_options root;
    struct lode_err err = {0};
    size_t n;
    int status = cli_open_options(args, &root);
    struct lode_serve_options o = {
        .root = &root,
        .listen = cli_value(args, "listen"),
        .cert = cli_value(args, "tls-cert"),
        .key = cli_value(args, "tls-key"),
        .plain_http = cli_flag(args, "plain-http"),
        .access_log = cli_value(args, "access-log"),
        .ready = ready,
        .arg = (void *)(uintptr_t)args,
    };
    if (!status)
        status = numbers(args, &o);
    if (status)
        return status;
    root.create = true;
    o.hosts = cli_values(args, "host", &n);
    o.origins = cli_values(args, "origin", &n);
    if (lode_serve(&o, &err) < 0)
        status = cli_fail(args, &err);
    lode_free((void *)(uintptr_t)o.hosts);
    lode_free((void *)(uintptr_t)o.origins);
    return status;
}

static const struct cli_option options[] = {
    {"listen", 'l', CLI_VALUE, "HOST:PORT",
     "where to listen (127.0.0.1:7740; port 0: any free one)"},
    {"tls-cert", 0, CLI_VALUE, "FILE", "speak TLS with this certificate (PEM)"},
    {"tls-key", 0, CLI_VALUE, "FILE", "and this key (PEM)"},
    {"plain-http", 0, CLI_FLAG, NULL,
     "listen beyond loopback without TLS: a proxy in front does that"},
    {"access-log", 0, CLI_VALUE, "FILE", "one line a request; - for stderr"},
    {"host", 0, CLI_LIST, "NAME", "one more name that clients may call it by"},
    {"origin", 0, CLI_LIST, "URL", "a web page's origin that may call it"},
    {"threads", 0, CLI_VALUE, "N", "event threads (one a processor)"},
    {"workers", 0, CLI_VALUE, "N", "threads for disks (32)"},
    {"connections", 0, CLI_VALUE, "N", "connections at once (8192)"},
    {0},
};

const struct cli_command cli_cmd_serve = {
    .name = "serve",
    .args = "",
    .max_args = 0,
    .run = run,
    .options = options,
    .summary = "serve a root over HTTP",
    .text = "Clients say --url http://HOST:PORT and use every command as before. Beyond loopback "
            "it needs a\n"
            "token ('lode token add') and TLS.\n\nExample:\n  lode serve --url /srv/models "
            "--listen 0.0.0.0:7740 --tls-cert c.pem --tls-key k.pem",
};
