/* Planted bugs: proof that the tests have teeth.
 *
 *     if (!LODE_PLANTED(skip_dir_fsync) && lode_sys->fsync(dirfd) < 0)
 *
 * In every build but one LODE_PLANTED() is the constant 0 and leaves no code behind. `make
 * test-teeth` builds once with -DLODE_PLANTS=ON, where the environment variable LODE_PLANT names
 * the one bug that is switched on, and demands of each that the tests named beside it in
 * tests/teeth/plants.txt fail. The argument is a bare word; tests/check_plants.py compares the
 * words in the code with that list.
 */
#pragma once

#ifdef LODE_PLANTS
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool lode_planted(const char *name)
{
    const char *chosen = getenv("LODE_PLANT");
    return chosen && strcmp(chosen, name) == 0;
}
#define LODE_PLANTED(name) lode_planted(#name)
#else
#define LODE_PLANTED(name) 0
#endif
