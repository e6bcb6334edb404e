/* Out of memory at every allocation: parsing a version with every format, and reading its index
 * back from JSON, either works or says so, and leaves nothing behind. */
#include "format/index_json.h"
#include "format/zipper.h"
#include "support/fault_walk.h"

struct work {
    struct set s;
    size_t tensors;
};

static void prepare(void *arg)
{
    struct work *w = arg;
    static uint8_t npy[128] =
        "\x93NUMPY\1\0\x3c\0{'descr': '<u2', 'fortran_order': False, 'shape': (3,), }   \n";
    static const char map[] = "{\"weight_map\":{\"w\":\"1.safetensors\",\"x\":\"2.safetensors\"}}";
    struct zip_entry e[] = {{"a.npy", npy, 70 + 6, .deflated = true}, {"b.npy", npy, 70 + 6}};
    struct lode_buf zip = LODE_BUF_INIT(1 << 20);
    set_release(&w->s);
    zip_add(&zip, &e[0]);
    zip_add(&zip, &e[1]);
    zip_end(&zip, e, 2, false);
    set_add_safetensors(&w->s, "d/1.safetensors",
                        "{\"w\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2);
    set_add_safetensors(&w->s, "d/2.safetensors",
                        "{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2);
    set_add(&w->s, "d/m.safetensors.index.json", map, sizeof map - 1);
    set_add_safetensors(&w->s, "e.safetensors",
                        "{\"w\":{\"dtype\":\"U8\",\"shape\":[2,1],\"data_offsets\":[0,2]}}", 2);
    set_add(&w->s, "n.npy", npy, 70 + 6);
    set_add(&w->s, "z.npz", zip.data, zip.len);
    lode_buf_release(&zip);
}

static int read_back(const struct lode_buf *json, struct lode_tensor_index **out,
                     struct lode_err *err)
{
    struct lode_jsontok t;
    struct lode_json_tok tok;
    lode_jsontok_init(&t, "the manifest", LODE_TENSOR_NAME_MAX);
    lode_jsontok_feed(&t, json->data, json->len);
    lode_jsontok_end(&t);
    int r = lode_jsontok_next(&t, &tok, err);
    if (r > 0)
        r = lode_index_read_json(&t, &tok, NULL, 6, out, err);
    lode_jsontok_release(&t);
    return r;
}

static int work(void *arg, struct lode_err *err)
{
    struct work *w = arg;
    _cleanup_index_ struct lode_tensor_index *ix = NULL, *back = NULL;
    _cleanup_buf_ struct lode_buf json = LODE_BUF_INIT(1 << 20);
    int r = set_index(&w->s, &ix, err);
    if (r < 0)
        return r;
    lode_index_write_json(ix, &json);
    r = lode_buf_check(&json, "the index", err);
    if (r == 0)
        r = read_back(&json, &back, err);
    if (r == 0)
        w->tensors = lode_index_count(back);
    return r;
}

static void check(void *arg, const struct fault_shot *shot, int result, const struct lode_err *err)
{
    struct work *w = arg;
    if (result == 0)
        assert_int_equal(w->tensors, 6);
    else
        assert_int_equal(result, LODE_NO_MEMORY);
    w->tensors = 0;
    set_release(&w->s);
}

static void out_of_memory(void **state)
{
    struct work w = {0};
    fault_walk(&(struct fault_scenario){.name = "indexing files",
                                        .prepare = prepare,
                                        .run = work,
                                        .check = check,
                                        .arg = &w,
                                        .kinds = 1u << FAULT_MALLOC});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
