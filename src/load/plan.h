/* The plan of a load: which ranges of which files are read, where they come to lie in memory. No
 * input or output here.
 *
 * Wanted ranges are rounded to whole blocks (to pages where nothing is checked), sorted by file and
 * offset, and merged where the gap between two is small, so that what is read and not wanted stays
 * below what is wanted. A range's place in memory has its offset's phase within a page: what is
 * aligned in the file is aligned in memory.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"
#include "base/err.h"

#define LODE_PLAN_PAGE 4096u
#define LODE_PLAN_GAP                                                                              \
    (64u << 10) /* bytes not wanted that cost less to read than another request                    \
                 */

struct lode_plan_range {
    unsigned file;
    uint64_t offset; /* bytes */
    uint64_t len;    /* bytes */
    uint64_t at;     /* bytes from the start of the memory */
};

struct lode_plan {
    struct lode_plan_range
        *ranges; /* sorted by file, offset; once finished, none touches another */
    size_t n, cap;
    uint64_t bytes; /* of memory */
    uint64_t read;  /* sum of the ranges' lengths */
};

/* Wants bytes of a file of `size` bytes, in units of `unit` (a block, or 1). NO_MEMORY. */
int lode_plan_want(struct lode_plan *self, unsigned file, uint64_t size, uint64_t offset,
                   uint64_t len, uint32_t unit, struct lode_err *err) lode_must_use;

/* Sorts, merges and places. LIMIT when the memory cannot be addressed. */
int lode_plan_finish(struct lode_plan *self, struct lode_err *err) lode_must_use;

/* Where a wanted byte lies in the memory. It must have been wanted. */
uint64_t lode_plan_place(const struct lode_plan *self, unsigned file, uint64_t offset);

void lode_plan_release(struct lode_plan *self);
#define _cleanup_plan_ __attribute__((cleanup(lode_plan_release)))
