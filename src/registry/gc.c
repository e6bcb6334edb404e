/* gc: frees the bytes of deleted versions and of attempts that were given up: see <lode/lode.h>.
 *
 * It works from records, never from a listing. Each piece of garbage is first taken by a fenced
 * transaction, then renamed into the trash, then deleted, then forgotten; a kill in between leaves
 * a record from which the next gc goes on. What lies in the store and belongs to no record is
 * reported as foreign, and left alone.
 */
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "catalog/gc_ops.h"
#include "load/flow.h"
#include "model/record.h"
#include "registry/foreign.h"
#include "registry/push.h"

/* Renames into the trash and deletes. What a killed gc has renamed already is found in the trash.
 */
static int free_bytes(struct lode_store *store, const char *directory, const char *trash,
                      uint64_t *freed, struct lode_err *err)
{
    int r = LODE_UNSUPPORTED;
    if (lode_store_caps(store) & LODE_STORE_RENAME_DIR)
        r = lode_store_rename_dir(store, directory, trash, err);
    if (r == LODE_UNSUPPORTED) /* a store without renaming: attempts have directories of their own,
                                  so delete there */
        return lode_store_remove_tree(store, directory, freed, err);
    if (r < 0 && r != LODE_NOT_FOUND && r != LODE_EXISTS)
        return r;
    uint64_t first = 0, rest = 0;
    r = lode_store_remove_tree(store, trash, &first, err);
    if (r == 0)
        r = lode_store_remove_tree(store, directory, &rest, err);
    *freed = first + rest;
    return r;
}

/* *freed: bytes. CONFLICT: it is no garbage any more. */
static int free_one(struct lode *lode, const struct lode_garbage *g, uint64_t *freed,
                    struct lode_err *err)
{
    char *trash = NULL;
    *freed = 0;
    int r = lode_catalog_garbage_take(lode->catalog, g, &trash, err);
    if (r < 0)
        return r;
    r = free_bytes(lode->store, g->directory, trash, freed, err);
    lode_free(trash);
    return r < 0 ? r : lode_catalog_garbage_done(lode->catalog, g, err);
}

void lode_gc_attempt(struct lode *lode, const char *ns, const char *name, const char *version,
                     uint64_t attempt)
{
    struct lode_garbage_list list = {0};
    uint64_t freed;
    if (!lode->store || lode_catalog_garbage(lode->catalog, LODE_GRACE_MS, &list, NULL) < 0)
        return;
    for (size_t i = 0; i < list.n; i++) {
        const struct lode_garbage *g = &list.items[i];
        if (!g->deleted_version && g->attempt == attempt && strcmp(g->version, version) == 0 &&
            strcmp(g->name, name) == 0 && strcmp(g->ns, ns) == 0 &&
            free_one(lode, g, &freed, NULL) < 0)
            break; /* the next gc goes on with it */
    }
    lode_garbage_list_release(&list);
}

static int add_freed(json_t *freed, const struct lode_garbage *g, uint64_t bytes,
                     struct lode_err *err)
{
    json_t *item = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "ns", g->ns, "name", g->name,
                             "version", g->version, "kind",
                             g->deleted_version ? "deleted"
                             : *g->name         ? "abandoned"
                                                : "unfinished",
                             "directory", g->directory, "bytes", (json_int_t)bytes);
    return item && json_array_append_new(freed, item) == 0 ? 0 : lode_err_nomem(err, "a report");
}

/* Bytes beneath a directory, for a dry run. */
static int add_size(void *arg, const char *key, const struct lode_store_stat *st,
                    struct lode_err *err)
{
    *(uint64_t *)arg += st->size;
    return 0;
}

static int collect_one(struct lode *lode, const struct lode_garbage *g, bool dry_run,
                       uint64_t *bytes, json_t *freed, struct lode_err *err)
{
    uint64_t n = 0;
    int r = dry_run ? lode_store_walk(lode->store, g->directory, add_size, &n, err)
                    : free_one(lode, g, &n, err);
    if (r == LODE_CONFLICT) /* alive again, or another gc has it */
        return 0;
    if (r < 0 && !(dry_run && r == LODE_NOT_FOUND))
        return r;
    *bytes += n;
    return add_freed(freed, g, n, err);
}

static int collect(struct lode *lode, const struct lode_gc_options *o, struct lode_flow *flow,
                   uint64_t *bytes, json_t *freed, struct lode_err *err)
{
    struct lode_garbage_list list = {0};
    int r = lode_catalog_garbage(lode->catalog, o->grace_ms < 0 ? LODE_GRACE_MS : o->grace_ms,
                                 &list, err);
    flow->files_total = list.n;
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        r = lode_flow_tick(flow, err);
        if (r == 0)
            r = collect_one(lode, &list.items[i], o->dry_run, bytes, freed, err);
        flow->files_done++;
        flow->done = *bytes;
    }
    lode_garbage_list_release(&list);
    return r;
}

/* Writes that died before their first note belong to no attempt: a store tells them under keys of
 * its own, beneath this directory, and keeps those whose writer lives (HELD). */
#define ORPHANS "_staging/.parts"

static int collect_orphans(struct lode *lode, bool dry_run, json_t *freed, struct lode_err *err)
{
    struct lode_store_unfinished_list list = {0};
    if (!(lode_store_caps(lode->store) & LODE_STORE_RESUME))
        return 0;
    int r = lode_store_unfinished(lode->store, ORPHANS, &list, err);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        const struct lode_garbage orphan = {(char *)"",        (char *)"", (char *)"", 0,
                                            list.items[i].key, 0,          0,          false};
        if (!dry_run)
            r = lode_store_discard(lode->store, list.items[i].key, list.items[i].id, err);
        if (r == 0)
            r = add_freed(freed, &orphan, 0, err);
        else if (r == LODE_HELD || r == LODE_NOT_FOUND)
            r = 0;
    }
    lode_store_unfinished_release(&list);
    return r == LODE_NOT_FOUND ? 0 : r;
}

static int run_here(struct lode *lode, const struct lode_gc_options *o, char **json,
                    struct lode_err *err)
{
    struct lode_flow flow;
    uint64_t bytes = 0;
    _cleanup_json_ json_t *freed = json_array(), *foreign = json_array();
    if (!freed || !foreign)
        return lode_err_nomem(err, "a report");
    int r = lode_flow_init(&flow, "gc", o->call, err);
    if (r < 0)
        return r;
    r = collect(lode, o, &flow, &bytes, freed, err);
    lode_flow_release(&flow);
    if (r == 0)
        r = collect_orphans(lode, o->dry_run, freed, err);
    if (r == 0)
        r = lode_foreign_find(lode, foreign, err);
    if (r < 0)
        return r;
    return lode_json_hand_out(json_pack("{s:b, s:I, s:O, s:O}", "dry_run", o->dry_run, "bytes",
                                        (json_int_t)bytes, "freed", freed, "foreign", foreign),
                              json, err);
}

int lode_gc(struct lode *lode, const struct lode_gc_options *options, char **json,
            struct lode_err *err)
{
    static const struct lode_gc_options usual = {.grace_ms = -1};
    const struct lode_gc_options *o = options ? options : &usual;
    if (!o->dry_run) {
        int r = lode_handle_writes(lode, err);
        if (r < 0)
            return r;
    }
    if (lode->store)
        return run_here(lode, o, json, err);
    _cleanup_json_ json_t *params =
        json_pack("{s:I, s:b}", "grace_ms", (json_int_t)o->grace_ms, "dry_run", o->dry_run);
    return lode_handle_job(lode, "gc", params, json, err);
}
