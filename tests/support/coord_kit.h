/* Short words for tests that use a coord: each asserts (cmocka) that the call itself did not fail.
 */
#pragma once
#include <sys/types.h>
#include "coord/coord.h"

/* Opens or fails the test with the message. `options` as in lode_coord_config; may be NULL. */
struct lode_coord *kit_open(const char *url, const char *const *options);

/* One key written or deleted without a comparison; the revision. */
uint64_t kit_put(struct lode_coord *c, const char *key, const char *value);
uint64_t kit_put_leased(struct lode_coord *c, const char *key, const char *value, uint64_t lease);
uint64_t kit_delete(struct lode_coord *c, const char *key);

/* Writes if the key's last revision is `modified` (0: absent). True if it was. */
bool kit_swap(struct lode_coord *c, const char *key, uint64_t modified, const char *value);

/* The key's value as a number after one more, by a loop of compare and swap. */
long kit_increment(struct lode_coord *c, const char *key);

/* The value as owned text (lode_free); NULL when absent. */
char *kit_get(struct lode_coord *c, const char *key);
bool kit_has(struct lode_coord *c, const char *key);
uint64_t kit_revision(struct lode_coord *c);

/* Polls until the key is there or not, up to `ms`; false on time-out. */
bool kit_wait_gone(struct lode_coord *c, const char *key, int64_t ms);

/* fork(), but the child dies with its parent; a kit function that fails in it ends it (99). */
pid_t kit_fork(void);

/* A directory of its own beneath /tmp, and its removal with all in it. */
char *kit_temp_dir(void);
void kit_remove_dir(char *dir); /* frees the name too; NULL is safe */

/* The seed of this run, from LODE_TEST_SEED or the clock, printed once. */
uint64_t kit_seed(void);
uint64_t kit_random(uint64_t *state);
