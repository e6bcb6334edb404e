/* Conditions and ranges of a download: see download.h. */
#include "server/download.h"
#include "base/plant.h"
#include <string.h>

bool srv_etag_listed(const char *list, const char *tag, bool weak)
{
    size_t len = strlen(tag);
    while (*list) {
        list += strspn(list, " \t,");
        if (*list == '*')
            return true;
        bool is_weak = strncmp(list, "W/", 2) == 0;
        list += is_weak ? 2 : 0;
        if (*list != '"')
            return false;
        size_t end = strcspn(list + 1, "\"") + 2;
        if ((weak || !is_weak) && end == len && memcmp(list, tag, len) == 0)
            return true;
        if (strlen(list) < end)
            return false;
        list += end;
    }
    return false;
}

/* Digits at *s; false for none or too many. */
static bool digits(const char **s, uint64_t *out)
{
    const char *p = *s;
    uint64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            return false;
    bool any = p != *s;
    *s = p;
    *out = n;
    return any;
}

static bool ends(const char *s)
{
    return s[strspn(s, " \t")] == '\0';
}

static enum srv_range last_bytes(const char *s, uint64_t size, uint64_t *offset, uint64_t *length)
{
    uint64_t n;
    if (!digits(&s, &n) || !ends(s))
        return SRV_RANGE_NONE;
    if (n == 0 || size == 0)
        return SRV_RANGE_BEYOND;
    *length = n < size ? n : size;
    *offset = size - *length;
    return SRV_RANGE_OK;
}

enum srv_range srv_range_parse(const char *header, uint64_t size, uint64_t *offset,
                               uint64_t *length)
{
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return SRV_RANGE_NONE;
    const char *s = header + 6 + strspn(header + 6, " \t");
    if (*s == '-')
        return last_bytes(s + 1, size, offset, length);
    uint64_t first, last = UINT64_MAX;
    if (!digits(&s, &first) || *s++ != '-')
        return SRV_RANGE_NONE;
    if (!ends(s) && (!digits(&s, &last) || !ends(s) || last < first))
        return SRV_RANGE_NONE;
    if (first >= size)
        return SRV_RANGE_BEYOND;
    last = last < size ? last : size - 1;
    *offset = first;
    *length = last - first + (LODE_PLANTED(range_end) ? 0 : 1);
    return SRV_RANGE_OK;
}
