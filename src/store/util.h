/* What several files of this room share; nothing here is for the rooms below. */
#pragma once
#include <lode/store_ops.h>
#include <pthread.h>
#include <stdbool.h>
#include "base/err.h"

/* The value of config->options[name], or NULL. */
const char *lode_store_option(const struct lode_store_config *config, const char *name);

/* An answer for what a back end or decorator lacks. */
int lode_store_unsupported(const struct lode_store *self, const char *what, struct lode_err *err);

/* READ_ONLY when the store was opened so; 0 otherwise. */
int lode_store_may_write(const struct lode_store *self, const char *key, struct lode_err *err);

/* Length of the parent's part of a key: 0 for "a", 1 for "a/b". */
size_t lode_key_parent(const char *key);

/* What follows the last '/'. Borrowed. */
const char *lode_key_leaf(const char *key);

/* "dir/name", or "name" in the base; owned. NULL when out of memory. */
char *lode_key_join(const char *dir, const char *name);

/* True if `key` is `dir` or lies beneath it; everything lies beneath "". */
bool lode_key_beneath(const char *key, const char *dir);

/* The first failure of a batch is what read_wait tells; later ones are dropped. */
void lode_err_keep_first(struct lode_err *first, const struct lode_err *next);

/* A condition whose timed waits run on CLOCK_MONOTONIC. */
void lode_cond_init(pthread_cond_t *cond);

/* Waits until the condition is signalled or lode_mono_ns() reaches `until`. */
void lode_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns);
