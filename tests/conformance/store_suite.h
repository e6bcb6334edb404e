/* One suite for every store: each clause of <lode/store_ops.h> that can be tried from outside.
 *
 * A maker gives the suite fresh, empty places and opens stores at them; what a store's
 * capabilities lack is not tried. The suite runs each test in a place of its own.
 */
#pragma once
#include <stdbool.h>
#include "store/store.h"

struct store_maker {
    const char *name; /* in the test's name: "posix", "mem-scrambled+retry" */
    void *(*place)(const struct store_maker *self); /* an empty place */
    struct lode_store *(*open)(const struct store_maker *self, void *place, bool read_only);
    void (*clear)(const struct store_maker *self, void *place);
    const void *arg;
};

/* Runs all tests for each maker of the table; the number of failed tests. */
int store_suite_run(const struct store_maker *makers, size_t n);
