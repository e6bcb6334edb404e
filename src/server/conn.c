/* Open connections and their deadlines.
 *
 * libmicrohttpd closes a connection on which nothing happens, but not one on which a byte comes
 * every ten seconds. Here each connection carries the moment by which its current step has to be
 * over: its request's head, or its body at SRV_BODY_RATE at least. A sweeper shuts the sockets of
 * those that are late; libmicrohttpd then closes them. A step changes one atomic number; the list
 * is locked only when connections come and go. */
#include "base/clock.h"
#include "base/mem.h"
#include "server/srv.h"
#include "server/wait.h"
#include <sys/socket.h>

#define SWEEP_MS 500
#define BODY_GRACE_MS 30000
#define BODY_RATE                                                                                  \
    (16u << 10) /* bytes a second that an upload makes at least, over its whole length */

struct srv_conn {
    struct srv_conn *prev, *next; /* guarded by the list's lock */
    int fd;
    atomic_int_least64_t deadline; /* lode_mono_ms(); INT64_MAX: none */
};

struct srv_conns {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct srv_conn *first; /* guarded by lock */
    unsigned n;             /* guarded by lock */
    bool stopping;          /* guarded by lock */
    int64_t header_ms, idle_ms;
    pthread_t sweeper;
};

static void sweep(struct srv_conns *self)
{
    int64_t now = lode_mono_ms();
    for (struct srv_conn *c = self->first; c; c = c->next)
        if (atomic_load(&c->deadline) < now)
            shutdown(c->fd, SHUT_RDWR);
}

static void *sweeper(void *arg)
{
    struct srv_conns *self = arg;
    pthread_mutex_lock(&self->lock);
    while (!self->stopping) {
        srv_cond_wait_until(&self->wake, &self->lock, lode_mono_ms() + SWEEP_MS);
        sweep(self);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

int srv_conns_start(unsigned header_s, unsigned idle_s, struct srv_conns **out,
                    struct lode_err *err)
{
    struct srv_conns *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the connections");
    pthread_mutex_init(&self->lock, NULL);
    srv_cond_init(&self->wake);
    self->header_ms = header_s * 1000ll;
    self->idle_ms = idle_s * 1000ll;
    int r = pthread_create(&self->sweeper, NULL, sweeper, self);
    if (r != 0) {
        lode_free(self);
        return lode_err_num(err, r, "cannot start the sweeper of connections");
    }
    *out = self;
    return 0;
}

void srv_conns_stop(struct srv_conns *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->wake);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->sweeper, NULL);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

static void opened(struct srv_conns *self, struct MHD_Connection *mhd, void **slot)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct srv_conn *c = info ? lode_zalloc(sizeof(*c)) : NULL;
    *slot = c;
    if (!c)
        return; /* served without a deadline of ours */
    c->fd = info->connect_fd;
    atomic_init(&c->deadline, lode_mono_ms() + self->header_ms);
    pthread_mutex_lock(&self->lock);
    c->next = self->first;
    if (self->first)
        self->first->prev = c;
    self->first = c;
    self->n++;
    pthread_mutex_unlock(&self->lock);
}

static void closed(struct srv_conns *self, void **slot)
{
    struct srv_conn *c = *slot;
    if (!c)
        return;
    pthread_mutex_lock(&self->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        self->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    self->n--;
    pthread_mutex_unlock(&self->lock);
    lode_free(c);
    *slot = NULL;
}

void srv_conns_notify(void *conns, struct MHD_Connection *mhd, void **slot,
                      enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        opened(conns, mhd, slot);
    else
        closed(conns, slot);
}

void srv_conn_reading_body(struct srv_conn *c, uint64_t bytes)
{
    if (c)
        atomic_store(&c->deadline,
                     lode_mono_ms() + BODY_GRACE_MS + (int64_t)(bytes / BODY_RATE) * 1000);
}

void srv_conn_answering(struct srv_conn *c)
{
    if (c)
        atomic_store(&c->deadline, INT64_MAX);
}

void srv_conn_idle(struct srv_conns *self, struct srv_conn *c)
{
    if (c)
        atomic_store(&c->deadline, lode_mono_ms() + self->idle_ms);
}

unsigned srv_conns_count(struct srv_conns *self)
{
    pthread_mutex_lock(&self->lock);
    unsigned n = self->n;
    pthread_mutex_unlock(&self->lock);
    return n;
}
