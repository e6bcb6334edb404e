/* The built-in formats: one line a format here and in the table of format.c. */
#pragma once
#include <lode/format_ops.h>

extern const struct lode_format_ops lode_format_safetensors;
extern const struct lode_format_ops lode_format_npy;
extern const struct lode_format_ops lode_format_npz;
