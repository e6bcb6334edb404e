/* The table of uploads. Each has an id that nobody can guess; who knows it and has a token for the
 * model may write.
 *
 * An upload that nobody speaks of for IDLE_MS is abandoned in a way that can be gone on with. A
 * finished one stays that long to answer a repeated finish. */
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "registry/push.h"
#include "server/upload.h"
#include "server/wait.h"

#define UPLOADS_MAX 1024 /* each keeps a claim alive */
#define IDLE_MS (10ll * 60 * 1000)
#define SWEEP_MS 5000

struct srv_attempts {
    struct lode_server *server;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct srv_upload *first; /* guarded by lock */
    size_t n;                 /* guarded by lock */
    bool stopping, started;   /* guarded by lock */
    pthread_t sweeper;
};

static int make_id(char out[SRV_UPLOAD_ID], struct lode_err *err)
{
    uint8_t raw[SRV_UPLOAD_ID / 2];
    if (lode_sys->getrandom(raw, sizeof(raw)) != (ssize_t)sizeof(raw))
        return lode_err_sys(err, "cannot make a random id");
    lode_hex(raw, sizeof(raw), out);
    return 0;
}

static void upload_free(struct srv_upload *upload)
{
    srv_upload_files_free(upload);
    if (upload->attempt)
        lode_catalog_ops_of(upload->attempt)->attempt_close(upload->attempt);
    pthread_cond_destroy(&upload->moved);
    pthread_mutex_destroy(&upload->lock);
    lode_free(upload->answer);
    lode_free(upload);
}

static void unref_locked(struct srv_upload *upload, struct srv_upload **gone)
{
    if (--upload->refs == 0) {
        upload->next = *gone;
        *gone = upload;
    }
}

static void free_list(struct srv_upload *gone)
{
    while (gone) {
        struct srv_upload *upload = gone;
        gone = upload->next;
        upload_free(upload);
    }
}

void srv_upload_unref(struct srv_upload *upload)
{
    struct srv_attempts *self = upload->server->attempts;
    struct srv_upload *gone = NULL;
    pthread_mutex_lock(&self->lock);
    unref_locked(upload, &gone);
    pthread_mutex_unlock(&self->lock);
    free_list(gone);
}

/* ---- finding ---- */

int srv_upload_find(struct srv_request *request, struct srv_upload **out, struct lode_err *err)
{
    struct srv_attempts *self = request->server->attempts;
    pthread_mutex_lock(&self->lock);
    struct srv_upload *upload = self->first;
    while (upload && strcmp(upload->id, request->id) != 0)
        upload = upload->next;
    if (upload)
        upload->refs++;
    pthread_mutex_unlock(&self->lock);
    if (!upload)
        return lode_err_set(
            err, LODE_LOST_LEASE,
            "there is no such upload any more: it was finished, abandoned, taken over, "
            "or nobody spoke of it for too long; push again");
    if (!srv_caller_may(&request->caller, upload->ns, upload->name)) {
        srv_upload_unref(upload);
        return lode_err_set(err, LODE_DENIED, "token %s may not use this model",
                            srv_caller_name(&request->caller));
    }
    pthread_mutex_lock(&upload->lock);
    upload->used_ms = lode_mono_ms();
    pthread_mutex_unlock(&upload->lock);
    *out = upload;
    return 0;
}

struct srv_upload *srv_upload_take_over(struct srv_request *request, const char *version,
                                        uint64_t number)
{
    struct srv_attempts *self = request->server->attempts;
    char id[SRV_UPLOAD_ID];
    if (make_id(id, NULL) < 0)
        return NULL;
    pthread_mutex_lock(&self->lock);
    struct srv_upload *u = self->first;
    while (u &&
           (u->number != number || strcmp(u->version, version) != 0 ||
            strcmp(u->name, request->name) != 0 || strcmp(u->ns, request->ns) != 0 || !u->attempt))
        u = u->next;
    if (u) {
        u->refs++;
        memcpy(u->id, id, sizeof(id));
    }
    pthread_mutex_unlock(&self->lock);
    if (!u)
        return NULL;
    pthread_mutex_lock(&u->lock);
    bool open = u->state == SRV_UPLOAD_OPEN;
    u->resumed = true;
    u->used_ms = lode_mono_ms();
    pthread_mutex_unlock(&u->lock);
    if (open)
        return u;
    srv_upload_unref(u);
    return NULL;
}

/* ---- adding and closing ---- */

static void take_out(struct srv_attempts *self, struct srv_upload *upload, struct srv_upload **gone)
{
    for (struct srv_upload **at = &self->first; *at; at = &(*at)->next) {
        if (*at == upload) {
            *at = upload->next;
            self->n--;
            unref_locked(upload, gone);
            return;
        }
    }
}

/* At the limit the oldest finished upload makes way: all that it still did was to answer a repeated
 * finish. */
static bool make_room(struct srv_attempts *self, struct srv_upload **gone)
{
    struct srv_upload *oldest = NULL;
    if (self->n < UPLOADS_MAX)
        return true;
    for (struct srv_upload *u = self->first; u; u = u->next) {
        pthread_mutex_lock(&u->lock);
        if (u->state == SRV_UPLOAD_DONE)
            oldest = u;
        pthread_mutex_unlock(&u->lock);
    }
    if (oldest)
        take_out(self, oldest, gone);
    return oldest != NULL;
}

int srv_upload_add(struct lode_server *server, struct lode_attempt *attempt,
                   struct srv_upload **out, struct lode_err *err)
{
    struct srv_attempts *self = server->attempts;
    const struct lode_attempt_info *info = lode_attempt_info(attempt);
    struct srv_upload *u = lode_zalloc(sizeof(*u));
    if (!u)
        return lode_err_nomem(err, "an upload");
    int r = make_id(u->id, err);
    if (r < 0) {
        lode_free(u);
        return r;
    }
    u->server = server;
    pthread_mutex_init(&u->lock, NULL);
    srv_cond_init(&u->moved);
    snprintf(u->ns, sizeof(u->ns), "%s", info->ns);
    snprintf(u->name, sizeof(u->name), "%s", info->name);
    snprintf(u->version, sizeof(u->version), "%s", info->version);
    u->number = info->attempt;
    u->resumed = info->resumed;
    u->used_ms = lode_mono_ms();
    u->refs = 2; /* the table's and the caller's */
    struct srv_upload *gone = NULL;
    pthread_mutex_lock(&self->lock);
    bool room = make_room(self, &gone);
    if (room) {
        u->attempt = attempt;
        u->next = self->first;
        self->first = u;
        self->n++;
    }
    pthread_mutex_unlock(&self->lock);
    free_list(gone);
    if (!room) {
        upload_free(u);
        return lode_err_set(err, LODE_UNAVAILABLE,
                            "%d uploads are open at once; come back when some have ended",
                            UPLOADS_MAX);
    }
    *out = u;
    return 0;
}

/* The bytes of what is given up for good go at once: gc would find them, but later. */
static int abandon(struct srv_upload *u, struct lode_attempt *attempt, bool keep,
                   struct lode_err *err)
{
    int r = lode_catalog_ops_of(attempt)->abandon(attempt, keep, err);
    lode_catalog_ops_of(attempt)->attempt_close(attempt);
    if (r == 0 && !keep)
        lode_gc_attempt(u->server->lode, u->ns, u->name, u->version, u->number);
    return r;
}

/* Waits until nobody writes any more: the parts under way are bounded and end by themselves. */
static struct lode_attempt *shut(struct srv_upload *u)
{
    pthread_mutex_lock(&u->lock);
    bool was_open = u->state == SRV_UPLOAD_OPEN;
    if (was_open)
        u->state = SRV_UPLOAD_CLOSED;
    for (struct srv_upload_file *f = was_open ? u->files : NULL; f;) {
        if (f->running) {
            pthread_cond_wait(&u->moved, &u->lock);
            f = u->files;
        } else {
            f = f->next_file;
        }
    }
    struct lode_attempt *attempt = was_open ? lode_steal(u->attempt) : NULL;
    pthread_mutex_unlock(&u->lock);
    if (attempt)
        srv_upload_files_free(u);
    return attempt;
}

int srv_upload_close(struct srv_upload *u, bool keep, struct lode_err *err)
{
    struct srv_attempts *self = u->server->attempts;
    struct lode_attempt *attempt = shut(u);
    struct srv_upload *gone = NULL;
    if (!attempt)
        return lode_err_set(err, LODE_CONFLICT, "the upload is being finished, or was");
    int r = abandon(u, attempt, keep, err);
    pthread_mutex_lock(&self->lock);
    take_out(self, u, &gone);
    pthread_mutex_unlock(&self->lock);
    free_list(gone);
    return r;
}

/* ---- the sweeper ---- */

/* One that was not spoken of for long, with a reference; finished ones are just taken out. */
static struct srv_upload *find_idle(struct srv_attempts *self, int64_t before,
                                    struct srv_upload **gone)
{
    struct srv_upload *next;
    for (struct srv_upload *u = self->first; u; u = next) {
        next = u->next;
        pthread_mutex_lock(&u->lock);
        bool idle = u->used_ms < before, open = u->state == SRV_UPLOAD_OPEN,
             busy = u->state == SRV_UPLOAD_FINISHING;
        pthread_mutex_unlock(&u->lock);
        if (!idle || busy)
            continue;
        if (open) {
            u->refs++;
            return u;
        }
        take_out(self, u, gone);
    }
    return NULL;
}

static void sweep(struct srv_attempts *self, int64_t before)
{
    for (;;) {
        struct srv_upload *gone = NULL;
        pthread_mutex_lock(&self->lock);
        struct srv_upload *u = find_idle(self, before, &gone);
        pthread_mutex_unlock(&self->lock);
        free_list(gone);
        if (!u)
            return;
        struct lode_err err = {0};
        if (srv_upload_close(u, true, &err) < 0)
            lode_log_warn("an idle upload of %s could not be put aside: %s", u->name, err.text);
        srv_upload_unref(u);
    }
}

static void *sweeper(void *arg)
{
    struct srv_attempts *self = arg;
    pthread_mutex_lock(&self->lock);
    while (!self->stopping) {
        srv_cond_wait_until(&self->wake, &self->lock, lode_mono_ms() + SWEEP_MS);
        pthread_mutex_unlock(&self->lock);
        sweep(self, lode_mono_ms() - IDLE_MS);
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

int srv_attempts_start(struct lode_server *server, struct srv_attempts **out, struct lode_err *err)
{
    struct srv_attempts *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the uploads");
    self->server = server;
    pthread_mutex_init(&self->lock, NULL);
    srv_cond_init(&self->wake);
    *out = self;
    int r = pthread_create(&self->sweeper, NULL, sweeper, self);
    self->started = r == 0;
    return r == 0 ? 0 : lode_err_num(err, r, "cannot start the sweeper of uploads");
}

void srv_attempts_stop(struct srv_attempts *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->wake);
    pthread_mutex_unlock(&self->lock);
    if (self->started)
        pthread_join(self->sweeper, NULL);
    sweep(self, INT64_MAX);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

size_t srv_attempts_count(struct srv_attempts *self)
{
    pthread_mutex_lock(&self->lock);
    size_t n = self->n;
    pthread_mutex_unlock(&self->lock);
    return n;
}
