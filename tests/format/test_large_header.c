/* A legal header of some 94 MB must not cost a gigabyte: peak memory under 300 MB and less than 3 s
 * of CPU, for names in a bad order, and for the shortest entries that the format allows. Each case
 * runs in a child, so that its peak is its own. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "format/files.h"

enum { HEADER = 94 << 20, PEAK_KIB = 300 << 10, CPU_MS = 3000 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

struct file {
    FILE *at;
    uint64_t size;
};

static int from_file(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                     struct lode_err *err)
{
    struct file *f = arg;
    return pread(fileno(f->at), into, len, (off_t)offset) == (ssize_t)len ? 0 : LODE_IO;
}

/* Layers in the order of a random walk over all of them, as no writer would leave them. */
static int realistic(char *out, size_t room, uint64_t i, uint64_t *data)
{
    unsigned long long layer = i * 7919 % 1500007, from = *data;
    *data += 64;
    return snprintf(
        out, room,
        "\"model.layers.%llu.w\":{\"dtype\":\"F32\",\"shape\":[4,4],\"data_offsets\":[%llu,%llu]},",
        layer, from, from + 64);
}

static int shortest(char *out, size_t room, uint64_t i, uint64_t *data)
{
    return snprintf(out, room, "\"%llx\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},",
                    (unsigned long long)i * 7919 % 2000003);
}

typedef int entry_fn(char *out, size_t room, uint64_t i, uint64_t *data);

/* A sparse file: eight bytes, the header, data that nobody reads. Returns how many tensors. */
static uint64_t write_file(struct file *f, entry_fn *entry)
{
    uint64_t n = 0, data = 0, header = 1;
    char text[256];
    uint8_t length[8] = {0};
    f->at = tmpfile();
    assert_non_null(f->at);
    fwrite(length, 1, 8, f->at);
    fputc('{', f->at);
    for (; header < HEADER; n++) {
        int len = entry(text, sizeof text, n, &data);
        fwrite(text, 1, (size_t)len, f->at);
        header += (uint64_t)len;
    }
    fseek(f->at, -1, SEEK_CUR); /* the last comma */
    fputc('}', f->at);
    fflush(f->at);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(header >> (8 * i));
    assert_int_equal(pwrite(fileno(f->at), length, 8, 0), 8);
    f->size = 8 + header + data;
    assert_int_equal(ftruncate(fileno(f->at), (off_t)f->size), 0);
    return n;
}

static long cpu_ms(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec * 1000 + u.ru_utime.tv_usec / 1000 + u.ru_stime.tv_sec * 1000 +
           u.ru_stime.tv_usec / 1000;
}

static long peak_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* 0, or what was wrong as the child's exit status. */
static int index_file(struct file *f, uint64_t n)
{
    struct lode_format_input in = {.path = "m.safetensors", .size = f->size};
    struct lode_tensor_index *ix;
    struct lode_err err = {0};
    long before = cpu_ms();
    if (lode_format_index_files(&in, 1, from_file, f, &ix, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    long ms = cpu_ms() - before, kib = peak_kib();
    size_t footprint = lode_index_footprint(ix);
    fprintf(stderr, "%llu tensors: index of %zu MiB, peak %ld MiB, %ld ms of CPU\n",
            (unsigned long long)n, footprint >> 20, kib >> 10, ms);
    if (lode_index_count(ix) != n || footprint > (size_t)HEADER * 3 / 2)
        return 2;
    lode_index_unref(ix);
    if (SANITIZED)
        return 0;
    return kib > PEAK_KIB ? 3 : ms > CPU_MS ? 4 : 0;
}

static void in_a_child(entry_fn *entry)
{
    struct file f;
    uint64_t n = write_file(&f, entry);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(index_file(&f, n));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    fclose(f.at);
}

static void names_in_a_bad_order(void **state)
{
    in_a_child(realistic);
}

static void shortest_entries(void **state)
{
    in_a_child(shortest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_in_a_bad_order),
                                       cmocka_unit_test(shortest_entries)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
