/* Overflow-checked sizes: each answers false, and leaves `out` alone, where the true result does
 * not fit. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"

static inline lode_must_use bool lode_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline lode_must_use bool lode_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline lode_must_use bool lode_add_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline lode_must_use bool lode_mul_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* n / d rounded up; d > 0. Cannot overflow. */
static inline uint64_t lode_div_up(uint64_t n, uint64_t d)
{
    return n / d + (n % d != 0);
}
