/* Times and durations: what is read is written and read again to the same moment. */
#include <string.h>
#include "base/clock.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char s[256], text[LODE_TIME_TEXT], version[LODE_TIME_TEXT];
    int64_t ms, again;
    if (size >= sizeof s)
        return 0;
    if (size)
        memcpy(s, data, size);
    s[size] = 0;
    if (lode_time_parse(s, &ms, NULL) == 0) {
        lode_time_rfc3339(ms, text);
        must(lode_time_parse(text, &again, NULL) == 0 && again == ms);
        lode_time_version(ms, version);
        must(strlen(version) < sizeof version);
    }
    if (lode_duration_parse(s, &ms, NULL) == 0)
        must(ms >= 0);
    return 0;
}
