/* The binary's entrance: everything else is in the table (cli.h), so that tests can link it. */
#include "cli/run.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
