/* Where the coords of this tree are made for the suite; a new back end gets its place here. See
 * coord_suite.h. */
#include <stdio.h>
#include "base/mem.h"
#include "conformance/coord_suite.h"
#include "support/coord_kit.h"

/* A handle of our own keeps a map in memory between the handles of a test. */
static const char *fresh_mem(void *arg)
{
    static char url[32];
    static int n;
    struct lode_coord **keep = arg;
    lode_coord_close(*keep);
    snprintf(url, sizeof url, "mem:suite-%d", n++);
    *keep = kit_open(url, NULL);
    return url;
}

static void done_mem(void *arg)
{
    lode_coord_close(*(struct lode_coord **)arg);
}

static const char *fresh_sqlite(void *arg)
{
    static char url[64];
    char **dir = arg;
    kit_remove_dir(*dir);
    *dir = kit_temp_dir();
    snprintf(url, sizeof url, "sqlite://%s/coord.db", *dir);
    return url;
}

static void done_sqlite(void *arg)
{
    kit_remove_dir(*(char **)arg);
}

static struct lode_coord *mem_keep;
static char *sqlite_dir;

const struct coord_suite coord_suite_mem = {.name = "coord: mem",
                                            .fresh = fresh_mem,
                                            .done = done_mem,
                                            .arg = &mem_keep,
                                            .log_keep = true,
                                            .read_only = true,
                                            .lease_ms = 100};
const struct coord_suite coord_suite_sqlite = {.name = "coord: sqlite",
                                               .fresh = fresh_sqlite,
                                               .done = done_sqlite,
                                               .arg = &sqlite_dir,
                                               .processes = true,
                                               .log_keep = true,
                                               .read_only = true,
                                               .lease_ms = 500};
