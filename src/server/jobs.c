/* Jobs: verbs that must see the whole root, run here, one thread each. A job's report is kept until
 * newer ones push it out.
 *
 * Who starts a job may go away: it runs on, can be asked for by its id, and cancelled. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "base/digest.h"
#include "registry/handle.h"
#include "server/rooms.h"
#include "server/wait.h"

#define JOBS_RUNNING 4
#define JOBS_KEPT 64
#define WAIT_MAX_S 25 /* below the idle time of clients and proxies */

enum job_state { RUNNING, DONE, FAILED };
static const char *const state_names[] = {"running", "done", "failed"};

struct job {
    struct job *next; /* newest first; guarded by the table's lock, as is all below */
    struct srv_jobs *jobs;
    char id[33];
    const struct job_kind *kind;
    json_t *params;
    char *who;
    enum job_state state;
    atomic_bool cancel;
    bool joined;
    char *report; /* JSON; owned by lode_string_free */
    struct lode_err error;
    int64_t began_ms, ended_ms;
    char stage[32];
    uint64_t done, total;
    pthread_t thread;
};

struct srv_jobs {
    struct lode_server *server;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct job *first;
    unsigned running;
    bool stopping;
};

/* ---- kinds ---- */

typedef int job_run(struct job *job, const struct lode_call *call, char **report,
                    struct lode_err *err);

struct job_kind {
    const char *name;
    const char *const *params;
    job_run *run;
    int (*check)(const json_t *params,
                 struct lode_err *err); /* before it is started; NULL: nothing to check */
};

static struct lode *lode_of(struct job *job)
{
    return job->jobs->server->lode;
}

static int run_gc(struct job *job, const struct lode_call *call, char **report,
                  struct lode_err *err)
{
    struct lode_gc_options options = {.grace_ms = -1, .call = call};
    int r = lode_json_opt_i64(job->params, "grace_ms", &options.grace_ms, err);
    r = r < 0 ? r : lode_json_opt_bool(job->params, "dry_run", &options.dry_run, err);
    return r < 0 ? r : lode_gc(lode_of(job), &options, report, err);
}

static int run_verify(struct job *job, const struct lode_call *call, char **report,
                      struct lode_err *err)
{
    const char *ref = NULL;
    int r = lode_json_opt_str(job->params, "ref", &ref, err);
    return r < 0 ? r : lode_verify(lode_of(job), ref, call, report, err);
}

static int run_doctor(struct job *job, const struct lode_call *call, char **report,
                      struct lode_err *err)
{
    return lode_doctor(lode_of(job), report, err);
}

static int check_gc(const json_t *params, struct lode_err *err)
{
    int64_t grace_ms;
    bool dry_run;
    int r = lode_json_opt_i64(params, "grace_ms", &grace_ms, err);
    return r < 0 ? r : lode_json_opt_bool(params, "dry_run", &dry_run, err);
}

static int check_verify(const json_t *params, struct lode_err *err)
{
    const char *ref;
    return lode_json_opt_str(params, "ref", &ref, err);
}

/* The name alone: a path of the client's has no meaning here, and must not choose where the server
 * writes. */
static int check_backup(const json_t *params, struct lode_err *err)
{
    const char *name = NULL;
    int r = lode_json_opt_str(params, "name", &name, err);
    if (r == 0 && name && !lode_name_ok(name, strlen(name)))
        r = lode_err_set(
            err, LODE_INVALID,
            "%s is no name for a backup; it is written on the server's machine, beside the root",
            lode_q(name));
    return r;
}

static int backup_path(struct job *job, char **out, struct lode_err *err)
{
    const struct lode_server *server = job->jobs->server;
    const char *name = NULL;
    char stamp[LODE_TIME_TEXT];
    int r = lode_json_opt_str(job->params, "name", &name, err);
    if (r == 0 && !server->lode->dir)
        r = lode_err_set(err, LODE_UNSUPPORTED, "only an embedded root is backed up by its server");
    if (r < 0)
        return r;
    *out = lode_asprintf("%s/backup-%s", server->lode->dir,
                         name ? name : lode_time_version(lode_now_ms(), stamp));
    return *out ? 0 : lode_err_nomem(err, "a path");
}

static int run_backup(struct job *job, const struct lode_call *call, char **report,
                      struct lode_err *err)
{
    _cleanup_free_ char *path = NULL;
    int r = backup_path(job, &path, err);
    return r < 0 ? r : lode_backup(lode_of(job), path, report, err);
}

static const char *const gc_params[] = {"grace_ms", "dry_run", NULL};
static const char *const verify_params[] = {"ref", NULL};
static const char *const backup_params[] = {"name", NULL};
static const char *const no_params[] = {NULL};
static const struct job_kind kinds[] = {
    {"gc", gc_params, run_gc, check_gc},
    {"verify", verify_params, run_verify, check_verify},
    {"doctor", no_params, run_doctor, NULL},
    {"backup", backup_params, run_backup, check_backup},
};

static const struct job_kind *find_kind(const char *name, struct lode_err *err)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    lode_err_set(err, LODE_INVALID, "%s is no job; there are gc, verify, doctor and backup",
                 lode_q(name));
    return NULL;
}

/* ---- running ---- */

static int cancelled(void *arg)
{
    struct job *job = arg;
    return atomic_load(&job->cancel);
}

static void progress(void *arg, const struct lode_progress *p)
{
    struct job *job = arg;
    pthread_mutex_lock(&job->jobs->lock);
    snprintf(job->stage, sizeof(job->stage), "%s", p->stage ? p->stage : "");
    job->done = p->done;
    job->total = p->total;
    pthread_mutex_unlock(&job->jobs->lock);
}

static void *run_job(void *arg)
{
    struct job *job = arg;
    struct srv_jobs *self = job->jobs;
    struct lode_call call = {
        .progress = progress, .cancelled = cancelled, .arg = job, .who = job->who};
    struct lode_err err = {0};
    char *report = NULL;
    int r = job->kind->run(job, &call, &report, &err);
    pthread_mutex_lock(&self->lock);
    job->state = r < 0 ? FAILED : DONE;
    job->report = r < 0 ? NULL : report;
    job->error = err;
    job->error.code = r;
    job->ended_ms = lode_now_ms();
    self->running--;
    pthread_cond_broadcast(&self->moved);
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void job_free(struct job *job)
{
    if (!job->joined)
        pthread_join(job->thread, NULL);
    json_decref(job->params);
    lode_string_free(job->report);
    lode_free(job->who);
    lode_free(job);
}

/* The oldest ended jobs beyond JOBS_KEPT; to be freed without the lock. */
static struct job *take_old(struct srv_jobs *self)
{
    struct job *old = NULL;
    size_t n = 0;
    for (struct job **at = &self->first; *at;) {
        struct job *job = *at;
        if (++n <= JOBS_KEPT || job->state == RUNNING) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        job->next = old;
        old = job;
    }
    return old;
}

static void free_jobs(struct job *list)
{
    while (list) {
        struct job *job = list;
        list = job->next;
        job_free(job);
    }
}

static int begin_job(struct srv_jobs *self, struct job *job, struct lode_err *err)
{
    if (self->stopping || self->running >= JOBS_RUNNING)
        return lode_err_set(err, LODE_UNAVAILABLE,
                            "%u jobs are running; come back when one has ended", self->running);
    int r = pthread_create(&job->thread, NULL, run_job, job);
    if (r != 0)
        return lode_err_num(err, r, "cannot start a job");
    job->next = self->first;
    self->first = job;
    self->running++;
    return 0;
}

/* ---- telling ---- */

static json_t *job_json(const struct job *job)
{
    char began[LODE_TIME_TEXT], ended[LODE_TIME_TEXT];
    json_t *report = job->report ? json_loads(job->report, JSON_DECODE_ANY, NULL) : json_null();
    json_t *error = job->state == FAILED
                        ? json_pack("{s:s, s:s, s:{}}", "code", lode_code_name(job->error.code),
                                    "message", job->error.text, "detail")
                        : json_null();
    return json_pack("{s:s, s:s, s:O, s:s, s:s?, s:s, s:s?, s:{s:s, s:I, s:I}, s:o, s:o}", "id",
                     job->id, "kind", job->kind->name, "params", job->params, "state",
                     state_names[job->state], "who", job->who, "began",
                     lode_time_rfc3339(job->began_ms, began), "ended",
                     job->ended_ms ? lode_time_rfc3339(job->ended_ms, ended) : NULL, "progress",
                     "stage", job->stage, "done", (json_int_t)job->done, "total",
                     (json_int_t)job->total, "report", report, "error", error);
}

static struct job *find_job(struct srv_jobs *self, const char *id)
{
    struct job *job = self->first;
    while (job && strcmp(job->id, id) != 0)
        job = job->next;
    return job;
}

static int no_job(const struct srv_request *request, struct lode_err *err)
{
    return lode_err_set(err, LODE_NOT_FOUND, "there is no job %s, or no more", lode_q(request->id));
}

/* ---- requests ---- */

static int make_job(struct srv_request *request, const char *kind, json_t *params, struct job **out,
                    struct lode_err *err)
{
    const struct job_kind *found = find_kind(kind, err);
    if (!found)
        return LODE_INVALID;
    int r = params ? lode_json_only(params, found->params, "params", err) : 0;
    r = r < 0 || !params || !found->check ? r : found->check(params, err);
    if (r < 0)
        return r;
    uint8_t raw[16];
    if (lode_sys->getrandom(raw, sizeof(raw)) != (ssize_t)sizeof(raw))
        return lode_err_sys(err, "cannot make a random id");
    struct job *job = lode_zalloc(sizeof(*job));
    if (!job)
        return lode_err_nomem(err, "a job");
    const char *who = srv_caller_name(&request->caller);
    lode_hex(raw, sizeof(raw), job->id);
    job->jobs = request->server->jobs;
    job->kind = found;
    job->params = params ? json_incref(params) : json_object();
    job->who = lode_strdup(who);
    job->began_ms = lode_now_ms();
    *out = job;
    return 0;
}

static int start_job(struct srv_request *request, struct job *job, struct lode_err *err)
{
    struct srv_jobs *self = request->server->jobs;
    pthread_mutex_lock(&self->lock);
    int r = begin_job(self, job, err);
    struct job *old = take_old(self);
    json_t *doc = r == 0 ? job_json(job) : NULL;
    pthread_mutex_unlock(&self->lock);
    free_jobs(old);
    if (r < 0) {
        job->joined = true;
        job_free(job);
        return r == LODE_UNAVAILABLE ? srv_reply_error(request, 429, r, err) : r;
    }
    r = srv_reply_json(request, 202, doc);
    srv_reply_header(request, "Location", "/v1/jobs/%s", job->id);
    return r;
}

int srv_op_job_start(struct srv_request *request, struct lode_err *err)
{
    static const char *const allowed[] = {"kind", "params", NULL};
    _cleanup_json_ json_t *body = NULL;
    const char *kind;
    struct job *job = NULL;
    int r = srv_request_json(request, allowed, &body, err);
    r = r < 0 ? r : lode_json_str(body, "kind", &kind, err);
    json_t *params = json_object_get(body, "params");
    if (r == 0 && params && !json_is_object(params))
        r = lode_err_set(err, LODE_INVALID, "params has to be an object");
    r = r < 0 ? r : make_job(request, kind, params, &job, err);
    return r < 0 ? r : start_job(request, job, err);
}

int srv_op_jobs(struct srv_request *request, struct lode_err *err)
{
    struct srv_jobs *self = request->server->jobs;
    json_t *list = json_array();
    pthread_mutex_lock(&self->lock);
    for (const struct job *job = self->first; job; job = job->next)
        json_array_append_new(list, job_json(job));
    pthread_mutex_unlock(&self->lock);
    return srv_reply_json(request, 200, json_pack("{s:o}", "jobs", list));
}

int srv_op_job(struct srv_request *request, struct lode_err *err)
{
    struct srv_jobs *self = request->server->jobs;
    uint64_t wait_s = 0;
    int r = srv_request_arg_u64(request, "wait", WAIT_MAX_S, &wait_s, err);
    if (r < 0)
        return r;
    int64_t until = lode_mono_ms() + (int64_t)wait_s * 1000;
    pthread_mutex_lock(&self->lock);
    struct job *job = find_job(self, request->id);
    while (job && job->state == RUNNING && !self->stopping && lode_mono_ms() < until) {
        srv_cond_wait_until(&self->moved, &self->lock, until);
        job = find_job(self, request->id);
    }
    json_t *doc = job ? job_json(job) : NULL;
    pthread_mutex_unlock(&self->lock);
    return job ? srv_reply_json(request, 200, doc) : no_job(request, err);
}

int srv_op_job_cancel(struct srv_request *request, struct lode_err *err)
{
    struct srv_jobs *self = request->server->jobs;
    pthread_mutex_lock(&self->lock);
    struct job *job = find_job(self, request->id);
    if (job)
        atomic_store(&job->cancel, true);
    json_t *doc = job ? job_json(job) : NULL;
    pthread_mutex_unlock(&self->lock);
    return job ? srv_reply_json(request, 202, doc) : no_job(request, err);
}

/* ---- life ---- */

int srv_jobs_start(struct lode_server *server, struct srv_jobs **out, struct lode_err *err)
{
    struct srv_jobs *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the jobs");
    self->server = server;
    pthread_mutex_init(&self->lock, NULL);
    srv_cond_init(&self->moved);
    *out = self;
    return 0;
}

void srv_jobs_close(struct srv_jobs *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    for (struct job *job = self->first; job; job = job->next)
        atomic_store(&job->cancel, true);
    pthread_cond_broadcast(&self->moved);
    pthread_mutex_unlock(&self->lock);
}

void srv_jobs_stop(struct srv_jobs *self)
{
    if (!self)
        return;
    srv_jobs_close(self);
    free_jobs(self->first);
    pthread_cond_destroy(&self->moved);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}
