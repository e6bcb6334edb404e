/* A fair queue of processes, on a file: who asks first gets its turn first; and news that reach all
 * of them at once.
 *
 * A ticket is a byte of the file locked by its owner (an open-file-description lock); a process's
 * turn has come when no byte below its own is locked. The kernel drops the locks of whoever dies,
 * holder or waiter, so nothing is ever stuck or needs repair. Words in the file, mapped by all, are
 * only hints through which waiters sleep (futex) instead of asking again and again; a lost hint
 * costs LODE_TURN_NAP_MS.
 *
 * Invariants
 *  1. A ticket's byte is locked before the gate that gave out its number is left: an older ticket
 * is always seen.
 *  2. Between take and give no other handle of the same file has its turn.
 *  3. Nothing read from the mapped words decides who goes first, but `next`, which is changed
 * inside the gate.
 */
#pragma once
#include <stdint.h>
#include "base/err.h"

#define LODE_TURN_NAP_MS 10

struct lode_turn;

/* Opens or makes the queue file, with the mode of the file `like`. */
int lode_turn_open(const char *path, const char *like, struct lode_turn **out,
                   struct lode_err *err) lode_must_use;
void lode_turn_close(struct lode_turn *self); /* NULL is safe */

/* Waits for the turn until `deadline_ms` (CLOCK_MONOTONIC), TIMEOUT after. One thread of a handle
 * at a time. */
int lode_turn_take(struct lode_turn *self, int64_t deadline_ms, struct lode_err *err) lode_must_use;
void lode_turn_give(struct lode_turn *self);

/* The number of the news; announce raises it and wakes every process that waits for a number other
 * than it saw. */
uint32_t lode_turn_news(struct lode_turn *self);
void lode_turn_announce(struct lode_turn *self);
void lode_turn_wait_news(struct lode_turn *self, uint32_t seen, int64_t ms);
