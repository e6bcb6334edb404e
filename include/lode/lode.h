/* Lode: keeps trained models in the storage you have, tells every machine which version is right,
 * and brings it into memory fast.
 *
 *     struct lode_err err;
 *     struct lode *lode;
 *     if (lode_open(NULL, &lode, &err) < 0) ...                       (LODE_URL, else ~/.lode)
 *     struct lode_model *m;
 *     if (lode_load(lode, "rank@prod", NULL, &m, &err) < 0) ...
 *     struct lode_tensor_view t;
 *     lode_model_tensor(m, "layer.0.weight", &t, &err);
 *     lode_model_free(m);
 *     lode_close(lode);
 *
 * Every call blocks until it is done, takes progress and cancel callbacks where it may take long,
 * answers 0 or a negative enum lode_code and explains itself in `err` (which may be NULL). A handle
 * may be used from any number of threads at once. Structures of options are zero-initialised by the
 * caller; all strings are UTF-8 and copied.
 */
#pragma once
#include <lode/api.h>
#include <lode/dtype.h>
#include <lode/err.h>
#include <lode/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, "0.1.0". */
LODE_API const char *lode_version_string(void);

struct lode;

struct lode_open_options {
    const char *
        url; /* a directory, http(s)://server, or NULL: LODE_URL, the configured context, ~/.lode */
    const char *store;  /* with `coord`: a pair instead of url; NULL: LODE_STORE */
    const char *coord;  /* NULL: LODE_COORD */
    const char *token;  /* NULL: LODE_TOKEN */
    const char *cacert; /* PEM file for https, or NULL */
    const char *
        context; /* a named context of the configuration file, or NULL: LODE_CONTEXT, its default */
    bool create; /* an embedded root that is missing is made (the default root always is) */
    bool read_only;
    bool fresh; /* every read begins with a linearizable one */
};

/* A root: embedded or a server's. NOT_FOUND says how to make one. */
LODE_API int lode_open(const struct lode_open_options *options, struct lode **out,
                       struct lode_err *err);
LODE_API int lode_init(const struct lode_open_options *options,
                       struct lode_err *err);           /* makes one; EXISTS if there is */
LODE_API void lode_close(struct lode *lode);            /* NULL is safe */
LODE_API const char *lode_url(const struct lode *lode); /* what was opened, without secrets */

/* Called now and then from the calling thread of a verb, or from one of its own; must be quick. */
struct lode_progress {
    const char *stage;    /* "hash", "upload", "download", "verify", "load", "commit" ... */
    uint64_t done, total; /* bytes; total 0: unknown */
    uint64_t files_done, files_total;
};
struct lode_call { /* zero: no callbacks */
    void (*progress)(void *arg, const struct lode_progress *progress);
    int (*cancelled)(
        void *arg); /* non-zero: stop; the verb answers CANCELLED and leaves nothing half done */
    void *arg;
    const char *why; /* -m: the reason, for the journal */
    const char *who; /* for servers; NULL: user@host */
};

/* ---- publish ---- */

struct lode_push_options {
    const char *const
        *paths; /* files and directories; a directory's contents keep their relative paths */
    size_t n_paths;
    const char *version;        /* NULL: named by the clock */
    const char *const *aliases; /* moved to it in the same transaction as the commit */
    size_t n_aliases;
    const struct lode_tag *tags;
    size_t n_tags;
    const struct lode_metric *metrics;
    size_t n_metrics;
    const char *parent; /* a reference; pinned */
    const char *replication;
    const char *layout;           /* NULL or "plain" */
    bool dry_run;                 /* checks and reports; writes nothing */
    bool follow_links;            /* symbolic links may leave the directory */
    bool no_resume;               /* never go on with an interrupted push of the same files */
    const struct lode_call *call; /* may be NULL */
};
/* model: "[ns/]name". EXISTS for a taken version name, CHANGED when a file changed meanwhile,
 * NO_SPACE with both numbers, INVALID names the file and what is wrong with it. Durable on return.
 * With dry_run `out` has state staging. */
LODE_API int lode_push(struct lode *lode, const char *model,
                       const struct lode_push_options *options, struct lode_version *out,
                       struct lode_err *err);

/* ---- get ---- */

struct lode_pull_options {
    const char *const *include; /* globs over paths ('*' within a part, '**' across); none: all */
    size_t n_include;
    const char *const *exclude;
    size_t n_exclude;
    bool force; /* replace files that differ */
    const struct lode_call *call;
};
/* Writes the files below `dest` (NULL: ./<name>-<version>); resumable: files that are there and
 * match are kept. Every byte is checked. *path is the directory (lode_string_free); `out` may be
 * NULL. */
LODE_API int lode_pull(struct lode *lode, const char *ref, const char *dest,
                       const struct lode_pull_options *options, char **path,
                       struct lode_version *out, struct lode_err *err);

/* One file's bytes [offset, offset + len) (len 0: to its end), in order, checked before they are
 * handed to `sink`; a negative answer of it stops. ref is "name@rev/path". */
typedef int lode_sink(void *arg, const void *data, size_t len);
LODE_API int lode_cat(struct lode *lode, const char *ref, uint64_t offset, uint64_t len,
                      lode_sink *sink, void *arg, const struct lode_call *call,
                      struct lode_err *err);

/* ---- load ---- */

struct lode_model;

struct lode_tensor_view {
    const char *name; /* valid as long as the model */
    enum lode_dtype dtype;
    unsigned rank;
    const uint64_t *shape; /* `rank` lengths, outermost first; NULL for rank 0 */
    bool fortran_order;    /* the elements lie first-index-fastest */
    const void *data; /* `len` bytes; NULL if only listed. Private to the process: what is written
                         there never reaches a file */
    uint64_t len;     /* bytes */
    const char *file; /* path inside the version */
};

struct lode_load_options {
    const char *const *tensors; /* globs over tensor names; none: all */
    size_t n_tensors;
    bool no_verify; /* skip digests; lode_model_verified says so */
    bool copy;      /* private memory even where the files could be mapped */
    const struct lode_call *call;
};
struct lode_load_stats {
    uint64_t bytes; /* of tensors */
    uint64_t read;  /* bytes actually read and checked now */
    double seconds;
    bool verified; /* every byte matched its digest, now or remembered for this unchanged file */
    bool mapped;   /* lies in a mapping of the store's own file */
};
/* ref is a reference, or a path (starting with / ./ ../ ~): then no registry is needed and lode may
 * be NULL. */
LODE_API int lode_load(struct lode *lode, const char *ref, const struct lode_load_options *options,
                       struct lode_model **out, struct lode_err *err);
LODE_API size_t lode_model_count(const struct lode_model *model);
LODE_API int lode_model_at(const struct lode_model *model, size_t i, struct lode_tensor_view *out,
                           struct lode_err *err); /* by name order */
LODE_API int lode_model_tensor(const struct lode_model *model, const char *name,
                               struct lode_tensor_view *out, struct lode_err *err);
LODE_API const struct lode_version *
lode_model_version(const struct lode_model *model); /* NULL for a local path */
LODE_API void lode_model_stats(const struct lode_model *model, struct lode_load_stats *out);
LODE_API void lode_model_free(struct lode_model *model); /* NULL is safe */

/* ---- find ---- */

struct lode_list_options {
    const char *filter; /* docs/filter.md */
    const char *sort;   /* "created:desc" */
    uint32_t limit;     /* 0: 100; at most 1000 */
    const char *page;   /* token of the page before */
    bool deleted;       /* deleted and unfinished versions too */
};
LODE_API int lode_ls_models(struct lode *lode, const char *ns,
                            const struct lode_list_options *options, struct lode_models *out,
                            struct lode_err *err);
/* model NULL: versions of all models. */
LODE_API int lode_ls_versions(struct lode *lode, const char *model,
                              const struct lode_list_options *options, struct lode_versions *out,
                              struct lode_err *err);
LODE_API int lode_show(struct lode *lode, const char *ref, struct lode_version *out,
                       struct lode_err *err);
LODE_API int lode_show_model(struct lode *lode, const char *model, struct lode_model_info *out,
                             struct lode_err *err);
/* {"version": {...}, "files": [...], "tensors": [...]}: docs/formats/json.md. *json is
 * lode_string_free'd. */
LODE_API int lode_describe(struct lode *lode, const char *ref, bool tensors, char **json,
                           struct lode_err *err);

/* ---- change small facts ---- */

LODE_API int lode_tag(struct lode *lode, const char *ref, const struct lode_tag *tags, size_t n,
                      const struct lode_call *call, struct lode_version *out,
                      struct lode_err *err); /* value NULL removes */
LODE_API int lode_set_metrics(struct lode *lode, const char *ref, const struct lode_metric *metrics,
                              size_t n, const struct lode_call *call, struct lode_version *out,
                              struct lode_err *err); /* NaN removes */
LODE_API int lode_alias_set(struct lode *lode, const char *ref, const char *alias,
                            const struct lode_call *call, struct lode_journal_entry *out,
                            struct lode_err *err);
LODE_API int lode_alias_remove(struct lode *lode, const char *model, const char *alias,
                               const struct lode_call *call, struct lode_journal_entry *out,
                               struct lode_err *err);
/* Back to the version that the alias pointed to before its last move. */
LODE_API int lode_rollback(struct lode *lode, const char *model, const char *alias,
                           const struct lode_call *call, struct lode_journal_entry *out,
                           struct lode_err *err);
/* What an alias was at a moment (ms since 1970 UTC). */
LODE_API int lode_alias_at(struct lode *lode, const char *model, const char *alias, int64_t when_ms,
                           struct lode_journal_entry *out, struct lode_err *err);
/* model NULL: every model; alias NULL: every change. Newest first. */
LODE_API int lode_log_entries(struct lode *lode, const char *model, const char *alias,
                              uint32_t limit, const char *page, struct lode_journal *out,
                              struct lode_err *err);

LODE_API int lode_remove(struct lode *lode, const char *ref, bool dry_run,
                         const struct lode_call *call, struct lode_version *out,
                         struct lode_err *err);
LODE_API int lode_restore(struct lode *lode, const char *ref, const struct lode_call *call,
                          struct lode_version *out, struct lode_err *err);

/* ---- watch ---- */

struct lode_watch;
/* model NULL: all; from_event: the event id of the last one seen, or NULL: from now on. */
LODE_API int lode_watch_open(struct lode *lode, const char *model, const char *from_event,
                             struct lode_watch **out, struct lode_err *err);
LODE_API int lode_watch_next(struct lode_watch *watch, int64_t timeout_ms,
                             struct lode_journal_entry *out,
                             struct lode_err *err); /* TIMEOUT: nothing yet */
LODE_API void
lode_watch_wake(struct lode_watch *watch); /* from another thread or a signal handler's thread */
LODE_API void lode_watch_close(struct lode_watch *watch);

/* ---- keep in order; reports are JSON in the schemas of docs/formats/json.md, lode_string_free'd
 * ---- */

LODE_API int lode_diff(struct lode *lode, const char *from, const char *to, char **json,
                       struct lode_err *err);
/* ref NULL: every version. A mismatch is not an error of the call: the report lists it and "clean"
 * is false. */
LODE_API int lode_verify(struct lode *lode, const char *ref, const struct lode_call *call,
                         char **json, struct lode_err *err);
struct lode_gc_options {
    int64_t grace_ms; /* < 0: the default, 24 h */
    bool dry_run;
    const struct lode_call *call;
};
LODE_API int lode_gc(struct lode *lode, const struct lode_gc_options *options, char **json,
                     struct lode_err *err);
LODE_API int lode_doctor(struct lode *lode, char **json, struct lode_err *err);
LODE_API int lode_backup(struct lode *lode, const char *path, char **json,
                         struct lode_err *err); /* embedded roots: the facts, while they are used */
LODE_API int lode_recover(const char *backup, const struct lode_open_options *options, char **json,
                          struct lode_err *err);
LODE_API int lode_root_json(struct lode *lode, char **json, struct lode_err *err);

#ifdef __cplusplus
}
#endif
