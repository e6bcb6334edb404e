/* GNU attributes by short names. */
#pragma once

#define lode_printf(fmt, first) __attribute__((format(printf, fmt, first)))
#define lode_must_use __attribute__((warn_unused_result))
#define lode_unused __attribute__((unused))
#define lode_noreturn __attribute__((noreturn))
#define lode_likely(x) __builtin_expect(!!(x), 1)
#define lode_unlikely(x) __builtin_expect(!!(x), 0)
#define LODE_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Each use gets names of its own (__COUNTER__), so that they nest. */
#define LODE_PASTE_(a, b) a##b
#define LODE_PASTE(a, b) LODE_PASTE_(a, b)
#define LODE_PICK_(a, op, b, x, y)                                                                 \
    ({                                                                                             \
        __typeof__(a) x = (a);                                                                     \
        __typeof__(b) y = (b);                                                                     \
        x op y ? x : y;                                                                            \
    })
#define LODE_PICK(a, op, b, n) LODE_PICK_(a, op, b, LODE_PASTE(lode_a_, n), LODE_PASTE(lode_b_, n))
#define lode_min(a, b) LODE_PICK(a, <, b, __COUNTER__)
#define lode_max(a, b) LODE_PICK(a, >, b, __COUNTER__)

/* The structure that holds `member` at `ptr`: a back end's instance from its first-class part. */
#define lode_container_of(ptr, type, member)                                                       \
    ((type *)(void *)((char *)(ptr) - __builtin_offsetof(type, member)))

/* Defines cleanup_x() for a variable of pointer type, for use with __attribute__((cleanup)). */
#define LODE_DEFINE_CLEANUP(type, name, free_fn)                                                   \
    static inline void name(type *at)                                                              \
    {                                                                                              \
        if (*at)                                                                                   \
            free_fn(*at);                                                                          \
    }
#define lode_cleanup(fn) __attribute__((cleanup(fn)))
