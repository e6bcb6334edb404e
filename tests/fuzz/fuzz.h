/* A fuzz target: tests/fuzz/fuzz_<name>.c defines this one function, its seeds lie in
 * tests/fuzz/corpus/<name>/.
 *
 * `make fuzz` links it with libFuzzer under clang; everywhere else replay.c runs it as the CTest
 * test fuzz.<name> over the seeds and some thousand fixed mutations of them. Must not exit, leak or
 * keep state between calls. Returns 0.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the code under test: the fuzzer reports the input that breaks it. */
static inline void must(int holds)
{
    if (!holds)
        abort();
}
