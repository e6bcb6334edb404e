/* Keys of the coord: see catalog/records.h. Numbers are written with 16 digits, so that keys sort
 * as numbers do. */
#include <string.h>
#include "base/mem.h"
#include "catalog/records.h"

char *lode_key_model(const char *ns, const char *name)
{
    return lode_asprintf(LODE_KEY_MODELS "%s/%s", ns, name);
}

char *lode_key_namespace(const char *ns)
{
    return lode_asprintf("ns/%s", ns);
}

char *lode_key_version(const char *ns, const char *name, const char *version)
{
    return lode_asprintf(LODE_KEY_VERSIONS "%s/%s/%s", ns, name, version);
}

char *lode_key_seq(const char *ns, const char *name, uint64_t seq)
{
    return lode_asprintf("seq/%s/%s/%016llu", ns, name, (unsigned long long)seq);
}

char *lode_key_journal(const char *ns, const char *name, uint64_t number)
{
    return lode_asprintf(LODE_KEY_JOURNALS "%s/%s/%016llu", ns, name, (unsigned long long)number);
}

char *lode_key_claim(const char *ns, const char *name, const char *version)
{
    return lode_asprintf("claim/%s/%s/%s", ns, name, version);
}

char *lode_key_attempt(const char *ns, const char *name, const char *version, uint64_t attempt)
{
    return lode_asprintf(LODE_KEY_ATTEMPTS "%s/%s/%s/%016llu", ns, name, version,
                         (unsigned long long)attempt);
}

char *lode_key_attempts(const char *ns, const char *name, const char *version)
{
    return lode_asprintf(LODE_KEY_ATTEMPTS "%s/%s/%s/", ns, name, version);
}

char *lode_key_leases(const char *ns, const char *name, const char *version)
{
    return lode_asprintf("lease/%s/%s/%s/", ns, name, version);
}

bool lode_key_split(const char *key, struct lode_key_parts *out)
{
    size_t len = strlen(key);
    if (len > LODE_COORD_KEY_MAX)
        return false;
    memcpy(out->text, key, len + 1);
    out->n = 0;
    for (char *at = strchr(out->text, '/'); at; at = strchr(at, '/')) {
        if (out->n == LODE_ARRAY_LEN(out->part))
            return false;
        *at++ = 0;
        out->part[out->n++] = at;
    }
    return true;
}

#define DISTANCE_MAX 64 /* bytes of a name compared */

unsigned lode_name_distance(const char *a, const char *b)
{
    unsigned row[DISTANCE_MAX + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > DISTANCE_MAX || m > DISTANCE_MAX)
        return strcmp(a, b) == 0 ? 0 : DISTANCE_MAX;
    for (size_t k = 0; k <= m; k++)
        row[k] = (unsigned)k;
    for (size_t i = 1; i <= n; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t k = 1; k <= m; k++) {
            unsigned change = corner + (a[i - 1] != b[k - 1]);
            corner = row[k];
            row[k] = lode_min(change, lode_min(row[k], row[k - 1]) + 1);
        }
    }
    return row[m];
}
