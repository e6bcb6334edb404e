/* Reading the ranges of a plan in parallel, checking each block where it lies. */
#pragma once
#include "load/bytes.h"
#include "load/flow.h"
#include "load/plan.h"

/* Into `memory` (plan->bytes of it). With memory NULL the bytes are only read and checked, through
 * small buffers of this call's own. In flight: one span a thread. */
int lode_fill(struct lode_bytes *bytes, const struct lode_plan *plan, void *memory,
              const struct lode_call *call, struct lode_err *err) lode_must_use;
