/* The built-in codecs: one line a codec here and in the table of codec.c. */
#pragma once
#include <lode/codec_ops.h>

extern const struct lode_codec_ops lode_codec_raw;
extern const struct lode_codec_ops lode_codec_deflate;
