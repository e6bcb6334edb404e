/* The coord suite on sqlite. */
#include <pthread.h>
#include <stdio.h>
#include "base/mem.h"
#include "conformance/coord_suite.h"
#include "support/coord_kit.h"

struct place {
    char *dir;
    char url[64];
};

static const char *fresh(void *arg)
{
    struct place *p = arg;
    kit_remove_dir(p->dir);
    p->dir = kit_temp_dir();
    snprintf(p->url, sizeof p->url, "sqlite://%s/coord.db", p->dir);
    return p->url;
}

static void done(void *arg)
{
    kit_remove_dir(((struct place *)arg)->dir);
}

int main(void)
{
    struct place place = {0};
    struct coord_suite suite = {.name = "coord: sqlite", .fresh = fresh, .done = done, .arg = &place, .processes = true,
                                .log_keep = true, .read_only = true, .lease_ms = 250};
    return coord_suite_run(&suite);
}
