/* Conditions and ranges of a download, apart from the bytes: pure functions over header texts (RFC
 * 9110). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* True if a list of entity tags ("\"a\", W/\"b\"" or "*") names `tag` (with its quotes). `weak`: W/
 * does not matter. */
bool srv_etag_listed(const char *list, const char *tag, bool weak);

enum srv_range { SRV_RANGE_NONE, SRV_RANGE_OK, SRV_RANGE_BEYOND };

/* One range of bytes out of a Range header; NONE for what is no single range of bytes: then the
 * whole is answered. */
enum srv_range srv_range_parse(const char *header, uint64_t size, uint64_t *offset,
                               uint64_t *length);
