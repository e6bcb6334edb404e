/* placeholder for landing order */
#pragma once
#include "coord/coord.h"
struct lode_projection;
static inline void lode_projection_close(struct lode_projection *p)
{
    (void)p;
}
static inline int lode_projection_open(struct lode_coord *c, const char *id,
                                       struct lode_projection **out, struct lode_err *err)
{
    *out = NULL;
    return 0;
}
