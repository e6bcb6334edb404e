/* Roots, files and models for the tests of the verbs. Everything lies below one fresh temporary
 * directory, which also becomes HOME, LODE_HOME and LODE_CACHE of the process, so that no test
 * touches its user's own root. */
#pragma once
#include <lode/lode.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes the directory and sets the environment; removed at exit. Call once, before any thread.
 * Returns its path. */
const char *root_scratch(void);

/* A path below the scratch directory, valid until the 64th next call. */
const char *root_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A new, empty root: embedded in a new directory, or in memory. Aborts the test when it cannot be
 * made. */
struct lode *root_open(bool in_memory);

/* Opens a directory's root again. */
struct lode *root_reopen(const char *dir);

/* Writes a file with directories above it. */
void root_write(const char *path, const void *bytes, size_t len);
void root_fill(const char *path, size_t len,
               uint64_t seed);                  /* with bytes that the seed determines */
void *root_read(const char *path, size_t *len); /* aborts when it is not there; free() it */
void root_safetensors(const char *path, size_t tensors, size_t floats,
                      uint64_t seed); /* "t0" ... F32 [floats] */

/* True if both directories hold the same files with the same bytes, and nothing else. */
bool root_same_tree(const char *a, const char *b);

/* Bytes of all regular files below a directory; how many are in *files if not NULL. */
uint64_t root_tree_bytes(const char *dir, size_t *files);

/* rm -rf. */
void root_remove_tree(const char *dir);

/* Pushes paths[0..n) as a version (NULL: named by the clock); 0 or the code, told in err. */
int root_push(struct lode *lode, const char *model, const char *path, const char *version,
              struct lode_version *out, struct lode_err *err);

/* Fails the test with the message when r is not 0. */
#define root_ok(r, err) root_check((r), (err), __FILE__, __LINE__)
void root_check(int r, const struct lode_err *err, const char *file, int line);

/* Fails the test unless r is `code` and the message holds `text` (NULL: any, but some). */
#define root_refused(r, code, err, text)                                                           \
    root_check_refused((r), (code), (err), (text), __FILE__, __LINE__)
void root_check_refused(int r, int code, const struct lode_err *err, const char *text,
                        const char *file, int line);
