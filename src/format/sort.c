/* A merge sort over numbers: see format/sort.h. */
#include "format/sort.h"
#include <string.h>
#include "base/err.h"
#include "base/mem.h"

struct sorter {
    lode_sort_cmp *cmp;
    const void *arg;
    uint32_t *scratch; /* half of the input */
};

static void insertion(const struct sorter *s, uint32_t *at, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint32_t v = at[i];
        size_t k = i;
        for (; k > 0 && s->cmp(s->arg, at[k - 1], v) > 0; k--)
            at[k] = at[k - 1];
        at[k] = v;
    }
}

/* The left half goes aside, then the smaller head of the two moves in front. */
static void merge(const struct sorter *s, uint32_t *at, size_t half, size_t n)
{
    memcpy(s->scratch, at, half * sizeof *at);
    size_t left = 0, right = half, out = 0;
    while (left < half && right < n) {
        if (s->cmp(s->arg, s->scratch[left], at[right]) <= 0)
            at[out++] = s->scratch[left++];
        else
            at[out++] = at[right++];
    }
    memcpy(at + out, s->scratch + left, (half - left) * sizeof *at);
}

/* Depth is log2(n): at most 32. */
static void sort(const struct sorter *s, uint32_t *at, size_t n)
{
    if (n <= 8) {
        insertion(s, at, n);
        return;
    }
    size_t half = n / 2;
    sort(s, at, half);
    sort(s, at + half, n - half);
    if (s->cmp(s->arg, at[half - 1], at[half]) > 0)
        merge(s, at, half, n);
}

static bool in_order(const uint32_t *at, size_t n, lode_sort_cmp *cmp, const void *arg)
{
    for (size_t i = 1; i < n; i++) {
        if (cmp(arg, at[i - 1], at[i]) > 0)
            return false;
    }
    return true;
}

int lode_sort_u32(uint32_t *at, size_t n, lode_sort_cmp *cmp, const void *arg)
{
    if (in_order(at, n, cmp, arg))
        return 0;
    _cleanup_free_ uint32_t *scratch = lode_calloc(n / 2 + 1, sizeof *scratch);
    if (!scratch)
        return LODE_NO_MEMORY;
    sort(&(struct sorter){cmp, arg, scratch}, at, n);
    return 0;
}
