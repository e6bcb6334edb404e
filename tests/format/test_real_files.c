/* Files that the real safetensors and NumPy wrote (tests/format/real_files.py): our index tells the
 * same tensors, and its extents lead to the same bytes; and what the real safetensors refuses, so
 * do we. */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "codec/codec.h"
#include "format/files.h"
#include "support/support.h"

static char root[512];

static char *slurp(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is missing", path);
    struct stat st;
    assert_int_equal(fstat(fileno(f), &st), 0);
    char *text = malloc((size_t)st.st_size + 1);
    *len = fread(text, 1, (size_t)st.st_size, f);
    assert_int_equal(*len, st.st_size);
    text[*len] = 0;
    fclose(f);
    return text;
}

/* All files of a folder as one version. */
struct folder {
    char path[1024];
    struct lode_format_input inputs[200];
    size_t n;
};

static int read_file(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                     struct lode_err *err)
{
    struct folder *d = arg;
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", d->path, d->inputs[number].path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    ssize_t n = pread(fileno(f), into, len, (off_t)offset);
    fclose(f);
    return n == (ssize_t)len ? 0 : LODE_IO;
}

static void list_folder(struct folder *d, const char *name)
{
    *d = (struct folder){0};
    snprintf(d->path, sizeof d->path, "%s/%s", root, name);
    DIR *dir = opendir(d->path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        assert_true(d->n < LODE_ARRAY_LEN(d->inputs));
        assert_int_equal(fstatat(dirfd(dir), e->d_name, &st, 0), 0);
        d->inputs[d->n++] =
            (struct lode_format_input){.path = strdup(e->d_name), .size = (uint64_t)st.st_size};
    }
    closedir(dir);
}

static void forget_folder(struct folder *d)
{
    for (size_t i = 0; i < d->n; i++)
        free((char *)(uintptr_t)d->inputs[i].path);
}

/* The tensor's bytes, by its extents. */
static void append_hex(struct folder *d, const struct lode_tensor_index *ix, size_t i,
                       struct lode_buf *out)
{
    for (size_t k = 0; k < lode_index_extents(ix, i); k++) {
        struct lode_extent x = lode_index_extent(ix, i, k);
        uint8_t *stored = malloc(x.stored_len + 1), *raw = malloc(x.raw_len + 1);
        assert_int_equal(read_file(d, x.file, x.offset, stored, x.stored_len, NULL), 0);
        assert_int_equal(
            lode_codec_find(x.codec)->decode(stored, x.stored_len, raw, x.raw_len, NULL), 0);
        for (uint64_t at = x.raw_skip; at < x.raw_len; at++)
            lode_buf_addf(out, "%02x", raw[at]);
        free(stored);
        free(raw);
    }
}

/* The tensor as real_files.py writes it. */
static void describe(struct folder *d, const struct lode_tensor_index *ix, size_t i,
                     struct lode_buf *out)
{
    struct lode_tensor t = lode_index_get(ix, i);
    lode_buf_addf(out, "%s\t%s\t", t.name, lode_dtype_name(t.dtype));
    for (unsigned k = 0; k < t.rank; k++)
        lode_buf_addf(out, "%s%llu", k ? "," : "", (unsigned long long)t.shape[k]);
    lode_buf_addf(out, "\t%c\t%s\t", t.fortran_order ? 'F' : 'C', d->inputs[t.file].path);
    if (t.len)
        append_hex(d, ix, i, out);
    else
        lode_buf_addc(out, '-');
    lode_buf_addc(out, '\n');
}

static void check_case(const char *name)
{
    struct folder d;
    struct lode_tensor_index *ix;
    struct lode_err err = {0};
    char path[1024];
    size_t len;
    list_folder(&d, name);
    if (lode_format_index_files(d.inputs, d.n, read_file, &d, &ix, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    _cleanup_buf_ struct lode_buf ours = LODE_BUF_INIT(64 << 20);
    for (size_t i = 0; i < lode_index_count(ix); i++)
        describe(&d, ix, i, &ours);
    snprintf(path, sizeof path, "%s/%s.expect", root, name);
    char *theirs = slurp(path, &len);
    assert_true(len > 0);
    assert_string_equal(lode_buf_str(&ours), theirs);
    free(theirs);
    lode_index_unref(ix);
    forget_folder(&d);
}

static void same_tensors(void **state)
{
    static const char *const cases[] = {"safetensors", "other_types", "shards",
                                        "npy",         "npz",         "npz_compressed"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(cases); i++)
        check_case(cases[i]);
}

static void objects_refused(void **state)
{
    struct folder d;
    list_folder(&d, "object");
    assert_int_equal(d.n, 2);
    for (size_t i = 0; i < d.n; i++) {
        struct folder one = d;
        struct lode_tensor_index *ix;
        struct lode_err err = {0};
        one.inputs[0] = d.inputs[i];
        one.n = 1;
        assert_int_equal(lode_format_index_files(one.inputs, 1, read_file, &one, &ix, &err),
                         LODE_INVALID);
        assert_non_null(strstr(err.text, "Python objects"));
    }
    forget_folder(&d);
}

/* Edited headers: we may be stricter (a hole that the escapes of a name hide), never laxer. */
static void same_verdicts(void **state)
{
    char path[1024], *save = NULL;
    size_t len, good = 0, stricter = 0;
    snprintf(path, sizeof path, "%s/verdicts.expect", root);
    char *verdicts = slurp(path, &len);
    for (char *line = strtok_r(verdicts, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *verdict = strchr(line, '\t');
        struct lode_tensor_index *ix = NULL;
        struct lode_err err = {0};
        struct set s = {0};
        *verdict++ = 0;
        snprintf(path, sizeof path, "%s/verdicts/%s", root, line);
        char *bytes = slurp(path, &len);
        set_add(&s, "m.safetensors", bytes, len);
        int r = set_index(&s, &ix, &err);
        if (r == 0 && strcmp(verdict, "bad") == 0)
            fail_msg("%s is refused by safetensors, but not by us", path);
        if (r < 0 && strcmp(verdict, "good") == 0) {
            fprintf(stderr, "stricter than safetensors: %s\n", err.text);
            stricter++;
        }
        good += strcmp(verdict, "good") == 0;
        lode_index_unref(ix);
        set_release(&s);
        free(bytes);
    }
    free(verdicts);
    assert_true(good > 100);
    assert_true(stricter * 50 < good);
}

static int run(const char *python, const char *script)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execlp(python, python, script, root, (char *)NULL);
        _exit(77);
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int make_files(void **state)
{
    const char *source = getenv("LODE_SOURCE"), *tmp = getenv("TMPDIR");
    char script[1024], python[1024];
    snprintf(root, sizeof root, "%s/lode-real-XXXXXX", tmp ? tmp : "/tmp");
    snprintf(script, sizeof script, "%s/tests/format/real_files.py", source ? source : ".");
    snprintf(python, sizeof python, "%s/build/venv/bin/python", source ? source : ".");
    if (!mkdtemp(root))
        return -1;
    int r = run(access(python, X_OK) == 0 ? python : "python3", script);
    if (r == 77) {
        rmdir(root);
        lode_test_skip("the real safetensors, numpy and ml_dtypes are not installed (make venv)");
    }
    return r;
}

static int remove_files(void **state)
{
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_tensors),
        cmocka_unit_test(objects_refused),
        cmocka_unit_test(same_verdicts),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
