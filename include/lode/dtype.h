/* Element types of tensors.
 *
 * The numbers are part of the ABI: never reused, never changed. The names are those of safetensors
 * where it has the type. Sub-byte types (F4, F6_*) are packed without padding: a tensor of them
 * must fill whole bytes.
 */
#pragma once
#include <lode/api.h>
#include <stddef.h>
#include <lode/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, bits of an element, NumPy's or ml_dtypes' name; "" where there is none) */
#define LODE_DTYPES(X)                                                                             \
    X(OPAQUE, 0, 0, "")                                                                            \
    X(BOOL, 1, 8, "bool")                                                                          \
    X(U8, 2, 8, "uint8")                                                                           \
    X(I8, 3, 8, "int8")                                                                            \
    X(I16, 4, 16, "int16")                                                                         \
    X(U16, 5, 16, "uint16")                                                                        \
    X(F16, 6, 16, "float16")                                                                       \
    X(BF16, 7, 16, "bfloat16")                                                                     \
    X(I32, 8, 32, "int32")                                                                         \
    X(U32, 9, 32, "uint32")                                                                        \
    X(F32, 10, 32, "float32")                                                                      \
    X(F64, 11, 64, "float64")                                                                      \
    X(I64, 12, 64, "int64")                                                                        \
    X(U64, 13, 64, "uint64")                                                                       \
    X(C64, 14, 64, "complex64")                                                                    \
    X(C128, 15, 128, "complex128")                                                                 \
    X(F8_E5M2, 16, 8, "float8_e5m2")                                                               \
    X(F8_E4M3, 17, 8, "float8_e4m3fn")                                                             \
    X(F8_E8M0, 18, 8, "float8_e8m0fnu")                                                            \
    X(F8_E4M3FNUZ, 19, 8, "float8_e4m3fnuz")                                                       \
    X(F8_E5M2FNUZ, 20, 8, "float8_e5m2fnuz")                                                       \
    X(F4, 21, 4, "float4_e2m1fn")                                                                  \
    X(F6_E2M3, 22, 6, "float6_e2m3fn")                                                             \
    X(F6_E3M2, 23, 6, "float6_e3m2fn")

enum lode_dtype {
#define LODE_DTYPE_ENUM(name, number, bits, numpy) LODE_DTYPE_##name = number,
    LODE_DTYPES(LODE_DTYPE_ENUM)
#undef LODE_DTYPE_ENUM
        LODE_DTYPE_COUNT
};

/* "BF16"; "OPAQUE" for a number that is none of ours. Never NULL. */
LODE_API const char *lode_dtype_name(enum lode_dtype dtype);

/* "bfloat16" as NumPy or ml_dtypes call it; "" where they have no name. Never NULL. */
LODE_API const char *lode_dtype_numpy(enum lode_dtype dtype);

/* Bits of one element; 0 for OPAQUE, whose length the file alone tells. */
LODE_API unsigned lode_dtype_bits(enum lode_dtype dtype);

/* The type of a name of `len` bytes, or -1. */
LODE_API int lode_dtype_of_name(const char *name, size_t len);

#ifdef __cplusplus
}
#endif
