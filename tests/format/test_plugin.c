/* Codecs and formats of a plug-in: a shared object, compiled here with the public headers alone and
 * named in LODE_PLUGINS, joins both tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "codec/codec.h"
#include "format/format.h"
#include "support/support.h"

static const char source[] =
    "#include <lode/codec_ops.h>\n"
    "#include <lode/format_ops.h>\n"
    "static size_t same(size_t n) { return n; }\n"
    "static size_t estimate(const void *s, size_t n, size_t raw) { return raw; }\n"
    "static int code(const void *raw, size_t n, void *out, size_t room, size_t *len, struct "
    "lode_err *e)\n"
    "{ for (size_t i = 0; i < n; i++) ((char *)out)[i] = ~((const char *)raw)[i]; *len = n; return "
    "0; }\n"
    "static int decode(const void *in, size_t n, void *out, size_t raw, struct lode_err *e)\n"
    "{ size_t len; return n != raw ? LODE_CORRUPT : code(in, n, out, raw, &len, e); }\n"
    "static const struct lode_codec_ops flip = {.abi = LODE_CODEC_ABI, .name = \"flip\", .estimate "
    "= estimate,\n"
    "    .bound = same, .encode = code, .decode = decode};\n"
    "static const struct lode_codec_ops *const codecs[] = {&flip, NULL};\n"
    "const struct lode_codec_ops *const *lode_plugin_codec(uint32_t abi);\n"
    "const struct lode_codec_ops *const *lode_plugin_codec(uint32_t abi) { return abi == "
    "LODE_CODEC_ABI ? codecs : 0; }\n"
    "static enum lode_format_match match(const struct lode_format_file *f) { return "
    "LODE_FORMAT_BY_CONTENT; }\n"
    "static int open_(const struct lode_format_file *f, size_t n, struct lode_index_builder *b,\n"
    "    struct lode_format **out, struct lode_err *e) { static struct lode_format one; *out = "
    "&one; return 0; }\n"
    "static int step(struct lode_format *s, struct lode_format_need *n, struct lode_err *e) { "
    "return LODE_FORMAT_DONE; }\n"
    "static int feed(struct lode_format *s, const void *b, size_t n, struct lode_err *e) { return "
    "0; }\n"
    "static void close_(struct lode_format *s) {}\n"
    "static const struct lode_format_ops any = {.abi = LODE_FORMAT_ABI, .name = \"any\", .match = "
    "match, .open = open_,\n"
    "    .step = step, .feed = feed, .close = close_};\n"
    "static const struct lode_format_ops *const formats[] = {&any, NULL};\n"
    "const struct lode_format_ops *const *lode_plugin_format(uint32_t abi);\n"
    "const struct lode_format_ops *const *lode_plugin_format(uint32_t abi) { return abi == "
    "LODE_FORMAT_ABI ? formats : 0; }\n";

static char folder[] = "/tmp/lode-plugin-XXXXXX";

static int build(void **state)
{
    const char *tree = getenv("LODE_SOURCE");
    char path[256], command[2048];
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/p.c", folder);
    FILE *f = fopen(path, "w");
    fputs(source, f);
    fclose(f);
    snprintf(command, sizeof command, "cc -shared -fPIC -I'%s/include' -o %s/p.so %s",
             tree ? tree : ".", folder, path);
    if (system("cc --version > /dev/null 2>&1") != 0)
        lode_test_skip("no C compiler under the name cc");
    if (system(command) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/p.so", folder);
    return setenv("LODE_PLUGINS", path, 1);
}

static int clean(void **state)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void codec_of_plugin(void **state)
{
    const struct lode_codec_ops *flip = lode_codec_find("flip");
    assert_non_null(flip);
    char out[3];
    assert_int_equal(flip->decode("\xff\xfe\x00", 3, out, 3, NULL), 0);
    assert_memory_equal(out, "\x00\x01\xff", 3);
    assert_null(lode_codec_find("flop"));
}

static int read_byte(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                     struct lode_err *err)
{
    memset(into, 'x', len);
    return 0;
}

static void format_of_plugin(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct lode_format_input in = {.path = "what", .size = 1};
        struct lode_tensor_index *ix = NULL;
        assert_int_equal(lode_format_index_files(&in, 1, read_byte, NULL, &ix, NULL), 0);
        assert_string_equal(in.format, "any");
        lode_index_unref(ix);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(codec_of_plugin),
                                       cmocka_unit_test(format_of_plugin)};
    return cmocka_run_group_tests(tests, build, clean);
}
