/* Failing every fallible call of a scenario, one after the other.
 *
 * fault_walk() first runs the scenario without a fault and counts its calls of each kind; then, for
 * each kind, each call k and each way to fail that kind, it runs it again with that one call
 * failing. Each run is a forked child: a crash or a hang is a failed shot like any other, and
 * nothing leaks from one shot into the next. So the test program must not have started threads
 * itself. All shots in long mode (LODE_TEST_LONG=1), a seeded tenth (LODE_TEST_SEED), with at least
 * the first call of each kind, otherwise.
 *
 * A shot in the child: prepare -> [arm] run [disarm] -> check -> the driver's own oracle:
 *   - a failure carries a message: err.code is the result and err.text is not empty;
 *   - a result of 0 needs no fault to have been fatal: `check` proves that the work is whole;
 *   - no descriptor is open that was not open before `run`;
 *   - no sanitizer report, no signal, no more than FAULT_WALK_SECONDS.
 * cmocka's assertions may be used in all callbacks. Syncs are only pretended (fault_pretend_syncs).
 *
 * To repeat one shot alone: LODE_FAULT_SHOT=write:3:28:0 ./the_test (kind:call:error:flags, as it
 * was printed), with LODE_FAULT_TRACE=1 for the stack where the fault hits. LODE_FAULT_SLOW=1
 * tells the shots that take long; LODE_FAULT_KINDS=sync,rename walks these kinds alone.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "support/fault_sys.h"

#define FAULT_WALK_SECONDS 60

struct fault_shot {
    enum fault_kind kind;
    uint64_t nth; /* 0: the run without a fault */
    int error, flags;
    bool fired; /* in check: the fault has hit a call */
};

struct fault_scenario {
    const char *name;
    /* Fresh state on disk and in `arg`; no faults yet. */
    void (*prepare)(void *arg);
    /* The work. Releases what it opens. 0 or a negative code with its message in err. */
    int (*run)(void *arg, struct lode_err *err);
    /* The oracle, without faults: what must hold after `run` answered `result`. */
    void (*check)(void *arg, const struct fault_shot *shot, int result, const struct lode_err *err);
    void *arg;
    uint32_t kinds;    /* mask of 1 << FAULT_x; 0: all but FAULT_SQLITE_MALLOC */
    const char *below; /* limits the faults to calls below this directory; NULL: everywhere */
    bool power_cut;    /* tracks `track` and cuts the power between run and check, also in the run
                          without fault */
    const char *track;
};

/* Walks; fails the cmocka test at the end if any shot failed, listing them on stderr. */
void fault_walk(const struct fault_scenario *s);

/* Kills the scenario at `short_kills` random moments of `run` (`long_kills` in long mode;
 * LODE_TEST_SEED): SIGKILL, then `check` in a new process. Its `shot` is all zero, its result 0
 * where `run` had answered 0 before the kill, else LODE_INTERNAL. `prepare` is not disturbed; what
 * `check` needs to know of it must not lie in memory. */
void fault_kill_walk(const struct fault_scenario *s, unsigned short_kills, unsigned long_kills);
