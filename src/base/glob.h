/* Globs: '?' one byte, '*' any bytes, '[a-z]' and '[!a-z]' one byte of a set, '\x' the byte x
 * itself.
 *
 * In a path neither '?', '*' nor a set crosses a '/', while '**' crosses them, and a slash behind
 * it may match nothing at all, so that "**" "/x" also finds "x". Elsewhere (tensor names) '*' is
 * any bytes. Time is bounded by the product of both lengths, a few times; never exponential.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

bool lode_glob_match(const char *pattern, const char *s, bool path);

/* True if any of n patterns matches; with n == 0 the answer is `none`. */
bool lode_glob_any(const char *const *patterns, size_t n, const char *s, bool path, bool none);
