/* The coord suite on mem. */
#include <pthread.h>
#include <stdio.h>
#include "base/mem.h"
#include "conformance/coord_suite.h"
#include "support/coord_kit.h"

/* A handle of our own keeps the map between the handles of a test. */
struct place {
    struct lode_coord *keep;
    char url[32];
    int n;
};

static const char *fresh(void *arg)
{
    struct place *p = arg;
    lode_coord_close(p->keep);
    snprintf(p->url, sizeof p->url, "mem:suite-%d", p->n++);
    p->keep = kit_open(p->url, NULL);
    return p->url;
}

static void done(void *arg)
{
    lode_coord_close(((struct place *)arg)->keep);
}

int main(void)
{
    struct place place = {0};
    struct coord_suite suite = {
        .name = "coord: mem", .fresh = fresh, .done = done, .arg = &place, .log_keep = true, .read_only = true, .lease_ms = 100};
    return coord_suite_run(&suite);
}
