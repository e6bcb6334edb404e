/* Times and durations: what is written is read back, what is wrong is refused, and the clock is the
 * table's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/clock.h"
#include "base/sys.h"

static int64_t parsed(const char *s)
{
    int64_t ms = -1;
    struct lode_err err;
    if (lode_time_parse(s, &ms, &err) < 0)
        fail_msg("%s: %s", s, err.text);
    return ms;
}

static void reads_rfc3339(void **state)
{
    assert_int_equal(parsed("1970-01-01"), 0);
    assert_int_equal(parsed("2026-03-03T12:00Z"), 1772539200000);
    assert_int_equal(parsed("2026-03-03t12:00:00z"), 1772539200000);
    assert_int_equal(parsed("2026-03-03 13:30:00.25+01:30"), 1772539200250);
    assert_int_equal(parsed("2026-03-03T11:59:59.9999-00:00"), 1772539199999);
    assert_int_equal(parsed("2024-02-29"), 1709164800000);
    assert_int_equal(parsed("2016-12-31T23:59:60Z"), 1483228800000); /* a leap second */
    assert_int_equal(parsed("1969-12-31T23:59:59.999Z"), -1);
}

static void refuses_what_is_no_time(void **state)
{
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-3-3",
                                      "2026-13-01",
                                      "2026-00-01",
                                      "2026-02-29",
                                      "2026-04-31",
                                      "2026-03-03T",
                                      "2026-03-03T12",
                                      "2026-03-03T12:00",
                                      "2026-03-03T24:00Z",
                                      "2026-03-03T12:60Z",
                                      "2026-03-03T12:00:61Z",
                                      "2026-03-03T12:00:00.Z",
                                      "2026-03-03T12:00+1:00",
                                      "2026-03-03T12:00+24:00",
                                      "2026-03-03T12:00Zx",
                                      " 2026-03-03",
                                      "2026-03-03 ",
                                      "-026-03-03",
                                      "yesterday"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++) {
        int64_t ms = 42;
        if (lode_time_parse(bad[i], &ms, NULL) != LODE_INVALID)
            fail_msg("'%s' was read as %lld", bad[i], (long long)ms);
        assert_int_equal(ms, 42);
    }
}

static void writes_what_it_reads(void **state)
{
    static const int64_t times[] = {
        0, -1, 1, 999, 1000, 1772539200123, 253402300799999, -30610224000000};
    char text[LODE_TIME_TEXT];
    for (size_t i = 0; i < LODE_ARRAY_LEN(times); i++)
        assert_int_equal(parsed(lode_time_rfc3339(times[i], text)), times[i]);
    assert_string_equal(lode_time_rfc3339(1772539200123, text), "2026-03-03T12:00:00.123Z");
    assert_string_equal(lode_time_rfc3339(parsed("0506-01-02T03:04Z"), text),
                        "0506-01-02T03:04:00.000Z");
    int64_t beyond;
    assert_int_equal(lode_time_parse("9999-12-31T23:59-00:01", &beyond, NULL), LODE_INVALID);
    assert_int_equal(lode_time_parse("0000-01-01T00:00+00:01", &beyond, NULL), LODE_INVALID);
    assert_string_equal(lode_time_version(1772539200123, text), "20260303T120000Z");
}

static void reads_durations(void **state)
{
    int64_t ms;
    assert_int_equal(lode_duration_parse("500ms", &ms, NULL), 0);
    assert_int_equal(ms, 500);
    assert_int_equal(lode_duration_parse("2m", &ms, NULL), 0);
    assert_int_equal(ms, 120000);
    assert_int_equal(lode_duration_parse("7d", &ms, NULL), 0);
    assert_int_equal(ms, 604800000);
    static const char *const bad[] = {"",
                                      "5",
                                      "s",
                                      "-5s",
                                      "+5s",
                                      " 5s",
                                      "5 s",
                                      "5S",
                                      "5sec",
                                      "1.5s",
                                      "99999999999999999999s",
                                      "106751991168d"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++)
        assert_int_equal(lode_duration_parse(bad[i], &ms, NULL), LODE_INVALID);
}

static int fixed_clock(clockid_t clock, struct timespec *ts)
{
    *ts = (struct timespec){.tv_sec = clock == CLOCK_REALTIME ? 100 : 7, .tv_nsec = 5999999};
    return 0;
}

static void reads_the_clock_of_the_table(void **state)
{
    struct lode_sys table = lode_sys_real;
    table.clock_gettime = fixed_clock;
    lode_sys = &table;
    int64_t now = lode_now_ms(), boot = lode_boot_ms();
    uint64_t mono = lode_mono_ns();
    lode_sys = &lode_sys_real;
    assert_int_equal(now, 100005);
    assert_int_equal(boot, 7005);
    assert_int_equal(mono, 7005999999u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_rfc3339),
        cmocka_unit_test(refuses_what_is_no_time),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(reads_durations),
        cmocka_unit_test(reads_the_clock_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
