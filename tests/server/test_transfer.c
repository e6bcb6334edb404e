/* Bytes through the server: downloads whole and by ranges, conditions, damage; uploads in any
 * order, finished, repeated, abandoned, taken over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include "support/root.h"
#include "support/serving.h"

#define BIG (3 * 1048576 + 12345)
#define FILES "/v1/models/_/m/versions/v1/files/"

static struct serving s;
static char *big;

static int setup(void **state)
{
    s = serving_start(NULL, true);
    const char *from = root_path("source/big.bin");
    size_t len;
    root_fill(from, BIG, 7);
    big = root_read(from, &len);
    root_write(root_path("source/dir/small"), "hello", 5);
    root_write(root_path("source/empty"), "", 0);
    struct lode_err err = {0};
    root_ok(root_push(s.lode, "m", root_path("source"), "v1", NULL, &err), &err);
    return 0;
}

static int teardown(void **state)
{
    serving_stop(&s);
    free(big);
    return 0;
}

static void check_range(const char *range, int status, size_t offset, size_t len)
{
    char line[128];
    snprintf(line, sizeof line, "Range: %s\r\n", range);
    struct answer a = serving_ask(&s, "GET", FILES "big.bin", range ? line : NULL, NULL, 0);
    assert_int_equal(a.status, status);
    if (status < 300) {
        assert_int_equal(a.len, len);
        assert_memory_equal(a.body, big + offset, len);
    }
    if (status == 206) {
        char want[100];
        snprintf(want, sizeof want, "bytes %zu-%zu/%d", offset, offset + len - 1, BIG);
        assert_string_equal(answer_header(&a, "Content-Range"), want);
    }
    answer_release(&a);
}

static void check_ranges(void)
{
    check_range("none", 200, 0, BIG);
    check_range("bytes=0-0", 206, 0, 1);
    check_range("bytes=0-1048575", 206, 0, 1048576);
    check_range("bytes=1048575-1048576", 206, 1048575, 2);
    check_range("bytes=1000-3000000", 206, 1000, 2999001);
    check_range("bytes=-5", 206, BIG - 5, 5);
    check_range("bytes=3145728-", 206, 3145728, 12345);
    check_range("bytes=0-99999999", 206, 0, BIG);
    check_range("bytes=99999999-", 416, 0, 0);
}

/* Makes a stored file old enough for its check to be remembered. */
static void settle(const char *path)
{
    struct timeval old[2] = {{.tv_sec = 1600000000}, {.tv_sec = 1600000000}};
    assert_int_equal(utimes(path, old), 0);
    sleep(3); /* its ctime cannot be set */
}

static void downloads(void **state)
{
    check_ranges(); /* checked as they go: the file is fresh */
    struct answer a = serving_ask(&s, "GET", FILES "big.bin", NULL, NULL, 0);
    assert_string_equal(answer_header(&a, "Repr-Digest"), "");
    answer_release(&a);
    char path[1024];
    snprintf(path, sizeof path, "%s/models/m/v1/big.bin", s.dir);
    settle(path);
    check_ranges();
    check_ranges(); /* by sendfile now */
    a = serving_ask(&s, "GET", FILES "big.bin", NULL, NULL, 0);
    assert_int_equal(strncmp(answer_header(&a, "Repr-Digest"), "sha-256=:", 9), 0);
    answer_release(&a);
    a = serving_ask(&s, "GET", FILES "dir/small", NULL, NULL, 0);
    assert_string_equal(a.body, "hello");
    answer_release(&a);
    a = serving_ask(&s, "GET", FILES "empty", NULL, NULL, 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.len, 0);
    answer_release(&a);
    a = serving_ask(&s, "GET", FILES "dir", NULL, NULL, 0);
    assert_int_equal(a.status, 404);
    answer_release(&a);
}

static int status_with(const char *path, const char *headers)
{
    struct answer a = serving_ask(&s, "GET", path, headers, NULL, 0);
    int status = a.status;
    answer_release(&a);
    return status;
}

static void conditions(void **state)
{
    char tag[200], line[300];
    struct answer a = serving_ask(&s, "GET", FILES "dir/small", NULL, NULL, 0),
                  b = serving_ask(&s, "GET", FILES "empty", NULL, NULL, 0);
    snprintf(tag, sizeof tag, "%s", answer_header(&a, "ETag"));
    assert_int_equal(strlen(tag), 66);
    assert_string_not_equal(tag, answer_header(&b, "ETag"));
    answer_release(&a);
    answer_release(&b);
    snprintf(line, sizeof line, "If-None-Match: %s\r\n", tag);
    assert_int_equal(status_with(FILES "dir/small", line), 304);
    assert_int_equal(status_with(FILES "empty", line), 200);
    snprintf(line, sizeof line, "If-None-Match: \"x\", W/%s\r\n", tag);
    assert_int_equal(status_with(FILES "dir/small", line), 304);
    snprintf(line, sizeof line, "If-Match: %s\r\n", tag);
    assert_int_equal(status_with(FILES "dir/small", line), 200);
    assert_int_equal(status_with(FILES "empty", line), 412);
    snprintf(line, sizeof line, "If-Range: %s\r\nRange: bytes=1-2\r\n", tag);
    assert_int_equal(status_with(FILES "dir/small", line), 206);
    assert_int_equal(status_with(FILES "empty", line), 200);
    a = serving_ask(&s, "GET", "/v1/models/_/m/versions/latest/manifest", NULL, NULL, 0);
    assert_int_equal(a.status, 200);
    snprintf(line, sizeof line, "If-None-Match: %s\r\n", answer_header(&a, "ETag"));
    assert_int_equal(status_with("/v1/models/_/m/versions/v1/manifest", line), 304);
    answer_release(&a);
}

static void revisions(void **state)
{
    char line[64];
    struct answer a = serving_ask(&s, "GET", "/v1/root", NULL, NULL, 0);
    unsigned long now = strtoul(answer_header(&a, "Lode-Revision"), NULL, 10);
    answer_release(&a);
    assert_true(now > 0);
    snprintf(line, sizeof line, "Lode-Revision: %lu\r\n", now);
    assert_int_equal(status_with("/v1/models/_/m/versions/v1", line), 200);
    snprintf(line, sizeof line, "Lode-Revision: %lu\r\n", now + 1000);
    a = serving_ask(&s, "GET", "/v1/models/_/m/versions/v1", line, NULL, 0);
    assert_int_equal(a.status, 503);
    assert_string_equal(answer_code(&a), "behind");
    answer_release(&a);
    assert_int_equal(status_with("/v1/root", "Lode-Revision: x\r\n"), 400);
}

static void damage(void **state)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/models/m/v1/big.bin", s.dir);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "damage", 6, 2 * 1048576 + 77), 6);
    close(fd);
    struct answer a = serving_ask(&s, "GET", FILES "big.bin", NULL, NULL, 0);
    assert_true(a.len <= 2 * 1048576); /* no byte of the damaged block */
    assert_true(a.len == 0 || memcmp(a.body, big, a.len) == 0);
    answer_release(&a);
    check_range("bytes=0-1048575", 206, 0, 1048576);
    assert_int_equal(truncate(path, 100), 0);
    a = serving_ask(&s, "GET", FILES "big.bin", NULL, NULL, 0);
    assert_int_equal(a.status, 500);
    assert_string_equal(answer_code(&a), "corrupt");
    answer_release(&a);
}

/* ---- uploads ---- */

struct up {
    char id[40], version[140], files[128];
    unsigned long attempt;
};

static struct up stage(const char *body)
{
    struct up u = {0};
    json_t *doc = serving_json(&s, "POST", "/v1/models/_/up/attempts", body, 201);
    snprintf(u.id, sizeof u.id, "%s", json_string_value(json_object_get(doc, "id")));
    snprintf(u.version, sizeof u.version, "%s", json_string_value(json_object_get(doc, "version")));
    snprintf(u.files, sizeof u.files, "%s", json_string_value(json_object_get(doc, "files_url")));
    u.attempt = (unsigned long)json_integer_value(json_object_get(doc, "attempt"));
    json_decref(doc);
    return u;
}

static int put(const struct up *u, const char *path, unsigned part, const void *data, size_t len)
{
    char url[400];
    snprintf(url, sizeof url, "%s/%s?part=%u&part_size=1048576&mode=755", u->files, path, part);
    struct answer a = serving_ask(&s, "PUT", url, NULL, data, len);
    int status = a.status;
    answer_release(&a);
    return status;
}

static int complete(const struct up *u, const char *path, size_t size)
{
    char url[400];
    snprintf(url, sizeof url, "%s/%s?complete&size=%zu&if_absent=1", u->files, path, size);
    struct answer a = serving_ask(&s, "POST", url, NULL, NULL, 0);
    int status = a.status;
    answer_release(&a);
    return status;
}

static struct answer finish(const struct up *u, const char *body)
{
    char url[128];
    snprintf(url, sizeof url, "/v1/attempts/%s/finish", u->id);
    return serving_ask(&s, "POST", url, "Content-Type: application/json\r\n", body, strlen(body));
}

static void uploads(void **state)
{
    struct up u = stage("{\"version\":\"u1\",\"aliases\":[\"prod\"],\"tags\":{\"k\":\"v\"},"
                        "\"metrics\":{\"auc\":0.5},\"why\":\"because\"}");
    assert_int_equal(put(&u, "big.bin", 2, big + 2 * 1048576, 1048576), 204);
    assert_int_equal(put(&u, "big.bin", 0, big, 1048576), 204);
    assert_int_equal(put(&u, "big.bin", 1, "wrong", 5), 204);
    assert_int_equal(complete(&u, "big.bin", BIG), 400);
    assert_int_equal(status_with("/v1/models/_/up/versions/u1", NULL), 404);
    u = stage("{\"version\":\"u2\"}");
    for (unsigned i = 4; i-- > 0;)
        assert_int_equal(
            put(&u, "x/big.bin", i, big + i * 1048576, i == 3 ? BIG - 3 * 1048576 : 1048576), 204);
    assert_int_equal(put(&u, "../evil", 0, "x", 1), 400);
    assert_int_equal(put(&u, "_lode/manifest", 0, "x", 1), 400);
    struct answer early = finish(&u, "{}");
    assert_int_equal(early.status, 400);
    answer_release(&early);
    assert_int_equal(complete(&u, "x/big.bin", BIG), 200);
    assert_int_equal(complete(&u, "empty", 0), 200);
    assert_int_equal(complete(&u, "none", 5), 400);
    struct answer a = finish(
        &u, "{\"content\":\"0000000000000000000000000000000000000000000000000000000000000000\"}");
    assert_int_equal(a.status, 500);
    assert_string_equal(answer_code(&a), "corrupt");
    answer_release(&a);
    a = finish(&u, "{}");
    assert_int_equal(a.status, 200);
    struct answer again = finish(&u, "{}");
    assert_int_equal(again.status, 200);
    assert_string_equal(a.body, again.body);
    answer_release(&a);
    answer_release(&again);
    assert_int_equal(put(&u, "late", 0, "x", 1), 409);
    struct answer back =
        serving_ask(&s, "GET", "/v1/models/_/up/versions/u2/files/x/big.bin", NULL, NULL, 0);
    assert_int_equal(back.len, BIG);
    assert_memory_equal(back.body, big, BIG);
    answer_release(&back);
    /* the library beside the server agrees about every byte */
    struct lode_err err = {0};
    char *json;
    root_ok(lode_verify(s.lode, "up@u2", NULL, &json, &err), &err);
    assert_non_null(strstr(json, "\"clean\":true"));
    lode_string_free(json);
}

static void abandoned(void **state)
{
    struct up u = stage("{\"tags\":{\"none\":null},\"metrics\":{\"none\":null}}");
    char url[128];
    assert_int_equal(put(&u, "a", 0, "x", 1), 204);
    snprintf(url, sizeof url, "/v1/attempts/%s", u.id);
    struct answer a = serving_ask(&s, "DELETE", url, NULL, NULL, 0);
    assert_int_equal(a.status, 204);
    answer_release(&a);
    assert_int_equal(put(&u, "a", 0, "x", 1), 409);
    a = serving_ask(&s, "GET", url, NULL, NULL, 0);
    assert_int_equal(a.status, 409);
    assert_string_equal(answer_code(&a), "lost_lease");
    answer_release(&a);
}

/* A client that comes back for its upload shuts the one before out and sees what is there. */
static void taken_over(void **state)
{
    struct up u = stage("{\"version\":\"t1\"}");
    char body[300], url[300];
    assert_int_equal(put(&u, "a", 0, big, 1048576), 204);
    assert_int_equal(put(&u, "b", 0, "x", 1), 204);
    assert_int_equal(complete(&u, "b", 1), 200);
    snprintf(body, sizeof body,
             "{\"version\":\"t1\",\"resume\":{\"version\":\"t1\",\"attempt\":%lu}}", u.attempt);
    struct up v = stage(body);
    assert_string_not_equal(u.id, v.id);
    assert_int_equal(v.attempt, u.attempt);
    assert_int_equal(put(&u, "a", 1, "x", 1), 409);
    snprintf(url, sizeof url, "%s/a?parts", v.files);
    json_t *parts = serving_json(&s, "GET", url, NULL, 200);
    assert_int_equal(json_array_size(json_object_get(parts, "parts")), 1);
    json_decref(parts);
    snprintf(url, sizeof url, "%s/b", v.files);
    struct answer a = serving_ask(&s, "HEAD", url, NULL, NULL, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Content-Length"), "1");
    answer_release(&a);
    assert_int_equal(status_with(url, NULL), 403);
    assert_int_equal(put(&v, "a", 1, "x", 1), 204);
    assert_int_equal(complete(&v, "a", 1048577), 200);
    a = finish(&v, "{}");
    assert_int_equal(a.status, 200);
    answer_release(&a);
}

/* Two uploads of one name: one wins, the other is told. */
static void one_wins(void **state)
{
    struct up u = stage("{\"version\":\"race\"}");
    struct answer a =
        serving_ask(&s, "POST", "/v1/models/_/up/attempts", "Content-Type: application/json\r\n",
                    "{\"version\":\"race\"}", 18);
    assert_true(a.status == 201 || a.status == 409);
    answer_release(&a);
    assert_int_equal(put(&u, "a", 0, "x", 1), 204);
    assert_int_equal(complete(&u, "a", 1), 200);
    a = finish(&u, "{}");
    assert_int_equal(a.status, 200);
    answer_release(&a);
    a = serving_ask(&s, "POST", "/v1/models/_/up/attempts", "Content-Type: application/json\r\n",
                    "{\"version\":\"race\"}", 18);
    assert_int_equal(a.status, 409);
    assert_string_equal(answer_code(&a), "exists");
    answer_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(downloads), cmocka_unit_test(conditions), cmocka_unit_test(revisions),
        cmocka_unit_test(uploads),   cmocka_unit_test(abandoned),  cmocka_unit_test(taken_over),
        cmocka_unit_test(one_wins),  cmocka_unit_test(damage),
    };
    root_scratch();
    return cmocka_run_group_tests(tests, setup, teardown);
}
