/* What every coord must do: one suite, run on each back end by a small program of its own
 * (test_coord_<name>.c). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "coord/coord.h"

struct coord_suite {
    const char *name;

    /* Before each test: makes the next open() find an empty coord; the URL stays valid until the
     * next fresh(). */
    const char *(*fresh)(void *arg);
    void (*done)(void *arg); /* after the last test; may be NULL */
    void *arg;

    bool processes;   /* other processes can open the URL */
    bool log_keep;    /* has the option "log_keep" */
    bool read_only;   /* can be opened read-only */
    int64_t lease_ms; /* the shortest lease that it grants as asked */
};

/* The coords of this tree (coord_suite_places.c). */
extern const struct coord_suite coord_suite_mem, coord_suite_sqlite;

/* Runs all; the exit status of main(). */
int coord_suite_run(const struct coord_suite *suite);

/* Histories of concurrent clients, checked for linearizability (coord_suite_histories.c, run by
 * test_coord_histories.c): `rounds` of them, as threads or as processes, each on a fresh coord. */
void coord_suite_histories(const struct coord_suite *suite, int rounds, bool processes);

/* The parts of the suite; each a list of n. */
struct CMUnitTest;
extern const struct coord_suite *coord_suite_current;
const struct CMUnitTest *coord_suite_basic(size_t *n);
const struct CMUnitTest *coord_suite_watching(size_t *n);
const struct CMUnitTest *coord_suite_leasing(size_t *n);
const struct CMUnitTest *coord_suite_threads(size_t *n);
const struct CMUnitTest *coord_suite_processes(size_t *n);

/* An open handle on the current test's coord. */
struct lode_coord *coord_suite_open(void);
struct lode_coord *coord_suite_open_with(const char *const *options);
int coord_suite_setup(void **state);
