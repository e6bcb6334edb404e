/* Runs a fuzz target without libFuzzer: over every seed of the folder given, then over mutations of
 * the seeds that are the same on every run. Found inputs are committed to the corpus, so that they
 * never come back. fuzz_x CORPUS [MUTATIONS]
 */
#include "fuzz/fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SEED_MAX (1u << 20)

struct seed {
    uint8_t *data;
    size_t size;
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t load_seed(const char *folder, const char *name, struct seed *out)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > SEED_MAX)
        return 0;
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    out->data = malloc((size_t)st.st_size + 1);
    out->size = out->data ? fread(out->data, 1, (size_t)st.st_size, file) : 0;
    fclose(file);
    return out->data ? 1 : 0;
}

static size_t load_seeds(const char *folder, struct seed *seeds, size_t max)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && n < max && (entry = readdir(dir));)
        n += load_seed(folder, entry->d_name, &seeds[n]);
    if (dir)
        closedir(dir);
    return n;
}

/* An exact-size copy each time, so that AddressSanitizer sees a read of one byte too many. */
static void call(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void mutate_and_call(const struct seed *seed, uint64_t *state)
{
    static const uint8_t telling[] = {0,   1,   0x7f, 0x80, 0xff, '"', '\\', '{',
                                      '}', '[', ']',  ',',  ':',  '-', '9'};
    uint8_t *data = malloc(seed->size + 1);
    if (!data)
        abort();
    memcpy(data, seed->data, seed->size);
    size_t size = seed->size;
    for (uint64_t edits = 1 + next_random(state) % 4; edits > 0 && size > 0; edits--) {
        size_t at = next_random(state) % size;
        switch (next_random(state) % 4) {
        case 0:
            data[at] ^= (uint8_t)(1u << (next_random(state) % 8));
            break;
        case 1:
            data[at] = telling[next_random(state) % sizeof telling];
            break;
        case 2:
            size = at; /* cut short */
            break;
        default:
            memmove(data + at, data + at + 1, size - at - 1);
            size--;
        }
    }
    call(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    static struct seed seeds[4096];
    size_t n = argc > 1 ? load_seeds(argv[1], seeds, sizeof seeds / sizeof *seeds) : 0;
    if (n == 0) {
        fprintf(stderr, "no seeds in %s\n", argc > 1 ? argv[1] : "(no folder given)");
        return 1;
    }
    call(NULL, 0);
    for (size_t i = 0; i < n; i++)
        call(seeds[i].data, seeds[i].size);
    uint64_t state = 0x9e3779b97f4a7c15u;
    long mutations = argc > 2 ? strtol(argv[2], NULL, 10) : 5000;
    for (long i = 0; i < mutations; i++)
        mutate_and_call(&seeds[next_random(&state) % n], &state);
    for (size_t i = 0; i < n; i++)
        free(seeds[i].data);
    printf("%zu seeds, %ld mutations\n", n, mutations);
    return 0;
}
