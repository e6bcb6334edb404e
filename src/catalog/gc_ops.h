/* What only a direct catalog can do, for gc, doctor and backup: records that name bytes to be
 * freed. gc works from these records, never from a listing of the store (invariant 5 of the
 * design).
 */
#pragma once
#include "catalog/catalog.h"

struct lode_garbage {
    char *ns, *name, *version;
    uint64_t attempt;
    char *directory;      /* store key to free */
    uint64_t size;        /* bytes, as far as recorded */
    int64_t since_ms;     /* abandoned or deleted at */
    bool deleted_version; /* else an abandoned attempt */
};
struct lode_garbage_list {
    struct lode_garbage *items;
    size_t n;
};

/* Attempts recorded as abandoned or whose claim is gone, and versions deleted for longer than
 * grace_ms that no lease holds. With grace_ms 0 deleted versions at once. */
int lode_catalog_garbage(struct lode_catalog *direct, int64_t grace_ms,
                         struct lode_garbage_list *out, struct lode_err *err) lode_must_use;

/* Takes one for deletion by a fenced transaction (CONFLICT: it is live again or another gc has it);
 * answers the trash key under which to rename it before deleting. A `publishing` attempt without a
 * claim is rolled back first. */
int lode_catalog_garbage_take(struct lode_catalog *direct, const struct lode_garbage *garbage,
                              char **trash_key, struct lode_err *err) lode_must_use;

/* Its bytes are gone: forgets the attempt, or marks the deleted version as freed (its name is never
 * given again). */
int lode_catalog_garbage_done(struct lode_catalog *direct, const struct lode_garbage *garbage,
                              struct lode_err *err) lode_must_use;

void lode_garbage_list_release(struct lode_garbage_list *list);

struct lode_coord *
lode_catalog_coord(struct lode_catalog *direct); /* borrowed; NULL for a remote catalog */
struct lode_store *
lode_catalog_store(struct lode_catalog *direct); /* borrowed; NULL for a remote catalog */
