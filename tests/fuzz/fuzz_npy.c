/* A whole npy file: any bytes give an index that holds what it promises, or an error. */
#include "format/formats.h"
#include "fuzz/one_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_format(&lode_format_npy, "m.npy", data, size);
    return 0;
}
