/* Element types: see <lode/dtype.h>. */
#include <lode/dtype.h>
#include <string.h>

struct row {
    const char *name;
    const char *numpy;
    unsigned bits;
    size_t len; /* of the name */
};

static const struct row rows[LODE_DTYPE_COUNT] = {
#define ROW(name, number, bits, numpy) [number] = {#name, numpy, bits, sizeof(#name) - 1},
    LODE_DTYPES(ROW)
#undef ROW
};

static const struct row *row_of(enum lode_dtype dtype)
{
    return &rows[(unsigned)dtype < LODE_DTYPE_COUNT ? dtype : LODE_DTYPE_OPAQUE];
}

const char *lode_dtype_name(enum lode_dtype dtype)
{
    return row_of(dtype)->name;
}

const char *lode_dtype_numpy(enum lode_dtype dtype)
{
    return row_of(dtype)->numpy;
}

unsigned lode_dtype_bits(enum lode_dtype dtype)
{
    return row_of(dtype)->bits;
}

int lode_dtype_of_name(const char *name, size_t len)
{
    for (int i = 0; i < LODE_DTYPE_COUNT; i++) {
        if (rows[i].len == len && memcmp(rows[i].name, name, len) == 0)
            return i;
    }
    return -1;
}
