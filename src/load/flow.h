/* A flow: several threads that work on one verb, its callbacks, and its first failure.
 *
 * The caller's callbacks (progress, cancelled) are called from the thread that called the verb and
 * from no other. The first failure, or a cancel, stops all workers soon: they ask
 * lode_flow_stopped() between steps.
 */
#pragma once
#include <lode/lode.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"
#include "base/err.h"

#define LODE_FLOW_THREADS_MAX 32

struct lode_flow {
    const struct lode_call *call; /* borrowed; may be NULL */
    const char *stage;            /* "upload" ... */
    _Atomic uint64_t done, total; /* bytes */
    _Atomic uint64_t files_done, files_total;
    _Atomic bool stopped;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a worker ended */
    unsigned running;    /* guarded by lock */
    struct lode_err err; /* the first failure; code 0: none. Guarded by lock */
    uint64_t told;       /* `done` at the last progress call; the caller's thread alone */
};

int lode_flow_init(struct lode_flow *self, const char *stage, const struct lode_call *call,
                   struct lode_err *err) lode_must_use;
void lode_flow_release(struct lode_flow *self);

/* Stops the flow with a failure; only the first counts. Any thread. Returns code. */
int lode_flow_fail(struct lode_flow *self, const struct lode_err *why);
bool lode_flow_stopped(struct lode_flow *self);

/* Runs worker(arg) in up to n threads, calls the callbacks meanwhile, and waits for all. A worker
 * ends when there is no more work or the flow is stopped. 0, or the first failure (CANCELLED when
 * the caller's callback said so). With fewer threads than asked for, for want of resources, it goes
 * on with those; with none it fails. */
typedef void lode_flow_worker(void *arg);
int lode_flow_run(struct lode_flow *self, unsigned n, lode_flow_worker *worker, void *arg,
                  struct lode_err *err) lode_must_use;

/* For single-threaded verbs: tells progress and asks for a cancel; 0 or CANCELLED. */
int lode_flow_tick(struct lode_flow *self, struct lode_err *err) lode_must_use;

/* Threads worth having for work that both computes and waits for devices: 2 a processor, within
 * [low, high]. */
unsigned lode_flow_threads(unsigned low, unsigned high);

#define _cleanup_flow_ __attribute__((cleanup(lode_flow_release)))
