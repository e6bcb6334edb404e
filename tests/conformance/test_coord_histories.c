/* Histories of concurrent clients are linearizable, on every coord. LODE_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include "conformance/coord_suite.h"

static void mem_with_threads(void **state)
{
    coord_suite_histories(&coord_suite_mem, 10, false);
}

static void sqlite_with_threads(void **state)
{
    coord_suite_histories(&coord_suite_sqlite, 8, false);
}

static void sqlite_with_processes(void **state)
{
    coord_suite_histories(&coord_suite_sqlite, 6, true);
}

static int done(void **state)
{
    coord_suite_mem.done(coord_suite_mem.arg);
    coord_suite_sqlite.done(coord_suite_sqlite.arg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mem_with_threads),
        cmocka_unit_test(sqlite_with_threads),
        cmocka_unit_test(sqlite_with_processes),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
