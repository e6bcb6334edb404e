/* The C library in one page: publish a model with a metric, promote it, find it again and use a
 * tensor of it.
 *
 *     cc publish_and_load.c $(pkg-config --cflags --libs lode) && ./a.out
 *
 * Works on the default root (LODE_URL, else ~/.lode): name a server in LODE_URL and nothing else
 * changes.
 */
#include <lode/lode.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL "example-sum"

static void stop(const char *what, const struct lode_err *err)
{
    fprintf(stderr, "%s: %s (%s)\n", what, err->text, lode_code_name(err->code));
    exit(1);
}

/* A safetensors file: the length of its header, the header, the tensor's bytes. */
static void train(const char *path, const float weights[4])
{
    static const char header[] =
        "{\"weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}      ";
    uint64_t len = sizeof header - 1;
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(&len, sizeof len, 1, file) != 1 || fwrite(header, len, 1, file) != 1 ||
        fwrite(weights, sizeof *weights, 4, file) != 4 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void publish(struct lode *lode, const char *path)
{
    struct lode_err err;
    struct lode_version version;
    const struct lode_metric accuracy = {.key = "accuracy", .value = 0.97};
    const char *const aliases[] = {"prod"};
    const struct lode_push_options options = {.paths = &path,
                                              .n_paths = 1,
                                              .aliases = aliases,
                                              .n_aliases = 1,
                                              .metrics = &accuracy,
                                              .n_metrics = 1};
    if (lode_push(lode, MODEL, &options, &version, &err) < 0)
        stop("cannot publish", &err);
    printf("published %s@%s, number %llu\n", version.name, version.version,
           (unsigned long long)version.seq);
    lode_version_release(&version);
}

static float use(struct lode *lode)
{
    struct lode_err err;
    struct lode_model *model;
    struct lode_tensor_view weight;
    if (lode_load(lode, MODEL "@prod", NULL, &model, &err) < 0)
        stop("cannot load", &err);
    if (lode_model_tensor(model, "weight", &weight, &err) < 0)
        stop("cannot find the tensor", &err);
    float sum = 0, element;
    for (uint64_t at = 0; at < weight.len; at += sizeof element) {
        memcpy(&element, (const char *)weight.data + at, sizeof element);
        sum += element;
    }
    struct lode_load_stats stats;
    lode_model_stats(model, &stats);
    printf("loaded %llu bytes, %s; they sum up to %g\n", (unsigned long long)stats.bytes,
           stats.verified ? "every one checked" : "not checked", sum);
    lode_model_free(model);
    return sum;
}

int main(void)
{
    struct lode_err err;
    struct lode *lode;
    char path[] = "/tmp/example-XXXXXX.safetensors";
    if (lode_open(NULL, &lode, &err) < 0)
        stop("cannot open the root", &err);
    int fd = mkstemps(path, (int)strlen(".safetensors"));
    if (fd < 0) {
        perror(path);
        return 1;
    }
    close(fd);
    train(path, (const float[]){1, 2, 3, 4});
    publish(lode, path);
    float sum = use(lode);
    unlink(path);
    lode_close(lode);
    return sum > 9.5f && sum < 10.5f ? 0 : 1;
}
