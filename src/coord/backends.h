/* The coord back ends of this tree; a new one is one file and one line here and in table.c. */
#pragma once
#include <lode/coord_ops.h>

extern const struct lode_coord_ops lode_coord_sqlite_ops;
extern const struct lode_coord_ops lode_coord_mem_ops;
