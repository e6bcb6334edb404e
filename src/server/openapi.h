/* docs/openapi/openapi.json, as it was when this binary was built (cmake/embed.cmake). */
#pragma once
#include <stddef.h>

extern const char srv_openapi[];
extern const size_t srv_openapi_len;
