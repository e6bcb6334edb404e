/* The coord suite on sqlite. */
#include <pthread.h>
#include "conformance/coord_suite.h"

int main(void)
{
    return coord_suite_run(&coord_suite_sqlite);
}
