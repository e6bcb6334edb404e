/* Range and entity-tag headers: a range that is answered lies in the file. The first two bytes
 * choose its size. */
#include <string.h>
#include "fuzz/fuzz.h"
#include "server/download.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char header[1024];
    uint64_t offset = 0, length = 0;
    if (size < 2 || size - 2 >= sizeof header)
        return 0;
    uint64_t file =
        data[0] == 0xff ? UINT64_MAX >> (data[1] % 8) : (uint64_t)data[0] << (data[1] % 56);
    memcpy(header, data + 2, size - 2);
    header[size - 2] = 0;
    if (srv_range_parse(header, file, &offset, &length) == SRV_RANGE_OK)
        must(length > 0 && offset < file && length <= file - offset);
    if (srv_etag_listed(header, "\"abc\"", false))
        must(srv_etag_listed(header, "\"abc\"", true));
    return 0;
}
