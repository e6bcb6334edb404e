/* Sorting numbers that stand for things: stable, n log n at worst (input is hostile), linear when
 * the order is there already, which it nearly always is; 2 bytes of scratch an element. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"

/* Less than, equal to or greater than 0, as things a and b are in order. */
typedef int lode_sort_cmp(const void *arg, uint32_t a, uint32_t b);

/* Sorts n numbers in place. 0 or NO_MEMORY. */
int lode_sort_u32(uint32_t *at, size_t n, lode_sort_cmp *cmp, const void *arg) lode_must_use;
