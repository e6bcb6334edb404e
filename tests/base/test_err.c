/* Errors: every code has its name, number, status and way back; messages are set, prefixed, cut,
 * never overrun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "base/err.h"

/* The ABI: these pairs never change (new lines may be added). */
static const struct {
    int code, number;
    const char *name;
} abi[] = {
    {LODE_INVALID, -1, "invalid"},
    {LODE_NOT_FOUND, -2, "not_found"},
    {LODE_EXISTS, -3, "exists"},
    {LODE_CONFLICT, -4, "conflict"},
    {LODE_DENIED, -5, "denied"},
    {LODE_CORRUPT, -6, "corrupt"},
    {LODE_UNAVAILABLE, -7, "unavailable"},
    {LODE_TIMEOUT, -8, "timeout"},
    {LODE_NO_SPACE, -9, "no_space"},
    {LODE_LIMIT, -10, "limit"},
    {LODE_IO, -11, "io"},
    {LODE_NO_MEMORY, -12, "no_memory"},
    {LODE_CANCELLED, -13, "cancelled"},
    {LODE_UNSUPPORTED, -14, "unsupported"},
    {LODE_COMPACTED, -15, "compacted"},
    {LODE_LOST_LEASE, -16, "lost_lease"},
    {LODE_MOVED, -17, "moved"},
    {LODE_CHANGED, -18, "changed"},
    {LODE_UNAUTHENTICATED, -19, "unauthenticated"},
    {LODE_BEHIND, -20, "behind"},
    {LODE_HELD, -21, "held"},
    {LODE_READ_ONLY, -22, "read_only"},
    {LODE_SCHEMA, -23, "schema"},
    {LODE_INTERNAL, -24, "internal"},
    {LODE_PRECONDITION, -25, "precondition"},
};

static void codes_keep_their_numbers_and_names(void **state)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(abi); i++) {
        assert_int_equal(abi[i].code, abi[i].number);
        assert_string_equal(lode_code_name(abi[i].code), abi[i].name);
        assert_int_equal(lode_code_of_name(abi[i].name), abi[i].code);
        assert_true(lode_code_http(abi[i].code) >= 400);
        assert_true(strlen(lode_code_text(abi[i].code)) > 3);
    }
    assert_string_equal(lode_code_name(0), "ok");
    assert_string_equal(lode_code_name(-999), "internal");
    assert_string_equal(lode_code_name(5), "internal");
    assert_int_equal(lode_code_of_name("no such"), LODE_INTERNAL);
    assert_int_equal(lode_code_of_name(""), LODE_INTERNAL);
}

static void a_status_alone_still_tells(void **state)
{
    assert_int_equal(lode_code_of_http(200), 0);
    assert_int_equal(lode_code_of_http(404), LODE_NOT_FOUND);
    assert_int_equal(lode_code_of_http(401), LODE_UNAUTHENTICATED);
    assert_int_equal(lode_code_of_http(429), LODE_UNAVAILABLE);
    assert_int_equal(lode_code_of_http(302), LODE_IO);
    assert_int_equal(lode_code_of_http(500), LODE_IO);
    assert_true(lode_code_is_transient(lode_code_of_http(503)));
    assert_false(lode_code_is_transient(LODE_IO));
}

static void errno_becomes_code_and_reason(void **state)
{
    struct lode_err err;
    errno = ENOSPC;
    assert_int_equal(lode_err_sys(&err, "cannot write %s", "x"), LODE_NO_SPACE);
    assert_string_equal(err.text, "cannot write x: No space left on device");
    assert_int_equal(err.sys, ENOSPC);
    assert_int_equal(lode_err_num(&err, -ECANCELED, "read"), LODE_CANCELLED);
    assert_int_equal(lode_err_num(NULL, EROFS, "write"), LODE_READ_ONLY);
    assert_int_equal(lode_code_of_errno(EIO), LODE_IO);
    assert_int_equal(lode_code_of_errno(EMFILE), LODE_LIMIT);
    assert_int_equal(lode_code_of_errno(EEXIST), LODE_EXISTS);
}

static void messages_are_prefixed_and_cut(void **state)
{
    struct lode_err err;
    assert_int_equal(lode_err_set(&err, LODE_EXISTS, "version %d is there", 3), LODE_EXISTS);
    assert_int_equal(lode_err_prefix(&err, "cannot push %s", "rank"), LODE_EXISTS);
    assert_string_equal(err.text, "cannot push rank: version 3 is there");
    lode_err_set(&err, LODE_IO, "again: %s", err.text); /* its own text as argument */
    assert_string_equal(err.text, "again: cannot push rank: version 3 is there");

    char longest[4000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    lode_err_set(&err, LODE_IO, "%s", longest);
    assert_int_equal(strlen(err.text), LODE_ERR_TEXT_MAX - 1);
    lode_err_prefix(&err, "%s", longest);
    assert_int_equal(strlen(err.text), LODE_ERR_TEXT_MAX - 1);
    errno = EIO;
    lode_err_sys(&err, "%s", longest);
    assert_int_equal(strlen(err.text), LODE_ERR_TEXT_MAX - 1);
    lode_err_clear(&err);
    assert_int_equal(err.code, 0);
    assert_int_equal(lode_err_set(NULL, LODE_IO, "nobody listens"), LODE_IO);
    assert_int_equal(lode_err_prefix(NULL, "nobody"), LODE_INTERNAL); /* a failure stays one */
    lode_err_clear(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_keep_their_numbers_and_names),
        cmocka_unit_test(a_status_alone_still_tells),
        cmocka_unit_test(errno_becomes_code_and_reason),
        cmocka_unit_test(messages_are_prefixed_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
