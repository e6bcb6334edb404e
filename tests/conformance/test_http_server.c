/* The http store against the real server: an upload attempt's base, then the committed
 * version's. What both sides agreed on is docs/formats/http-store.md. */
#include "conformance/store_suite_impl.h"
#include <lode/lode.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/json.h"
#include "base/mem.h"
#include "io/http.h"
#include "server/server.h"

#define PART (1u << 20)
#define BIG ((9u << 20) + 777)

struct rig {
    char dir[64];
    struct lode_server *server;
    struct lode_http *http;
};

static int set_up(void **state)
{
    struct rig *rig = lode_zalloc(sizeof *rig);
    snprintf(rig->dir, sizeof rig->dir, "%s/lode-rig-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(rig->dir));
    struct lode_open_options root = {.url = rig->dir};
    struct lode_serve_options options = {.root = &root, .listen = "127.0.0.1:0"};
    struct lode_http_options http = {.token = NULL};
    OK(lode_init(&root, err));
    OK(lode_server_start(&options, &rig->server, err));
    OK(lode_http_new(&http, &rig->http, err));
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    char command[128];
    lode_http_free(rig->http);
    lode_server_stop(rig->server);
    snprintf(command, sizeof command, "rm -rf '%s'", rig->dir);
    lode_free(rig);
    return system(command);
}

static json_t *post(struct rig *rig, const char *path, const char *body, int status)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    _cleanup_http_reply_ struct lode_http_reply reply = {0};
    char url[512];
    json_t *doc = NULL;
    snprintf(url, sizeof url, "%s%s", lode_server_url(rig->server), path);
    struct lode_http_ask ask = {
        .method = "POST", .url = url, .headers = headers, .body = body, .body_len = strlen(body)};
    OK(lode_http_do(rig->http, &ask, &reply, err));
    if (reply.status != status)
        fail_msg("POST %s: %d %s", path, reply.status, lode_buf_str(&reply.body));
    OK(lode_json_parse(lode_buf_str(&reply.body), reply.body.len, "the reply", &doc, err));
    return doc;
}

static struct lode_store *open_at(struct rig *rig, const char *path)
{
    char url[512];
    struct lode_store_config config = {.url = url};
    struct lode_store *store = NULL;
    snprintf(url, sizeof url, "%s%s", lode_server_url(rig->server), path);
    OK(lode_store_open(&config, &store, err));
    return store;
}

/* Stages version `version` of m; *id names the attempt. */
static struct lode_store *stage(struct rig *rig, const char *version, char id[128])
{
    char body[128], path[256];
    const char *text;
    snprintf(body, sizeof body, "{\"version\":\"%s\"}", version);
    _cleanup_json_ json_t *doc = post(rig, "/v1/models/_/m/attempts", body, 201);
    OK(lode_json_str(doc, "id", &text, err));
    snprintf(id, 128, "%s", text);
    OK(lode_json_str(doc, "files_url", &text, err));
    snprintf(path, sizeof path, "%s", text);
    return open_at(rig, path);
}

static struct lode_store *finish(struct rig *rig, const char *version, const char *id)
{
    char path[256];
    snprintf(path, sizeof path, "/v1/attempts/%s/finish", id);
    json_decref(post(rig, path, "{}", 200));
    snprintf(path, sizeof path, "/v1/models/_/m/versions/%s/files", version);
    return open_at(rig, path);
}

struct uploader {
    struct lode_store_write *write;
    int failures[4];
};

static void upload_every_fourth(void *arg, unsigned i)
{
    struct uploader *job = arg;
    for (uint32_t n = (BIG + PART - 1) / PART; n-- > 0;)
        job->failures[i] += n % 4 == i && suite_part(job->write, n, PART, BIG, 1) < 0;
}

static void a_version_goes_there_and_back(void **state)
{
    struct rig *rig = *state;
    char id[128];
    struct lode_store *up = stage(rig, "v1", id);
    struct uploader job = {.write = suite_begin(up, "weights.bin", BIG, PART, NULL)};
    suite_threads(4, upload_every_fourth, &job);
    assert_int_equal(job.failures[0] + job.failures[1] + job.failures[2] + job.failures[3], 0);
    OK(lode_store_write_complete(job.write, BIG, true, err));
    suite_put(up, "a dir/\xc3\xa9 & 100%.txt", 1000, 2);
    suite_put(up, "empty", 0, 3);
    FAILS(LODE_EXISTS, lode_store_put(up, "empty", "x", 1, true, err));
    char byte;
    FAILS(LODE_DENIED, lode_store_pread(up, "weights.bin", &byte, 1, 0, err));
    struct lode_store *down = finish(rig, "v1", id);
    assert_true(lode_store_put(up, "late", "x", 1, true, NULL) < 0); /* the attempt is closed */
    suite_expect(down, "weights.bin", BIG, 1);
    suite_expect(down, "a dir/\xc3\xa9 & 100%.txt", 1000, 2);
    suite_expect(down, "empty", 0, 3);
    suite_expect_missing(down, "late");
    suite_expect_missing(down, "a dir");
    assert_true(lode_store_put(down, "late", "x", 1, true, NULL) < 0);
    FAILS(LODE_IO, lode_store_pread(down, "weights.bin", &byte, 1, BIG, err));
    lode_store_close(up);
    lode_store_close(down);
}

static void many_ranges_of_a_version(void **state)
{
    struct rig *rig = *state;
    char id[128];
    struct lode_store *up = stage(rig, "v1", id);
    suite_put(up, "weights.bin", 300000, 1);
    struct lode_store *down = finish(rig, "v1", id);
    enum { N = 200 };
    static char room[N][1500];
    struct lode_store_range ranges[N];
    for (int i = 0; i < N; i++)
        ranges[i] = (struct lode_store_range){i % 50 == 7 ? "missing" : "weights.bin",
                                              (uint64_t)i * 1400, 1500, room[i]};
    struct tally tally;
    struct lode_store_read *read;
    tally_init(&tally, ranges, N);
    OK(lode_store_read(down, ranges, N, tally_done, &tally, &read, err));
    FAILS(LODE_NOT_FOUND, lode_store_read_wait(read, err));
    for (int i = 0; i < N; i++) {
        char want[1500];
        suite_fill(want, sizeof want, 1, ranges[i].offset);
        assert_int_equal(tally.failures[i], i % 50 == 7 ? LODE_NOT_FOUND : 0);
        assert_true(i % 50 == 7 || memcmp(want, room[i], sizeof want) == 0);
    }
    tally_end(&tally, false);
    tally_init(&tally, ranges, N);
    OK(lode_store_read(down, ranges, N, tally_done, &tally, &read, err));
    lode_store_read_cancel(read);
    tally_end(&tally, true);
    lode_store_close(up);
    lode_store_close(down);
}

static void an_upload_is_gone_on_with(void **state)
{
    struct rig *rig = *state;
    char id[128], path[256];
    struct lode_store *up = stage(rig, "v1", id);
    struct lode_store_write *write = suite_begin(up, "d/weights.bin", 4 * PART + 5, PART, NULL);
    assert_int_equal(suite_part(write, 2, PART, 4 * PART + 5, 1), 0);
    assert_int_equal(suite_part(write, 0, PART, 4 * PART + 5, 1), 0);
    lode_store_write_abort(write, true);
    lode_store_close(up);
    snprintf(path, sizeof path, "/v1/attempts/%s/files", id);
    up = open_at(rig, path);
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(up, "d", &list, err));
    assert_int_equal(list.n, 1);
    assert_string_equal(list.items[0].key, "d/weights.bin");
    write = suite_begin(up, "d/weights.bin", 4 * PART + 5, PART, list.items[0].id);
    lode_store_unfinished_release(&list);
    struct lode_store_part *parts;
    size_t n;
    OK(lode_store_write_parts(write, &parts, &n, err));
    assert_int_equal(n, 2);
    assert_int_equal(parts[0].number, 0);
    assert_int_equal(parts[1].number, 2);
    lode_store_free(parts);
    assert_int_equal(suite_part(write, 4, PART, 4 * PART + 5, 1), 0);
    assert_int_equal(suite_part(write, 3, PART, 4 * PART + 5, 1), 0);
    assert_int_equal(suite_part(write, 1, PART, 4 * PART + 5, 1), 0);
    OK(lode_store_write_complete(write, 4 * PART + 5, true, err));
    struct lode_store *down = finish(rig, "v1", id);
    suite_expect(down, "d/weights.bin", 4 * PART + 5, 1);
    lode_store_close(up);
    lode_store_close(down);
}

static void wrong_parts_are_refused(void **state)
{
    struct rig *rig = *state;
    char id[128];
    struct lode_store *up = stage(rig, "v1", id);
    struct lode_store_write *write = suite_begin(up, "w", UINT64_MAX, 1000, NULL);
    assert_int_equal(suite_part(write, 1, 1000, 2000, 1), 0);
    FAILS(LODE_INVALID, lode_store_write_complete(write, 2000, true, err));
    write = suite_begin(up, "w", 10, 1000, NULL);
    lode_store_write_abort(write, false);
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(up, "", &list, err));
    assert_int_equal(list.n, 0);
    lode_store_unfinished_release(&list);
    FAILS(LODE_NOT_FOUND, lode_store_discard(up, "w", "parts", err));
    /* the server's own */
    assert_true(lode_store_put(up, "_lode/manifest", "x", 1, true, NULL) < 0);
    lode_store_close(up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_version_goes_there_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_ranges_of_a_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_upload_is_gone_on_with, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_parts_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
