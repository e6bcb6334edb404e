/* Is a history of concurrent clients linearizable? (Wing and Gong's search with Lowe's memory of
 * visited states, one object at a time: an object's operations touch no other object, so each can
 * be judged alone.)
 *
 * An object is a pair of keys. Every write writes a value that no other write of the history
 * writes; 0 stands for an absent key. An operation takes effect at one moment between its call and
 * its return. One whose answer never came (its client was killed, or was told so) may take effect
 * at any moment after its call, or never.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIN_OPS_MAX 512 /* of one object */

enum lin_kind {
    LIN_GET,   /* saw value[key] */
    LIN_SNAP,  /* saw both at one moment */
    LIN_WRITE, /* writes the keys of `mask` if all of `compared` held `expect`; `done` says whether
                  they did */
};

struct lin_op {
    enum lin_kind kind;
    uint32_t object;
    uint8_t key;            /* LIN_GET: 0 or 1 */
    uint8_t mask, compared; /* bits of keys */
    bool done;              /* LIN_WRITE: compares held */
    bool unknown;           /* the answer never came */
    uint64_t value[2];      /* seen or written */
    uint64_t expect[2];
    uint64_t revision; /* of a write that was done; 0 if unknown */
    int64_t call, ret; /* ns of one clock for all clients */
    int client;
};

enum lin_verdict { LIN_OK, LIN_BAD, LIN_UNDECIDED };

/* Judges all objects. `why` gets a line on the first bad one. Also BAD: revisions of writes that
 * contradict real time or are used twice. */
enum lin_verdict lin_check(const struct lin_op *ops, size_t n, char *why, size_t room);
