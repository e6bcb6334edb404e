/* Ranges, entity tags and percent-decoding: the pure parts of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "server/download.h"
#include "server/srv.h"

static void check(const char *header, uint64_t size, enum srv_range want, uint64_t offset,
                  uint64_t length)
{
    uint64_t o = 0, l = 0;
    enum srv_range got = srv_range_parse(header, size, &o, &l);
    if (got != want || (want == SRV_RANGE_OK && (o != offset || l != length)))
        print_error("%s of %llu\n", header ? header : "(none)", (unsigned long long)size);
    assert_int_equal(got, want);
    if (want == SRV_RANGE_OK) {
        assert_int_equal(o, offset);
        assert_int_equal(l, length);
    }
}

static void ranges(void **state)
{
    check(NULL, 10, SRV_RANGE_NONE, 0, 0);
    check("bytes=0-0", 10, SRV_RANGE_OK, 0, 1);
    check("bytes=0-9", 10, SRV_RANGE_OK, 0, 10);
    check("bytes=3-5", 10, SRV_RANGE_OK, 3, 3);
    check("BYTES=3-", 10, SRV_RANGE_OK, 3, 7);
    check("bytes=3-100", 10, SRV_RANGE_OK, 3, 7);
    check("bytes=-3", 10, SRV_RANGE_OK, 7, 3);
    check("bytes=-30", 10, SRV_RANGE_OK, 0, 10);
    check("bytes=10-", 10, SRV_RANGE_BEYOND, 0, 0);
    check("bytes=10-20", 10, SRV_RANGE_BEYOND, 0, 0);
    check("bytes=-0", 10, SRV_RANGE_BEYOND, 0, 0);
    check("bytes=0-", 0, SRV_RANGE_BEYOND, 0, 0);
    check("bytes=-5", 0, SRV_RANGE_BEYOND, 0, 0);
    check("bytes=5-3", 10, SRV_RANGE_NONE, 0, 0);
    check("bytes=0-1,3-4", 10, SRV_RANGE_NONE, 0, 0);
    check("bytes=a-b", 10, SRV_RANGE_NONE, 0, 0);
    check("bytes=-", 10, SRV_RANGE_NONE, 0, 0);
    check("bytes=", 10, SRV_RANGE_NONE, 0, 0);
    check("items=0-1", 10, SRV_RANGE_NONE, 0, 0);
    check("bytes=0-18446744073709551615", 10, SRV_RANGE_OK, 0, 10);
    check("bytes=0-18446744073709551616", 10, SRV_RANGE_NONE, 0, 0);
    check("bytes=18446744073709551616-", 10, SRV_RANGE_NONE, 0, 0);
}

static void etags(void **state)
{
    assert_true(srv_etag_listed("*", "\"a\"", false));
    assert_true(srv_etag_listed("\"a\"", "\"a\"", false));
    assert_true(srv_etag_listed("\"x\", \"a\"", "\"a\"", false));
    assert_true(srv_etag_listed("W/\"x\",W/\"a\"", "\"a\"", true));
    assert_false(srv_etag_listed("W/\"a\"", "\"a\"", false));
    assert_false(srv_etag_listed("\"ab\"", "\"a\"", true));
    assert_false(srv_etag_listed("a", "\"a\"", true));
    assert_false(srv_etag_listed("\"a", "\"a\"", true));
    assert_false(srv_etag_listed("", "\"a\"", true));
}

static bool decodes(const char *from, const char *to)
{
    char text[64];
    size_t len = strlen(from);
    memcpy(text, from, len + 1);
    return srv_percent_decode(text, &len) && strcmp(text, to) == 0 && len == strlen(to);
}

static void percent(void **state)
{
    assert_true(decodes("a%20b", "a b"));
    assert_true(decodes("%252F", "%2F"));
    assert_true(decodes("%c3%A9", "\xc3\xa9"));
    assert_false(decodes("%00", ""));
    assert_false(decodes("a%0", "a"));
    assert_false(decodes("%", ""));
    assert_false(decodes("%zz", ""));
    assert_false(decodes("%ff", "\xff"));
}

static bool splits(const char *url)
{
    struct srv_request request = {0};
    bool good = srv_path_split(&request, url, NULL) == 0;
    lode_free(request.text);
    return good;
}

static void paths(void **state)
{
    assert_true(splits("/v1/models/_/a"));
    assert_true(splits("/v1/models/_/a%252Fb"));
    assert_false(splits("/v1/models/_/a%2Fb"));
    assert_false(splits("/v1/models/_/a%2fb"));
    assert_false(splits("/v1/models/_/a%00b"));
    assert_false(splits("v1"));
    assert_false(splits("/%e9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(etags),
        cmocka_unit_test(percent),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
