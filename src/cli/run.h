/* Runs a command line as the process would: parse, run, flush, exit status. */
#pragma once

int cli_main(int argc, char **argv);
