/* The larger pieces behind the routes: event streams, uploads, jobs, remembered checks. Each has a
 * file of its own. */
#pragma once
#include "server/srv.h"

/* ---- hub.c: one watch of the catalog, told to every event stream ---- */
int srv_hub_start(struct lode_server *server, struct srv_hub **out,
                  struct lode_err *err) lode_must_use;
void srv_hub_close(struct srv_hub *hub); /* ends every stream; no more can be opened */
/* Ends the open streams; their clients come back with Last-Event-ID and are asked for their tokens
 * again. */
void srv_hub_end_streams(struct srv_hub *hub);
void srv_hub_stop(struct srv_hub *hub); /* after the daemon: frees it; NULL is safe */
uint64_t srv_hub_watchers(struct srv_hub *hub);
uint64_t srv_hub_events(struct srv_hub *hub);

/* ---- attempts.c: versions that clients are uploading ---- */
int srv_attempts_start(struct lode_server *server, struct srv_attempts **out,
                       struct lode_err *err) lode_must_use;
void srv_attempts_stop(struct srv_attempts *attempts); /* abandons them resumably; NULL is safe */
size_t srv_attempts_count(struct srv_attempts *attempts);

/* ---- jobs.c: verbs that must see everything, run here ---- */
int srv_jobs_start(struct lode_server *server, struct srv_jobs **out,
                   struct lode_err *err) lode_must_use;
void srv_jobs_close(
    struct srv_jobs *jobs); /* cancels what runs, wakes who waits, takes no more; NULL is safe */
void srv_jobs_stop(struct srv_jobs *jobs); /* after the daemon: joins; NULL is safe */

/* ---- checked.c: which blocks of which unchanged files have matched their digests ---- */
int srv_checked_new(struct srv_checked **out, struct lode_err *err) lode_must_use;
void srv_checked_free(struct srv_checked *checked);

/* A file as it was looked at, and what it has to be. */
struct srv_identity {
    struct lode_store_stat stat;
    const char *digest; /* of the manifest; borrowed */
    const char *path;   /* in the version; borrowed */
    size_t n_blocks;    /* of the file */
};
bool srv_identity_same(const struct lode_store_stat *a, const struct lode_store_stat *b);
/* True if all blocks from `first` to `last` are known to match. */
bool srv_checked_covers(struct srv_checked *checked, const struct srv_identity *id, size_t first,
                        size_t last);
/* Remembers a block, unless the file changed so lately that another change might not show. */
void srv_checked_add(struct srv_checked *checked, const struct srv_identity *id, size_t block);

/* ---- handlers, named after their operations ---- */
bool srv_op_health(struct srv_request *request);
bool srv_op_ready(struct srv_request *request);
bool srv_op_metrics(struct srv_request *request);
bool srv_op_openapi(struct srv_request *request);
int srv_op_root(struct srv_request *request, struct lode_err *err);
int srv_op_models(struct srv_request *request, struct lode_err *err);
int srv_op_model(struct srv_request *request, struct lode_err *err);
int srv_op_versions(struct srv_request *request, struct lode_err *err);
bool srv_op_version_fast(struct srv_request *request);
int srv_op_version(struct srv_request *request, struct lode_err *err);
bool srv_op_resolve_fast(struct srv_request *request);
int srv_op_resolve(struct srv_request *request, struct lode_err *err);
int srv_op_describe(struct srv_request *request, struct lode_err *err);
int srv_op_diff(struct srv_request *request, struct lode_err *err);
int srv_op_journal(struct srv_request *request, struct lode_err *err);
int srv_op_aliases(struct srv_request *request, struct lode_err *err);
int srv_op_alias_at(struct srv_request *request, struct lode_err *err);
int srv_op_alias_set(struct srv_request *request, struct lode_err *err);
int srv_op_alias_remove(struct srv_request *request, struct lode_err *err);
int srv_op_annotate(struct srv_request *request, struct lode_err *err);
int srv_op_remove(struct srv_request *request, struct lode_err *err);
int srv_op_restore(struct srv_request *request, struct lode_err *err);
int srv_op_file(struct srv_request *request, struct lode_err *err);
int srv_op_manifest(struct srv_request *request, struct lode_err *err);
int srv_op_stage(struct srv_request *request, struct lode_err *err);
int srv_op_attempt(struct srv_request *request, struct lode_err *err);
int srv_op_finish(struct srv_request *request, struct lode_err *err);
int srv_op_abandon(struct srv_request *request, struct lode_err *err);
int srv_op_unfinished(struct srv_request *request, struct lode_err *err);
int srv_op_part_put(struct srv_request *request, struct lode_err *err);
int srv_op_complete(struct srv_request *request, struct lode_err *err);
int srv_op_parts(struct srv_request *request, struct lode_err *err);
int srv_op_parts_drop(struct srv_request *request, struct lode_err *err);
int srv_op_watch(struct srv_request *request, struct lode_err *err);
int srv_op_jobs(struct srv_request *request, struct lode_err *err);
int srv_op_job_start(struct srv_request *request, struct lode_err *err);
int srv_op_job(struct srv_request *request, struct lode_err *err);
int srv_op_job_cancel(struct srv_request *request, struct lode_err *err);
int srv_op_tokens(struct srv_request *request, struct lode_err *err);
int srv_op_token_add(struct srv_request *request, struct lode_err *err);
int srv_op_token_remove(struct srv_request *request, struct lode_err *err);
