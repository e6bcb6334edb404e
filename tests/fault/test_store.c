/* The posix store with every fallible call failing in turn, and with the power cut after it.
 *
 * Oracle: an object is absent or whole, whatever failed; what was acknowledged is there, also after
 * the power cut; a directory is under its old or its new name; what unfinished writes left can be
 * listed and discarded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/store.h"
#include "support/fault_walk.h"

#define PART 65536
#define WEIGHTS (2 * PART + 777)

static char dir[64], base[80];
static unsigned char weights[WEIGHTS];
static bool power_goes;

/* What the run has been told is done. */
static struct {
    bool one, moved, two, removed;
} acked;

static void prepare(void *arg)
{
    char cmd[160];
    struct stat st;
    if (stat(dir, &st) == 0) {
        snprintf(cmd, sizeof cmd, "rm -rf %s/*", dir);
        assert_int_equal(system(cmd), 0);
    } else {
        assert_int_equal(mkdir(dir, 0755), 0);
    }
    for (size_t i = 0; i < sizeof weights; i++)
        weights[i] = (unsigned char)(i * 31 + (i >> 12));
    memset(&acked, 0, sizeof acked);
}

static int write_weights(struct lode_store *s, struct lode_err *err)
{
    static const uint32_t order[] = {2, 0, 1};
    struct lode_store_write_opts opts = {.size = WEIGHTS, .part_size = PART};
    struct lode_store_write *w;
    int r = lode_store_write_begin(s, "_staging/a1/f/w.bin", &opts, &w, err);
    for (size_t i = 0; r == 0 && i < 3; i++) {
        size_t at = order[i] * (size_t)PART;
        r = lode_store_write_part(w, order[i], weights + at, lode_min((size_t)PART, WEIGHTS - at),
                                  err);
        if (r < 0)
            lode_store_write_abort(w, false);
    }
    return r < 0 ? r : lode_store_write_complete(w, WEIGHTS, true, err);
}

static int read_weights(struct lode_store *s, struct lode_err *err)
{
    static unsigned char back[WEIGHTS];
    int r = lode_store_pread(s, "m/v1/f/w.bin", back, WEIGHTS, 0, err);
    if (r == 0 && memcmp(back, weights, WEIGHTS) != 0)
        r = lode_err_set(err, LODE_CORRUPT, "other bytes came back");
    return r;
}

static int publish(struct lode_store *s, struct lode_err *err)
{
    int r = write_weights(s, err);
    if (r == 0)
        r = lode_store_put(s, "_staging/a1/g.bin", "g", 1, true, err);
    if (r == 0)
        r = lode_store_rename_dir(s, "_staging/a1", "m/v1", err);
    acked.moved = r == 0;
    return r < 0 ? r : read_weights(s, err);
}

static int replace_and_remove(struct lode_store *s, struct lode_err *err)
{
    int r = lode_store_put(s, "keep/two", "old", 3, false, err);
    if (r == 0)
        r = lode_store_put(s, "keep/two", "new", 3, false, err);
    acked.two = r == 0;
    if (r == 0)
        r = lode_store_put(s, "keep/three", "3", 1, true, err);
    if (r == 0)
        r = lode_store_remove(s, "keep/three", err);
    acked.removed = r == 0;
    return r;
}

static int use(struct lode_store *s, struct lode_err *err)
{
    struct lode_store_page page;
    int r = lode_store_put(s, "keep/one", "one", 3, true, err);
    acked.one = r == 0;
    if (r == 0)
        r = publish(s, err);
    if (r == 0)
        r = replace_and_remove(s, err);
    if (r == 0)
        r = lode_store_list(s, "keep", NULL, 10, &page, err);
    if (r == 0)
        lode_store_page_release(&page);
    return r;
}

static int run(void *arg, struct lode_err *err)
{
    struct lode_store_config config = {.url = base, .create = true};
    struct lode_store *s;
    int r = lode_store_open(&config, &s, err);
    if (r == 0) {
        r = use(s, err);
        lode_store_close(s);
    }
    return r;
}

/* The text of a small object; "" when it is absent. */
static const char *text_of(struct lode_store *s, const char *key)
{
    static char text[64];
    struct lode_buf b = LODE_BUF_INIT(sizeof text - 1);
    struct lode_err err = {0};
    int r = lode_store_get(s, key, &b, &err);
    if (r != LODE_NOT_FOUND && r != 0)
        fail_msg("%s: %s", key, err.text);
    snprintf(text, sizeof text, "%s", r == 0 ? lode_buf_str(&b) : "");
    lode_buf_release(&b);
    return text;
}

static void check_directory(struct lode_store *s)
{
    struct lode_store_stat st;
    bool moved = lode_store_stat(s, "m/v1", &st, NULL) == 0;
    if (acked.moved)
        assert_true(moved);
    if (!moved)
        return;
    assert_int_equal(lode_store_stat(s, "_staging/a1", &st, NULL), LODE_NOT_FOUND);
    assert_int_equal(lode_store_stat(s, "m/v1/f/w.bin", &st, NULL), 0);
    assert_int_equal(st.size, WEIGHTS);
    assert_int_equal(read_weights(s, NULL), 0);
    assert_string_equal(text_of(s, "m/v1/g.bin"), "g");
}

static void check_staging(struct lode_store *s)
{
    struct lode_store_stat st;
    if (lode_store_stat(s, "_staging/a1/f/w.bin", &st, NULL) == 0)
        assert_int_equal(st.size, WEIGHTS); /* named, so whole */
    struct lode_err err = {0};
    if (lode_store_remove_tree(s, "_staging", NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(lode_store_stat(s, "_staging", &st, NULL), LODE_NOT_FOUND);
}

/* Nothing is left that cannot be listed: after discarding what is unfinished the base holds objects
 * alone. */
static void check_leftovers(struct lode_store *s)
{
    struct lode_store_unfinished_list list;
    char cmd[256];
    static const char *const dirs[] = {"", "keep"};
    for (size_t i = 0; i < 2; i++) {
        int r = lode_store_unfinished(s, dirs[i], &list, NULL);
        assert_true(r == 0 || r == LODE_NOT_FOUND);
        for (size_t k = 0; r == 0 && k < list.n; k++) {
            struct lode_err err = {0};
            int gone = lode_store_discard(s, list.items[k].key, list.items[k].id, &err);
            if (gone < 0 && gone != LODE_NOT_FOUND)
                fail_msg("discard: %s", err.text);
        }
        if (r == 0)
            lode_store_unfinished_release(&list);
    }
    snprintf(cmd, sizeof cmd,
             "test -z \"$(cd %s 2>/dev/null && find . -type f | grep -vE "
             "'^./(keep/(one|two|three)|m/v1/(f/w|g).bin)$')\"",
             base);
    if (system(cmd) != 0) {
        snprintf(cmd, sizeof cmd, "find %s -type f >&2", base);
        assert_int_equal(system(cmd), 0);
        fail_msg("there are files that no listing shows");
    }
}

static void check(void *arg, const struct fault_shot *shot, int result,
                  const struct lode_err *run_err)
{
    struct lode_store_config config = {.url = base, .create = true};
    struct lode_store *s;
    struct lode_err err = {0};
    if (lode_store_open(&config, &s, &err) < 0)
        fail_msg("the store does not open any more: %s", err.text);
    const char *one = text_of(s, "keep/one");
    assert_true(strcmp(one, "one") == 0 || (!acked.one && !*one));
    const char *two = text_of(s, "keep/two");
    assert_true(strcmp(two, "new") == 0 || (!acked.two && (!*two || strcmp(two, "old") == 0)));
    const char *three = text_of(s, "keep/three");
    /* A removal is not promised to survive a power cut: then it is whole again. */
    assert_true(!*three || ((!acked.removed || power_goes) && strcmp(three, "3") == 0));
    check_directory(s);
    check_staging(s);
    check_leftovers(s);
    lode_store_close(s);
}

static void every_call_fails_once(void **state)
{
    const struct fault_scenario s = {
        .name = "store", .prepare = prepare, .run = run, .check = check};
    fault_walk(&s);
}

static void every_call_fails_and_power_goes(void **state)
{
    const struct fault_scenario s = {.name = "store, power cut",
                                     .prepare = prepare,
                                     .run = run,
                                     .check = check,
                                     .power_cut = true,
                                     .track = dir,
                                     .kinds = 1u << FAULT_SYNC | 1u << FAULT_RENAME |
                                              1u << FAULT_LINK | 1u << FAULT_UNLINK |
                                              1u << FAULT_OPEN};
    power_goes = true;
    fault_walk(&s);
    power_goes = false;
}

static int remove_dir(void **state)
{
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call_fails_once),
                                       cmocka_unit_test(every_call_fails_and_power_goes)};
    snprintf(dir, sizeof dir, "/tmp/lode-fault-store-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(base, sizeof base, "%s/base", dir);
    return cmocka_run_group_tests(tests, NULL, remove_dir);
}
