/* The command table: a new command is one file and one line here. */
#include "cli/cli.h"

/* clang-format off */
#define COMMANDS(X)                                                                                \
    X(init) X(push) X(pull) X(cat) X(load) X(ls) X(show)                                           \
    X(tag) X(metric)                                                                               \
    X(alias_ls) X(alias_set) X(alias_rm) X(alias_log) X(promote) X(rollback)                       \
    X(log) X(watch) X(diff) X(verify) X(rm) X(restore) X(gc)                                       \
    X(doctor) X(backup) X(recover)                                                                 \
    X(serve) X(token_add) X(token_ls) X(token_rm)                                                  \
    X(config_ls) X(config_set) X(config_rm) X(config_use)                                          \
    X(version) X(help)
/* clang-format on */

#define DECLARE(name) extern const struct cli_command cli_cmd_##name;
COMMANDS(DECLARE)
#undef DECLARE

#define ROW(name) &cli_cmd_##name,
const struct cli_command *const cli_commands[] = {COMMANDS(ROW) NULL};
#undef ROW
