/* The coord suite on mem. */
#include <pthread.h>
#include "conformance/coord_suite.h"

int main(void)
{
    return coord_suite_run(&coord_suite_mem);
}
