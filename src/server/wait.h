/* Condition variables that wait by CLOCK_MONOTONIC: a step of the wall clock wakes nobody early or
 * never. */
#pragma once
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include "base/clock.h"

static inline void srv_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* Waits for a signal until lode_mono_ms() is `until`. */
static inline void srv_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until)
{
    struct timespec at = {until / 1000, until % 1000 * 1000000};
    pthread_cond_timedwait(cond, lock, &at);
}
