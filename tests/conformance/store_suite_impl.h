/* What the files of the store suite share. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include "base/buf.h"
#include "conformance/store_suite.h"

struct suite {
    const struct store_maker *maker;
    void *place;
    struct lode_store *store; /* open for writing */
};

#define SUITE(state) (*(struct suite **)(state))
#define STORE(state) (SUITE(state)->store)

/* The rest of the test is about a capability that this store lacks. */
#define NEEDS(state, cap)                                                                          \
    if (!(lode_store_caps(STORE(state)) & (cap)))                                                  \
    return

/* Fails the test with the error's text. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        struct lode_err err_ = {0};                                                                \
        struct lode_err *err = &err_;                                                              \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s: %s", #call, lode_code_name(err_.code), err_.text);                   \
    } while (0)

/* Expects a failure, that err says the same code and explains itself. */
#define FAILS(code_, call)                                                                         \
    do {                                                                                           \
        struct lode_err err_ = {0};                                                                \
        struct lode_err *err = &err_;                                                              \
        int r_ = (call);                                                                           \
        if (r_ != (code_) || err_.code != (code_) || !err_.text[0])                                \
            fail_msg("%s: got %s (%s: %s), want %s", #call, lode_code_name(r_),                    \
                     lode_code_name(err_.code), err_.text, lode_code_name(code_));                 \
    } while (0)

/* Bytes that depend on a seed and on their place. */
void suite_fill(void *into, size_t len, uint64_t seed, uint64_t offset);
char *suite_bytes(size_t len, uint64_t seed); /* owned */
int suite_put(struct lode_store *store, const char *key, size_t len, uint64_t seed);

/* Fails unless the object holds suite_fill(len, seed). */
void suite_expect(struct lode_store *store, const char *key, size_t len, uint64_t seed);
void suite_expect_missing(struct lode_store *store, const char *key);

/* Begins a write with parts of part_size. */
struct lode_store_write *suite_begin(struct lode_store *store, const char *key, uint64_t size,
                                     size_t part_size, const char *resume);
int suite_part(struct lode_store_write *write, uint32_t number, size_t part_size, uint64_t size,
               uint64_t seed);

/* A batch that is checked: every byte is told exactly once or its range fails once, and nothing
 * comes after the end. */
struct tally {
    pthread_mutex_t lock;
    const struct lode_store_range *ranges;
    size_t n;
    uint8_t **seen;  /* per range, per byte */
    int *failures;   /* per range: its code */
    unsigned errors; /* broken promises */
    bool ended;
};
void tally_init(struct tally *tally, const struct lode_store_range *ranges, size_t n);
void tally_done(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                const struct lode_err *err);
void tally_end(struct tally *tally, bool cancelled); /* checks and releases */

/* Runs fn(arg, i) in n threads. */
void suite_threads(unsigned n, void (*fn)(void *arg, unsigned i), void *arg);

extern const struct CMUnitTest store_suite_write_tests[], store_suite_read_tests[],
    store_suite_dir_tests[];
extern const size_t store_suite_n_write_tests, store_suite_n_read_tests, store_suite_n_dir_tests;
