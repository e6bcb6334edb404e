/* Group commit: see coord/sqlite_impl.h.
 *
 * Threads that write put a job in line. The first to find no leader leads: it waits for this
 * process's turn among all processes, takes the jobs that stand in line by then, runs each in a
 * savepoint of its own inside one SQLite transaction, commits once, with one sync, and tells them.
 * Those that come meanwhile form the next group. So the number of syncs follows the disk, not the
 * number of writers.
 *
 * Invariants (jobs and `leading` under group_lock; the writer's connection belongs to the leader)
 *  1. A job that was taken is told its end by the leader, and only after the commit; one that was
 * not may leave.
 *  2. A job that failed was undone to its savepoint; the others of its group do not notice.
 *  3. A group whose commit failed tells every job that had succeeded so: UNAVAILABLE where a sync
 * failed, for then a crash may yet bring the changes to light.
 */
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "coord/sqlite_impl.h"

#define GROUP_MAX 256
#define CHECKPOINT_PAGES 1000
#define LONG_LOG_PAGES 8000

enum job_state { JOB_WAITING, JOB_TAKEN, JOB_DONE };

struct lode_sq_job {
    lode_sq_job_fn *fn;
    void *arg;
    struct lode_err
        *err; /* the caller's; may be NULL. The caller sleeps while the leader writes it */
    int64_t deadline_ms; /* CLOCK_MONOTONIC */
    int result;
    enum job_state state;
    pthread_cond_t moved;
    struct lode_sq_job *next;
};

/* ---- the line ---- */

static void line_add(struct lode_sq *self, struct lode_sq_job *job)
{
    job->next = NULL;
    *self->last = job;
    self->last = &job->next;
}

static void line_remove(struct lode_sq *self, struct lode_sq_job *job)
{
    struct lode_sq_job **at = &self->first;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (!job->next)
        self->last = at;
}

/* The oldest jobs, at most GROUP_MAX. */
static struct lode_sq_job *line_take(struct lode_sq *self)
{
    struct lode_sq_job *group = self->first, **at = &self->first;
    for (unsigned n = 0; *at && n < GROUP_MAX; n++) {
        (*at)->state = JOB_TAKEN;
        at = &(*at)->next;
    }
    self->first = *at;
    *at = NULL;
    if (!self->first)
        self->last = &self->first;
    return group;
}

/* Back to the head of the line: those that were taken and still have time. Answers the rest. */
static struct lode_sq_job *line_return(struct lode_sq *self, struct lode_sq_job *group)
{
    struct lode_sq_job *late = NULL, *early = NULL, **late_end = &late, **early_end = &early;
    int64_t now = lode_mono_ms();
    for (struct lode_sq_job *job = group; job; job = job->next) {
        struct lode_sq_job ***end = job->deadline_ms <= now ? &late_end : &early_end;
        job->state = job->deadline_ms <= now ? JOB_TAKEN : JOB_WAITING;
        **end = job;
        *end = &job->next;
    }
    *late_end = NULL;
    *early_end = self->first;
    if (!self->first && early)
        self->last = early_end;
    self->first = early;
    return late;
}

/* ---- one group, by its leader ---- */

static int count_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    ((struct lode_sq *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

static int open_writer(struct lode_sq *self, int64_t left_ms, struct lode_err *err)
{
    if (self->writer) {
        lode_sq_conn_patience(self->writer, left_ms);
        return 0;
    }
    int r = lode_sq_conn_open(self->path, SQLITE_OPEN_READWRITE, SQ_WRITER, left_ms, &self->writer,
                              err);
    if (r == 0)
        sqlite3_wal_hook(self->writer->db, count_pages, self);
    return r;
}

static void drop_writer(struct lode_sq *self)
{
    lode_sq_conn_close(self->writer);
    self->writer = NULL;
}

/* Another process may have upgraded the tables since. */
static int check_schema(struct lode_sq *self, struct lode_err *err)
{
    int64_t version;
    int r = lode_sq_number(self->writer, SQ_SCHEMA, 0, &version, err);
    if (r == 0 && version != LODE_SQ_SCHEMA)
        r = lode_err_set(
            err, LODE_SCHEMA,
            "%s was upgraded to schema %lld while it was open: start again with that Lode",
            lode_q(self->path), (long long)version);
    return r;
}

static int begin(struct lode_sq *self, int64_t deadline_ms, struct lode_err *err)
{
    int r = open_writer(self, deadline_ms - lode_mono_ms(), err);
    if (r == 0)
        r = lode_sq_run(self->writer, SQ_BEGIN_WRITE, err);
    if (r == LODE_UNAVAILABLE)
        r = lode_err_set(err, LODE_TIMEOUT,
                         "%s was locked by another program for the whole time allowed",
                         lode_q(self->path));
    if (r == 0)
        r = check_schema(self, err);
    return r < 0 ? r : lode_sq_end_leases(self, self->writer, err);
}

/* Negative only if the group as a whole is lost. */
static int run_job(struct lode_sq *self, struct lode_sq_job *job, struct lode_err *err)
{
    struct lode_sq_conn *c = self->writer;
    int r = lode_sq_run(c, SQ_SAVE, err);
    if (r < 0)
        return r;
    job->result = job->fn(self, c, job->arg, job->err);
    if (sqlite3_get_autocommit(
            c->db)) /* SQLite itself rolled everything back: a full disk, no memory */
        return lode_err_set(err, job->result < 0 ? job->result : LODE_IO, "%s",
                            job->err && *job->err->text
                                ? job->err->text
                                : "the group's transaction was rolled back");
    if (job->result < 0 && !LODE_PLANTED(coord_failed_job_kept))
        r = lode_sq_run(c, SQ_UNDO, err);
    return r < 0 ? r : lode_sq_run(c, SQ_RELEASE, err);
}

static int commit(struct lode_sq *self, struct lode_err *err)
{
    int r = lode_sq_run(self->writer, SQ_COMMIT, err);
    int rc = r < 0 ? sqlite3_extended_errcode(self->writer->db) : 0;
    if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC)
        r = lode_err_set(
            err, LODE_UNAVAILABLE,
            "the disk failed to keep a write of %s: it may or may not have happened; read "
            "again before you repeat it",
            lode_q(self->path));
    return r;
}

static void fail_group(struct lode_sq_job *group, int r, const struct lode_err *why)
{
    for (struct lode_sq_job *job = group; job; job = job->next) {
        if (job->result < 0)
            continue;
        job->result = r;
        if (job->err)
            *job->err = *why;
    }
}

static void tell(struct lode_sq *self, struct lode_sq_job *group)
{
    pthread_mutex_lock(&self->group_lock);
    while (group) {
        struct lode_sq_job *job = group;
        group = job->next; /* its owner may be gone once it is done */
        job->state = JOB_DONE;
        pthread_cond_signal(&job->moved);
    }
    pthread_mutex_unlock(&self->group_lock);
}

/* Runs and commits; the revision after it is published. Where only the time ran out, those of the
 * group that have more stand in line again. */
static int run_group(struct lode_sq *self, struct lode_sq_job **group, struct lode_err *err)
{
    uint64_t revision = 0, compacted;
    int r = begin(self, (*group)->deadline_ms, err);
    if (r == LODE_TIMEOUT) {
        pthread_mutex_lock(&self->group_lock);
        *group = line_return(self, *group);
        pthread_mutex_unlock(&self->group_lock);
        return r;
    }
    for (struct lode_sq_job *job = *group; r == 0 && job; job = job->next)
        r = run_job(self, job, err);
    if (r == 0)
        r = lode_sq_state(self->writer, &revision, &compacted, err);
    if (r == 0 && LODE_PLANTED(coord_ack_before_sync))
        tell(self, lode_steal(*group));
    if (r == 0)
        r = commit(self, err);
    if (r == 0) {
        lode_sq_publish(self, revision);
        return 0;
    }
    if (self->writer && !sqlite3_get_autocommit(self->writer->db))
        sqlite3_exec(self->writer->db, "ROLLBACK", NULL, NULL, NULL);
    drop_writer(self); /* what state it is in is not worth finding out */
    return r;
}

/* Moves the log into the database, after the group was told, so that nobody waits for it; again
 * only when as much has come on top, for each time costs two syncs. Readers that never pause keep
 * the log from starting anew: when it is very long they are waited for. A failure costs the
 * connection (a sync of it may be lost to it), not the data: all of it is in the log. */
static void checkpoint(struct lode_sq *self)
{
    int done = self->wal_pages < self->wal_moved ? 0 : self->wal_moved;
    if (!self->writer || self->wal_pages - done < CHECKPOINT_PAGES)
        return;
    bool patient = self->wal_pages >= LONG_LOG_PAGES;
    lode_sq_conn_patience(self->writer, patient ? 100 : 1);
    int rc = sqlite3_wal_checkpoint_v2(
        self->writer->db, NULL, patient ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE,
        NULL, NULL);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY && rc != SQLITE_LOCKED) {
        lode_log_warn("cannot move the log of %s into it: %s", self->path,
                      sqlite3_errmsg(self->writer->db));
        drop_writer(self);
    }
    self->wal_moved = self->wal_pages;
}

/* Leads one group. `own` stands in line; when no turn can be had it alone is told, for the others
 * may have more time. */
static void lead(struct lode_sq *self, struct lode_sq_job *own)
{
    struct lode_err why = {0};
    struct lode_turn *turn = NULL;
    struct lode_sq_job *group;
    int r = lode_sq_turn(self, &turn, &why);
    if (r == 0)
        r = lode_turn_take(turn, own->deadline_ms, &why);
    pthread_mutex_lock(&self->group_lock);
    if (r == 0) {
        group = line_take(self);
    } else {
        line_remove(self, own);
        own->next = NULL;
        group = own;
    }
    pthread_mutex_unlock(&self->group_lock);
    if (r == 0) {
        r = run_group(self, &group, &why);
        lode_turn_give(turn);
    }
    if (r < 0)
        fail_group(group, r, &why);
    tell(self, group);
    if (r == 0)
        lode_turn_announce(turn);
    checkpoint(self);
}

/* ---- one job, by its owner ---- */

/* group_lock is held on entry and return. */
static void wait_or_lead(struct lode_sq *self, struct lode_sq_job *job)
{
    while (job->state != JOB_DONE) {
        if (job->state == JOB_WAITING && !self->leading) {
            self->leading = true;
            pthread_mutex_unlock(&self->group_lock);
            lead(self, job);
            pthread_mutex_lock(&self->group_lock);
            self->leading = false;
            if (self->first)
                pthread_cond_signal(&self->first->moved); /* the next leader */
            continue;
        }
        int64_t left = job->deadline_ms - lode_mono_ms();
        if (job->state == JOB_WAITING && left <= 0) {
            line_remove(self, job);
            job->result = lode_err_set(job->err, LODE_TIMEOUT,
                                       "waited its whole time to write to %s", lode_q(self->path));
            job->state = JOB_DONE;
            if (!self->leading && self->first)
                pthread_cond_signal(
                    &self->first->moved); /* it may have been told to lead just now */
            return;
        }
        lode_coord_cond_wait(&job->moved, &self->group_lock, job->state == JOB_WAITING ? left : -1);
    }
}

int lode_sq_submit(struct lode_sq *self, lode_sq_job_fn *fn, void *arg, struct lode_err *err)
{
    struct lode_sq_job job = {
        .fn = fn, .arg = arg, .err = err, .deadline_ms = lode_mono_ms() + self->timeout_ms};
    int r = lode_sq_refuse_read_only(self, err);
    if (r == 0)
        r = lode_coord_cond_init(&job.moved, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&self->group_lock);
    line_add(self, &job);
    wait_or_lead(self, &job);
    pthread_mutex_unlock(&self->group_lock);
    pthread_cond_destroy(&job.moved);
    return job.result;
}

int lode_sq_refuse_read_only(struct lode_sq *self, struct lode_err *err)
{
    return self->read_only
               ? lode_err_set(err, LODE_READ_ONLY, "%s was opened read-only", lode_q(self->path))
               : 0;
}

int lode_sq_turn(struct lode_sq *self, struct lode_turn **out, struct lode_err *err)
{
    int r = 0;
    pthread_mutex_lock(&self->pool_lock);
    if (!self->turn) {
        _cleanup_free_ char *path = lode_asprintf("%s-queue", self->path);
        r = path ? lode_turn_open(path, self->path, &self->turn, err)
                 : lode_err_nomem(err, "a path");
    }
    *out = self->turn;
    pthread_mutex_unlock(&self->pool_lock);
    return r;
}
