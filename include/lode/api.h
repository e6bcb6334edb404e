/* What the shared library exports: the functions marked LODE_API in include/lode/, and nothing
 * else.
 *
 * Everything is compiled with hidden visibility, so a function without the mark cannot be linked
 * against, even if its name starts with lode_; tests/check_exports.py compares the library with the
 * headers.
 */
#pragma once

#if defined(__GNUC__)
#define LODE_API __attribute__((visibility("default")))
#else
#define LODE_API
#endif
