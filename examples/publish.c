/* Publishes a file or directory as a new version and promotes it:
 *
 *     cc publish.c $(pkg-config --cflags --libs lode) -o publish
 *     ./publish rank ./model prod
 */
#include <lode/lode.h>
#include <stdio.h>

static void progress(void *arg, const struct lode_progress *p)
{
    (void)arg;
    fprintf(stderr, "\r%s: %llu of %llu MiB", p->stage, (unsigned long long)p->done >> 20,
            (unsigned long long)p->total >> 20);
}

int main(int argc, char **argv)
{
    struct lode *lode = NULL;
    struct lode_err err;
    struct lode_version v;
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL PATH ALIAS\n", argv[0]);
        return 2;
    }
    const char *const paths[] = {argv[2]}, *const aliases[] = {argv[3]};
    struct lode_call call = {.progress = progress, .why = "published by an example"};
    struct lode_push_options options = {
        .paths = paths, .n_paths = 1, .aliases = aliases, .n_aliases = 1, .call = &call};
    int r = lode_open(NULL, &lode, &err);
    if (r == 0)
        r = lode_push(lode, argv[1], &options, &v, &err);
    fputc('\n', stderr);
    if (r == 0) {
        printf("%s@%s, number %llu: %llu tensors, %llu parameters\n", v.name, v.version,
               (unsigned long long)v.seq, (unsigned long long)v.tensors,
               (unsigned long long)v.parameters);
        lode_version_release(&v);
    } else {
        fprintf(stderr, "%s: %s\n", lode_code_name(r), err.text);
    }
    lode_close(lode);
    return r < 0;
}
