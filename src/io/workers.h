/* A fixed set of threads that run jobs, with a bounded queue: hashing, decoding and files of a push
 * or pull.
 *
 * Jobs are the caller's memory. A job's `run` is called exactly once for each job that was
 * accepted, with `cancelled` true where the workers were told to stop before it began: then it only
 * releases. Jobs may submit further jobs with lode_workers_try_submit(); waiting for room inside a
 * job could wait for itself.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

struct lode_workers;

struct lode_job {
    void (*run)(struct lode_job *job, bool cancelled); /* may free the job */
    struct lode_job *next;                             /* the workers' */
};

/* n threads (at least 1); at most `queue` jobs wait. NO_MEMORY, UNAVAILABLE (no thread can be had:
 * with fewer than n it goes on). */
int lode_workers_new(unsigned n, size_t queue, struct lode_workers **out,
                     struct lode_err *err) lode_must_use;

/* Waits for room. 0, or CANCELLED: the job was not accepted. Not from inside a job. */
int lode_workers_submit(struct lode_workers *w, struct lode_job *job) lode_must_use;

/* 0; LIMIT where the queue is full, CANCELLED. Never waits. */
int lode_workers_try_submit(struct lode_workers *w, struct lode_job *job) lode_must_use;

/* Waits until every accepted job has run. Not from inside a job. */
void lode_workers_drain(struct lode_workers *w);

/* Jobs that have not begun are run with `cancelled`; later ones are not accepted. Does not wait. */
void lode_workers_cancel(struct lode_workers *w);

unsigned lode_workers_count(const struct lode_workers *w);

/* Drains, then ends the threads. NULL is fine. */
void lode_workers_free(struct lode_workers *w);

LODE_DEFINE_CLEANUP(struct lode_workers *, lode_workers_freep, lode_workers_free)
#define _cleanup_workers_ lode_cleanup(lode_workers_freep)

/* Cores that this process may use (its affinity mask), at least 1. */
unsigned lode_cores(void);
