/* Loads a version, or a local file or directory without any registry, and tells its tensors:
 *
 *     cc load.c $(pkg-config --cflags --libs lode) -o load
 *     ./load rank@prod
 *     ./load ./model.safetensors
 */
#include <lode/lode.h>
#include <stdio.h>

static void print_tensor(const struct lode_tensor_view *t)
{
    printf("%-40s %-8s [", t->name, lode_dtype_name(t->dtype));
    for (unsigned i = 0; i < t->rank; i++)
        printf("%s%llu", i ? ", " : "", (unsigned long long)t->shape[i]);
    printf("] %llu bytes\n", (unsigned long long)t->len);
}

int main(int argc, char **argv)
{
    struct lode *lode = NULL;
    struct lode_model *model = NULL;
    struct lode_load_stats stats;
    struct lode_err err;
    if (argc != 2) {
        fprintf(stderr, "usage: %s REF|PATH\n", argv[0]);
        return 2;
    }
    int r = lode_open(NULL, &lode, &err);
    if (r == 0)
        r = lode_load(lode, argv[1], NULL, &model, &err);
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", lode_code_name(r), err.text);
        lode_close(lode);
        return 1;
    }
    for (size_t i = 0; i < lode_model_count(model); i++) {
        struct lode_tensor_view t;
        if (lode_model_at(model, i, &t, &err) == 0)
            print_tensor(&t);
    }
    lode_model_stats(model, &stats);
    printf("%llu bytes in %.3f s, %s%s\n", (unsigned long long)stats.bytes, stats.seconds,
           stats.verified ? "verified" : "not verified", stats.mapped ? ", mapped" : "");
    lode_model_free(model);
    lode_close(lode);
    return 0;
}
