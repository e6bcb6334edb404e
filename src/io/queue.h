/* A bounded queue of pointers between the stages of a pipeline, first in first out. A full queue
 * makes the pusher wait: that is the back-pressure. Thread-safe, any number of pushers and poppers.
 *
 * The pusher closes it: poppers get the rest, then the end. Anyone may cancel it with a reason:
 * both sides stop at once, and whoever frees the queue takes out what is left with
 * lode_queue_rest().
 */
#pragma once
#include <stddef.h>
#include "base/err.h"

struct lode_queue;

int lode_queue_new(size_t capacity, struct lode_queue **out, struct lode_err *err) lode_must_use;

/* Waits for room. 0, or the code of the cancellation: the item stays the caller's. */
int lode_queue_push(struct lode_queue *q, void *item) lode_must_use;

/* Waits for an item. 0 with the item, 0 with NULL at the end, or the code of the cancellation. */
int lode_queue_pop(struct lode_queue *q, void **item) lode_must_use;

void lode_queue_close(struct lode_queue *q);

/* `code` (negative) is what both sides get from now on; the first one stays. */
void lode_queue_cancel(struct lode_queue *q, int code);

/* An item that is left, never waiting, or NULL: for releasing them. */
void *lode_queue_rest(struct lode_queue *q);

/* Nobody uses it any more and it is empty. NULL is fine. */
void lode_queue_free(struct lode_queue *q);
