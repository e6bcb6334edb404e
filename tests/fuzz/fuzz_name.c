/* Names, paths, keys and their quoting: any bytes get an answer, and what is accepted keeps the
 * promises that paths are built on. */
#include "fuzz/fuzz.h"
#include <string.h>
#include "base/limits.h"
#include "base/name.h"

static void path_promises(const char *s, size_t size)
{
    must(size > 0 && size <= LODE_PATH_MAX);
    must(!memchr(s, 0, size) && !memchr(s, '\n', size));
    must(s[0] != '/' && s[size - 1] != '/' && !memmem(s, size, "//", 2));
    must(!memmem(s, size, "/../", 4) && !(size >= 3 && memcmp(s, "../", 3) == 0));
    must(lode_utf8_valid(s, size) == size);
}

static void quote_promises(const char *s, size_t size)
{
    char out[64];
    lode_quote(s, size, out, sizeof out);
    size_t len = strlen(out);
    must(len >= 2 && len < sizeof out && lode_utf8_valid(out, len) == len);
    for (size_t i = 0; i < len; i++)
        must((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *s = (const char *)data;
    if (size == 0)
        s = "";
    if (lode_path_check(s, size, NULL) == 0)
        path_promises(s, size);
    if (lode_name_check(LODE_NAME_VERSION, s, size, NULL) == 0)
        must(size <= LODE_NAME_MAX && !memchr(s, '/', size));
    quote_promises(s, size);
    return 0;
}
