/* Tags and metrics of a request's body. */
#pragma once
#include "base/json.h"
#include "model/record.h"

struct srv_notes {
    struct lode_tag *tags;       /* keys and values borrowed from the body */
    struct lode_metric *metrics; /* keys borrowed */
    size_t n_tags, n_metrics;
};
/* Reads and checks "tags" and "metrics"; null values remove. What it answers borrows from the body.
 */
int srv_notes_read(const json_t *body, struct srv_notes *out, struct lode_err *err) lode_must_use;
/* For a version that is new: there is nothing to remove. */
void srv_notes_drop_removals(struct srv_notes *notes);
void srv_notes_release(struct srv_notes *notes);
#define _cleanup_srv_notes_ __attribute__((cleanup(srv_notes_release)))
