/* Test support: see tests/support/support.h. */
#include "support/support.h"
#include <stdio.h>
#include <stdlib.h>

_Noreturn void lode_test_skip(const char *why)
{
    fprintf(stderr, "SKIPPED: %s\n", why);
    exit(77);
}
