/* Buffers: the maximum is a maximum, the error is sticky, what was added before it stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "support/fault_sys.h"

static void builds_text(void **state)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(100);
    assert_string_equal(lode_buf_str(&b), "");
    lode_buf_adds(&b, "version ");
    lode_buf_addf(&b, "%d of %s", 7, "rank");
    lode_buf_addc(&b, '!');
    assert_string_equal(lode_buf_str(&b), "version 7 of rank!");
    assert_int_equal(b.len, 18);
    lode_buf_drop_front(&b, 8);
    assert_string_equal(lode_buf_str(&b), "7 of rank!");
    assert_int_equal(lode_buf_check(&b, "text", NULL), 0);
}

static void stops_at_its_maximum(void **state)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(10);
    struct lode_err err = {0};
    lode_buf_adds(&b, "0123456789");
    assert_int_equal(lode_buf_check(&b, "text", &err), 0);
    lode_buf_addc(&b, 'x');
    lode_buf_add(&b, NULL, 0);
    assert_int_equal(lode_buf_check(&b, "the reply", &err), LODE_LIMIT);
    assert_string_equal(err.text, "the reply is over its limit of 10 bytes");
    assert_string_equal(lode_buf_str(&b), "0123456789");
    assert_null(lode_buf_steal(&b));
    assert_null(lode_buf_reserve(&b, SIZE_MAX));
    lode_buf_clear(&b);
    lode_buf_addf(&b, "%s", "0123456789a");
    assert_int_equal(b.failed, LODE_LIMIT);
    assert_int_equal(b.len, 0);
}

static void large_requests_do_not_wrap(void **state)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(SIZE_MAX);
    lode_buf_adds(&b, "x");
    assert_null(lode_buf_reserve(&b, SIZE_MAX));
    assert_int_equal(b.failed, LODE_LIMIT);
    assert_string_equal(lode_buf_str(&b), "x");
}

static void steals_leave_an_empty_buffer(void **state)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(10);
    _cleanup_free_ char *nothing = lode_buf_steal(&b);
    assert_string_equal(nothing, "");
    lode_buf_adds(&b, "abc");
    _cleanup_free_ char *text = lode_buf_steal(&b);
    assert_string_equal(text, "abc");
    assert_int_equal(b.len, 0);
    lode_buf_adds(&b, "0123456789");
    assert_int_equal(b.failed, 0);
}

static void survives_lost_memory(void **state)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(1000);
    lode_buf_adds(&b, "kept");
    fault_install();
    fault_fail(FAULT_MALLOC, 1, ENOMEM, FAULT_ONCE);
    for (int i = 0; i < 100; i++)
        lode_buf_adds(&b, "0123456789"); /* the one failure sticks */
    fault_uninstall();
    assert_int_equal(lode_buf_check(&b, "text", NULL), LODE_NO_MEMORY);
    assert_memory_equal(lode_buf_str(&b), "kept", 4);
    assert_true(b.len < 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_text),
        cmocka_unit_test(stops_at_its_maximum),
        cmocka_unit_test(large_requests_do_not_wrap),
        cmocka_unit_test(steals_leave_an_empty_buffer),
        cmocka_unit_test(survives_lost_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
