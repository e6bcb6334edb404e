/* The access log: one line a request, gathered in memory and written by a thread of its own.
 *
 *     2026-11-21T09:30:00.123Z 127.0.0.1 robot GET /v1/models/_/rank/versions/prod 200 512 0.031
 * time of the answer, peer, token's name ("-": none), method, raw path, status, bytes of the
 * answer's body, milliseconds. When the disk is slower than the requests, lines are dropped and
 * counted rather than requests held up. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "server/srv.h"
#include "server/wait.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_MS 500
#define FLUSH_BYTES (256u << 10) /* wake the writer early */
#define HELD_MAX (4u << 20)      /* bytes held before lines are dropped */

struct srv_access {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct lode_buf lines; /* guarded by lock */
    uint64_t dropped;      /* lines, guarded by lock */
    bool stopping;         /* guarded by lock */
    int64_t second;        /* of `stamp`, guarded by lock */
    char stamp[LODE_TIME_TEXT];
    int fd;
    pthread_t writer;
};

static void write_out(struct srv_access *self, struct lode_buf *lines, uint64_t dropped)
{
    if (lines->len && lode_write_full(self->fd, lines->data, lines->len) < 0)
        lode_log_warn("cannot write the access log; %zu bytes of it are lost", lines->len);
    if (dropped)
        lode_log_warn("%llu lines of the access log are lost: the disk is too slow",
                      (unsigned long long)dropped);
}

static void *writer(void *arg)
{
    struct srv_access *self = arg;
    struct lode_buf mine = LODE_BUF_INIT(HELD_MAX);
    pthread_mutex_lock(&self->lock);
    for (bool last = false; !last;) {
        if (!self->stopping && self->lines.len < FLUSH_BYTES)
            srv_cond_wait_until(&self->wake, &self->lock, lode_mono_ms() + FLUSH_MS);
        last = self->stopping;
        struct lode_buf swap = self->lines;
        self->lines = mine;
        mine = swap;
        uint64_t dropped = self->dropped;
        self->dropped = 0;
        pthread_mutex_unlock(&self->lock);
        write_out(self, &mine, dropped);
        lode_buf_clear(&mine);
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    lode_buf_release(&mine);
    return NULL;
}

int srv_access_open(const char *path, struct srv_access **out, struct lode_err *err)
{
    *out = NULL;
    if (!path)
        return 0;
    struct srv_access *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the access log");
    self->fd =
        strcmp(path, "-") == 0
            ? STDERR_FILENO
            : lode_sys->openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (self->fd < 0) {
        lode_free(self);
        return lode_err_sys(err, "cannot open the access log %s", path);
    }
    pthread_mutex_init(&self->lock, NULL);
    srv_cond_init(&self->wake);
    lode_buf_init(&self->lines, HELD_MAX);
    int r = pthread_create(&self->writer, NULL, writer, self);
    if (r != 0) {
        lode_free(self);
        return lode_err_num(err, r, "cannot start the access log");
    }
    *out = self;
    return 0;
}

void srv_access_close(struct srv_access *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->wake);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->writer, NULL);
    if (self->fd != STDERR_FILENO)
        lode_sys->close(self->fd);
    lode_buf_release(&self->lines);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

static void peer_text(const struct srv_request *request, char out[INET6_ADDRSTRLEN])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *peer = info ? info->client_addr : NULL;
    const void *address =
        !peer ? NULL
        : peer->sa_family == AF_INET6
            ? (const void *)&((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr
            : (const void *)&((const struct sockaddr_in *)(const void *)peer)->sin_addr;
    if (!address || !inet_ntop(peer->sa_family, address, out, INET6_ADDRSTRLEN))
        memcpy(out, "-", 2);
}

/* Anything but plain printing characters as \xNN: one request stays one line. */
static void add_raw(struct lode_buf *line, const char *s)
{
    for (; *s; s++) {
        if (*s > ' ' && *s < 0x7f && *s != '\\' && *s != '"')
            lode_buf_addc(line, *s);
        else
            lode_buf_addf(line, "\\x%02x", (unsigned char)*s);
    }
}

static const char *stamp(struct srv_access *self, int64_t now)
{
    if (now / 1000 != self->second) {
        self->second = now / 1000;
        lode_time_rfc3339(now, self->stamp);
    }
    return self->stamp;
}

void srv_access_write(struct srv_access *self, const struct srv_request *request)
{
    if (!self)
        return;
    char peer[INET6_ADDRSTRLEN];
    peer_text(request, peer);
    const char *who = srv_caller_name(&request->caller);
    int64_t now = lode_now_ms();
    uint64_t us = (lode_mono_ns() - request->began_ns) / 1000;
    pthread_mutex_lock(&self->lock);
    size_t before = self->lines.len;
    const char *text = stamp(self, now);
    lode_buf_addf(&self->lines, "%.20s%03dZ %s %s %s ", text, (int)(now % 1000), peer,
                  who ? who : "-", request->method);
    add_raw(&self->lines, request->url);
    lode_buf_addf(&self->lines, " %d %llu %llu.%03llu\n", request->reply.status,
                  (unsigned long long)request->sent, (unsigned long long)(us / 1000),
                  (unsigned long long)(us % 1000));
    if (self->lines.failed) {
        self->lines.len = before;
        self->lines.failed = 0;
        self->dropped++;
    }
    if (self->lines.len >= FLUSH_BYTES)
        pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}
