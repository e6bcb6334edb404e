/* Short words for tests of coords: see tests/support/coord_kit.h. */
#include "support/coord_kit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"

static pid_t test_pid;

__attribute__((constructor)) static void note_pid(void)
{
    test_pid = getpid();
}

/* A forked child must not jump into the frame of cmocka: it ends. */
static void expect(int r, const struct lode_err *err, const char *what)
{
    if (r >= 0)
        return;
    if (getpid() != test_pid) {
        fprintf(stderr, "child: %s: %s: %s\n", what, lode_code_name(r), err->text);
        _exit(99);
    }
    fail_msg("%s: %s: %s", what, lode_code_name(r), err->text);
}

struct lode_coord *kit_open(const char *url, const char *const *options)
{
    struct lode_err err = {0};
    struct lode_coord *c = NULL;
    struct lode_coord_config config = {
        .url = url, .create = true, .options = options, .timeout_ms = 60000};
    expect(lode_coord_open(&config, &c, &err), &err, url);
    return c;
}

static uint64_t one(struct lode_coord *c, const struct lode_coord_op *op)
{
    struct lode_err err = {0};
    struct lode_coord_txn txn = {.ops = op, .n_ops = 1};
    struct lode_coord_txn_result result = {0};
    expect(lode_coord_txn(c, &txn, &result, &err), &err, op->key);
    assert_true(result.succeeded);
    return result.revision;
}

uint64_t kit_put_leased(struct lode_coord *c, const char *key, const char *value, uint64_t lease)
{
    return one(c, &(struct lode_coord_op){LODE_COORD_PUT, key, value, strlen(value), lease});
}

uint64_t kit_put(struct lode_coord *c, const char *key, const char *value)
{
    return kit_put_leased(c, key, value, 0);
}

uint64_t kit_delete(struct lode_coord *c, const char *key)
{
    return one(c, &(struct lode_coord_op){.kind = LODE_COORD_DELETE, .key = key});
}

bool kit_swap(struct lode_coord *c, const char *key, uint64_t modified, const char *value)
{
    struct lode_err err = {0};
    struct lode_coord_compare compare = {key, modified};
    struct lode_coord_op op = {LODE_COORD_PUT, key, value, strlen(value), 0};
    struct lode_coord_txn txn = {.compares = &compare, .n_compares = 1, .ops = &op, .n_ops = 1};
    struct lode_coord_txn_result result = {0};
    expect(lode_coord_txn(c, &txn, &result, &err), &err, key);
    return result.succeeded;
}

long kit_increment(struct lode_coord *c, const char *key)
{
    for (;;) {
        struct lode_err err = {0};
        struct lode_coord_kv kv = {0};
        char text[32];
        int r = lode_coord_get(c, key, &kv, &err);
        if (r != LODE_NOT_FOUND)
            expect(r, &err, key);
        long next = (kv.value ? strtol(kv.value, NULL, 10) : 0) + 1;
        uint64_t modified = kv.modified;
        lode_coord_kv_release(&kv);
        snprintf(text, sizeof text, "%ld", next);
        if (kit_swap(c, key, modified, text))
            return next;
    }
}

char *kit_get(struct lode_coord *c, const char *key)
{
    struct lode_err err = {0};
    struct lode_coord_kv kv = {0};
    int r = lode_coord_get(c, key, &kv, &err);
    if (r == LODE_NOT_FOUND)
        return NULL;
    expect(r, &err, key);
    char *value = lode_steal(kv.value);
    lode_coord_kv_release(&kv);
    return value;
}

bool kit_has(struct lode_coord *c, const char *key)
{
    _cleanup_free_ char *value = kit_get(c, key);
    return value != NULL;
}

uint64_t kit_revision(struct lode_coord *c)
{
    struct lode_err err = {0};
    uint64_t revision = 0;
    expect(lode_coord_revision(c, &revision, &err), &err, "revision");
    return revision;
}

bool kit_wait_gone(struct lode_coord *c, const char *key, int64_t ms)
{
    int64_t until = lode_mono_ms() + ms;
    while (kit_has(c, key)) {
        if (lode_mono_ms() >= until)
            return false;
        usleep(5000);
    }
    return true;
}

pid_t kit_fork(void)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != test_pid)
            _exit(99);
    }
    return child;
}

char *kit_temp_dir(void)
{
    char *dir = lode_strdup("/tmp/lode-coord-XXXXXX");
    assert_non_null(dir);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

void kit_remove_dir(char *dir)
{
    if (dir)
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    lode_free(dir);
}

uint64_t kit_seed(void)
{
    static uint64_t seed;
    if (!seed) {
        const char *text = getenv("LODE_TEST_SEED");
        seed = text ? strtoull(text, NULL, 10) : lode_mono_ns() | 1;
        fprintf(stderr, "LODE_TEST_SEED=%llu repeats this run\n", (unsigned long long)seed);
    }
    return seed;
}

uint64_t kit_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
