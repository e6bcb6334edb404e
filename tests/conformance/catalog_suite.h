/* What every catalog must do: one suite, run on each implementation by a small program of its own
 * (test_catalog_<name>.c). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "catalog/catalog.h"
#include "model/record.h"

struct catalog_suite {
    const char *name;

    /* Before each test: an empty root. */
    void (*fresh)(void *arg);
    /* One more client of the current root, with everything below it; and its end. */
    struct lode_catalog *(*open)(void *arg);
    void (*close)(void *arg, struct lode_catalog *catalog);
    void (*done)(void *arg); /* after the last test; may be NULL */
    void *arg;

    bool direct;  /* lode_catalog_coord and _store answer: tests that look beneath run too */
    bool forgets; /* the coord remembers less than a hundred revisions */
};

/* Runs all; the exit status of main(). */
int catalog_suite_run(const struct catalog_suite *suite);

struct CMUnitTest;
extern const struct catalog_suite *catalog_suite_current;
const struct CMUnitTest *catalog_suite_life(size_t *n);
const struct CMUnitTest *catalog_suite_facts(size_t *n);
const struct CMUnitTest *catalog_suite_lists(size_t *n);
const struct CMUnitTest *catalog_suite_watches(size_t *n);
const struct CMUnitTest *catalog_suite_races(size_t *n);
const struct CMUnitTest *catalog_suite_direct(size_t *n);

/* ---- short words; each asserts that the call did what it says ---- */

/* The client of this test, opened by the setup. */
struct lode_catalog *cat(void);
struct lode_catalog *cat_open(void); /* one more; close it with cat_close */
void cat_close(struct lode_catalog *c);
#define OPS(c) lode_catalog_ops_of(c)

/* Stages with one file of `size` bytes; EXISTS and such come back. */
int cat_try_stage(struct lode_catalog *c, const char *model, const char *version,
                  struct lode_attempt **out);
struct lode_attempt *cat_stage(struct lode_catalog *c, const char *model, const char *version);
void cat_write(struct lode_attempt *a, const char *path, const char *text);
struct lode_manifest *cat_manifest(const char *path, const char *text); /* of that one file */
int cat_try_finish(struct lode_attempt *a, struct lode_version *out);   /* the file "weights.bin" */

/* A whole push: "[ns/]name", version or NULL; out may be NULL. */
int cat_try_push(struct lode_catalog *c, const struct lode_stage *stage, struct lode_version *out);
void cat_push(struct lode_catalog *c, const char *model, const char *version,
              struct lode_version *out);
void cat_push_facts(struct lode_catalog *c, const char *model, const char *version, const char *tag,
                    const char *value, const char *metric, double number);

int cat_try_resolve(struct lode_catalog *c, const char *ref, bool any, struct lode_version *out);
struct lode_version cat_resolve(struct lode_catalog *c, const char *ref);
/* True if `ref` resolves to version `version`. */
bool cat_is(struct lode_catalog *c, const char *ref, const char *version);

/* Elements of lists of tags and metrics. */
#define TAG(k, v)                                                                                  \
    {                                                                                              \
        (char *)(uintptr_t)(k), (char *)(uintptr_t)(v)                                             \
    }
#define METRIC(k, v)                                                                               \
    {                                                                                              \
        (char *)(uintptr_t)(k), (v)                                                                \
    }

#define assert_code(got, want) cat_assert_code((got), (want), __FILE__, __LINE__)
void cat_assert_code(int got, int want, const char *file, int line);
extern struct lode_err cat_err; /* of the last call made by these words */
