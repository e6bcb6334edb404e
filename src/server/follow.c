/* Following the root: one coord watch over everything, from which the server knows the newest
 * revision, whose answers are stale, and when the tokens have changed.
 *
 * Staleness of a kept answer is bounded by this watch, and ends earlier for who writes through this
 * server. If the watch is lost (the coord is away, or history that old is gone), every kept answer
 * goes and none is kept until it is back. */
#include "base/log.h"
#include "base/mem.h"
#include "server/rooms.h"
#include "server/wait.h"
#include <string.h>

#define SRV_BEHIND_MS 2000 /* a request that names a newer revision waits this long */
#define RETRY_MS 250

struct srv_follow {
    struct lode_server *server;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    atomic_uint_least64_t revision; /* everything up to here has been applied */
    atomic_bool alive, stopping;
    struct lode_coord_watch *watch; /* guarded by lock */
    pthread_t thread;
};

/* "model/<ns>/<name>" and "version/<ns>/<name>/<version>". */
static bool model_of_key(const char *key, char ns[LODE_NAME_MAX + 1], char name[LODE_NAME_MAX + 1])
{
    size_t skip = strncmp(key, "model/", 6) == 0 ? 6 : strncmp(key, "version/", 8) == 0 ? 8 : 0;
    if (skip == 0)
        return false;
    const char *a = key + skip, *b = a + strcspn(a, "/");
    size_t name_len = *b ? strcspn(b + 1, "/") : 0;
    if (b - a > LODE_NAME_MAX || name_len == 0 || name_len > LODE_NAME_MAX)
        return false;
    memcpy(ns, a, (size_t)(b - a));
    ns[b - a] = '\0';
    memcpy(name, b + 1, name_len);
    name[name_len] = '\0';
    return true;
}

static void reload_tokens(struct lode_server *server)
{
    struct lode_err err = {0};
    if (srv_auth_reload(&server->auth, server->coord, &err) < 0)
        lode_log_warn("the tokens could not be read anew: %s", err.text);
}

static void apply(struct srv_follow *self, const struct lode_coord_events *events)
{
    bool tokens = false;
    char ns[LODE_NAME_MAX + 1], name[LODE_NAME_MAX + 1];
    for (size_t i = 0; i < events->n; i++) {
        const char *key = events->items[i].kv.key;
        if (model_of_key(key, ns, name))
            srv_cache_drop(self->server->cache, ns, name);
        tokens |= strncmp(key, "token/", 6) == 0;
    }
    if (tokens) {
        reload_tokens(self->server);
        srv_hub_end_streams(self->server->hub); /* a token that was taken back hears nothing more */
    }
}

static void reached(struct srv_follow *self, uint64_t revision)
{
    pthread_mutex_lock(&self->lock);
    if (revision > atomic_load(&self->revision))
        atomic_store(&self->revision, revision);
    pthread_cond_broadcast(&self->moved);
    pthread_mutex_unlock(&self->lock);
}

static int begin(struct srv_follow *self, struct lode_err *err)
{
    uint64_t revision;
    int r = lode_coord_revision(self->server->coord, &revision, err);
    struct lode_coord_watch *watch = NULL;
    r = r < 0 ? r : lode_coord_watch(self->server->coord, "", revision + 1, &watch, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&self->lock);
    self->watch = watch;
    pthread_mutex_unlock(&self->lock);
    /* What was read before the watch began may be stale by now. */
    srv_cache_drop_all(self->server->cache);
    reload_tokens(self->server);
    atomic_store(&self->alive, true);
    reached(self, revision);
    return 0;
}

static void end(struct srv_follow *self)
{
    atomic_store(&self->alive, false);
    srv_cache_drop_all(self->server->cache);
    pthread_mutex_lock(&self->lock);
    struct lode_coord_watch *watch = lode_steal(self->watch);
    pthread_mutex_unlock(&self->lock);
    lode_coord_watch_close(watch);
}

/* One wait for events; a negative answer loses the watch. */
static int step(struct srv_follow *self, struct lode_err *err)
{
    struct lode_coord_events events;
    int r = lode_coord_watch_next(self->watch, 1000, &events, err);
    if (r < 0)
        return r;
    apply(self, &events);
    reached(self, events.revision);
    lode_coord_events_release(&events);
    return 0;
}

static void *follow(void *arg)
{
    struct srv_follow *self = arg;
    struct lode_err err = {0};
    while (!atomic_load(&self->stopping)) {
        int r = self->watch ? step(self, &err) : begin(self, &err);
        if (r >= 0 || atomic_load(&self->stopping))
            continue;
        lode_log_warn("the server lost sight of its root and looks again: %s", err.text);
        end(self);
        if (r != LODE_COMPACTED)
            lode_sleep_ms(RETRY_MS);
    }
    return NULL;
}

int srv_follow_start(struct lode_server *server, struct srv_follow **out, struct lode_err *err)
{
    struct srv_follow *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the server");
    self->server = server;
    pthread_mutex_init(&self->lock, NULL);
    srv_cond_init(&self->moved);
    int r = begin(self, err);
    if (r == 0) {
        r = pthread_create(&self->thread, NULL, follow, self);
        r = r == 0 ? 0 : lode_err_num(err, r, "cannot start to follow the root");
    }
    if (r < 0) {
        end(self);
        lode_free(self);
        return r;
    }
    *out = self;
    return 0;
}

void srv_follow_stop(struct srv_follow *self)
{
    if (!self)
        return;
    atomic_store(&self->stopping, true);
    pthread_mutex_lock(&self->lock);
    if (self->watch)
        lode_coord_watch_wake(self->watch);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    end(self);
    pthread_cond_destroy(&self->moved);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

uint64_t srv_follow_revision(struct srv_follow *self)
{
    return atomic_load(&self->revision);
}

bool srv_follow_alive(struct srv_follow *self)
{
    return atomic_load(&self->alive);
}

static int wait_until(struct srv_follow *self, uint64_t revision, int64_t until)
{
    pthread_mutex_lock(&self->lock);
    while (atomic_load(&self->revision) < revision && lode_mono_ms() < until &&
           !atomic_load(&self->server->stopping))
        srv_cond_wait_until(&self->moved, &self->lock, until);
    bool there = atomic_load(&self->revision) >= revision;
    pthread_mutex_unlock(&self->lock);
    return there ? 0 : LODE_BEHIND;
}

int srv_follow_wait(struct srv_follow *self, uint64_t revision, struct lode_err *err)
{
    if (revision <= atomic_load(&self->revision))
        return 0;
    /* The coord itself is the judge: what it has, every read from it shows. */
    uint64_t there;
    if (lode_coord_revision(self->server->coord, &there, NULL) == 0 && there >= revision)
        return 0;
    if (wait_until(self, revision, lode_mono_ms() + SRV_BEHIND_MS) == 0)
        return 0;
    return lode_err_set(
        err, LODE_BEHIND,
        "this server has seen revision %llu of the root, not %llu; ask another or later",
        (unsigned long long)srv_follow_revision(self), (unsigned long long)revision);
}
