/* Starting and stopping the server.
 *
 * Stopping is the delicate half: libmicrohttpd aborts the process if a connection is suspended when
 * its daemon stops. So first nothing new is taken, then everything that suspends connections is
 * closed for good (event streams, budget, workers), each resuming what it holds, and only then the
 * daemon stops. */
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "registry/handle.h"
#include "server/rooms.h"

#define BACKLOG 1024
#define PEM_MAX (1u << 20)
#define UPLOAD_MEMORY (256u << 20) /* bytes of upload parts in memory at once */
#define DRAIN_MS 1000              /* that running requests get to finish when the server stops */

/* ---- where to listen ---- */

static int split_listen(const char *s, char host[256], char port[8], struct lode_err *err)
{
    const char *colon = strrchr(s, ':');
    size_t len = colon ? (size_t)(colon - s) : 0;
    bool bracketed = len >= 2 && s[0] == '[' && s[len - 1] == ']';
    const char *from = bracketed ? s + 1 : s;
    len -= bracketed ? 2 : 0;
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (len == 0 || len > 255 || digits == 0 || digits > 5 || colon[1 + digits] ||
        (!bracketed && memchr(from, ':', len)))
        return lode_err_set(
            err, LODE_INVALID,
            "%s is no address to listen on; write \"127.0.0.1:7740\" or \"[::1]:7740\"", lode_q(s));
    memcpy(host, from, len);
    host[len] = '\0';
    memcpy(port, colon + 1, digits + 1);
    return 0;
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static int check_exposure(struct lode_server *self, const char *where, struct lode_err *err)
{
    if (self->open)
        return 0;
    if (srv_auth_count(&self->auth) == 0)
        return lode_err_set(
            err, LODE_DENIED,
            "%s can be reached by others, and the root has no token: make one first with "
            "`lode token add --scope admin NAME`",
            where);
    if (!self->options.cert && !self->options.plain_http)
        return lode_err_set(
            err, LODE_DENIED,
            "%s can be reached by others: give a certificate (--tls-cert, --tls-key), or "
            "--plain-http if a proxy in front of it speaks TLS",
            where);
    return 0;
}

static int bind_to(const struct addrinfo *at, const char *where, int *out, struct lode_err *err)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return lode_err_sys(err, "cannot make a socket for %s", where);
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int r = lode_err_sys(err, "cannot listen on %s", where);
        lode_sys->close(fd);
        return r;
    }
    *out = fd;
    return 0;
}

static void name_url(struct lode_server *self, int fd)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);
    unsigned port = 0;
    if (getsockname(fd, (struct sockaddr *)&own, &len) == 0)
        port = ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&own)->sin6_port
                                               : ((struct sockaddr_in *)(void *)&own)->sin_port);
    bool colon = strchr(self->hosts.own, ':') != NULL;
    snprintf(self->url, sizeof(self->url), "%s://%s%s%s:%u", self->options.cert ? "https" : "http",
             colon ? "[" : "", self->hosts.own, colon ? "]" : "", port);
}

static int listen_on(struct lode_server *self, int *out, struct lode_err *err)
{
    const char *where = self->options.listen ? self->options.listen : LODE_SERVE_DEFAULT_LISTEN;
    char port[8];
    int r = split_listen(where, self->hosts.own, port, err);
    if (r < 0)
        return r;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    int bad = getaddrinfo(self->hosts.own, port, &hints, &found);
    if (bad)
        return lode_err_set(err, LODE_INVALID, "cannot listen on %s: %s", where, gai_strerror(bad));
    self->open = is_loopback(found->ai_addr);
    self->hosts.literals = !self->open;
    self->hosts.names = self->options.hosts;
    self->hosts.origins = self->options.origins;
    r = check_exposure(self, where, err);
    r = r < 0 ? r : bind_to(found, where, out, err);
    freeaddrinfo(found);
    if (r == 0)
        name_url(self, *out);
    return r;
}

/* ---- start ---- */

static void defaults(struct lode_serve_options *o)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    o->threads = o->threads ? o->threads : (unsigned)lode_max(cpus, 2l);
    o->workers = o->workers ? o->workers : 32;
    o->connections = o->connections ? o->connections : 8192;
    o->connections_per_ip = o->connections_per_ip ? o->connections_per_ip : 4096;
    o->idle_s = o->idle_s ? o->idle_s : 60;
    o->header_s = o->header_s ? o->header_s : 15;
    /* libmicrohttpd divides the connections among its threads, and accepts unevenly. */
    o->connections = lode_max(o->connections, o->threads);
}

static void raise_files(const struct lode_serve_options *o)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)o->connections * 2 + 1024;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
        return;
    limit.rlim_cur = lode_min(want, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < want)
        lode_log_warn("only %llu files may be open at once; that bounds the connections",
                      (unsigned long long)limit.rlim_cur);
}

static int open_root(struct lode_server *self, struct lode_err *err)
{
    int r = lode_open(self->options.root, &self->lode, err);
    if (r < 0)
        return r;
    if (!self->lode->coord)
        return lode_err_set(err, LODE_UNSUPPORTED,
                            "%s is a server itself; serve its root on its own machine",
                            self->lode->url);
    self->catalog = self->lode->catalog;
    self->coord = self->lode->coord;
    self->store = self->lode->store;
    struct lode_root_info root;
    r = lode_catalog_ops_of(self->catalog)->root(self->catalog, &root, err);
    if (r < 0)
        return r;
    snprintf(self->root_id, sizeof(self->root_id), "%s", root.id);
    self->epoch = root.epoch;
    lode_root_info_release(&root);
    return 0;
}

static int start_parts(struct lode_server *self, struct lode_err *err)
{
    const struct lode_serve_options *o = &self->options;
    self->metrics = srv_metrics_new();
    if (!self->metrics)
        return lode_err_nomem(err, "the server");
    pthread_mutex_init(&self->budget.lock, NULL);
    self->budget.free = UPLOAD_MEMORY;
    int r = srv_cache_new(&self->cache, err);
    r = r < 0 ? r : srv_auth_init(&self->auth, err);
    r = r < 0 ? r : srv_auth_reload(&self->auth, self->coord, err);
    r = r < 0 ? r : srv_access_open(o->access_log, &self->access, err);
    r = r < 0 ? r : srv_conns_start(o->header_s, o->idle_s, &self->conns, err);
    r = r < 0 ? r : srv_pool_start(o->workers, &self->pool, err);
    /* The follower ends the hub's streams: the hub is there before it, and after it. */
    r = r < 0 ? r : srv_hub_start(self, &self->hub, err);
    r = r < 0 ? r : srv_follow_start(self, &self->follow, err);
    r = r < 0 ? r : srv_attempts_start(self, &self->attempts, err);
    r = r < 0 ? r : srv_jobs_start(self, &self->jobs, err);
    return r < 0 ? r : srv_checked_new(&self->checked, err);
}

static int read_pem(const char *path, char **out, struct lode_err *err)
{
    size_t len;
    *out = path ? lode_read_file(AT_FDCWD, path, PEM_MAX, &len) : NULL;
    return !path || *out ? 0 : lode_err_sys(err, "cannot read %s", path);
}

static int start_http(struct lode_server *self, struct lode_err *err)
{
    _cleanup_close_ int fd = -1;
    _cleanup_free_ char *cert = NULL;
    char *key = NULL;
    int r = listen_on(self, &fd, err);
    r = r < 0 ? r : read_pem(self->options.cert, &cert, err);
    r = r < 0 ? r : read_pem(self->options.key, &key, err);
    r = r < 0 ? r : srv_http_start(self, fd, cert, key, err);
    lode_free_secret(key);
    if (r == 0)
        lode_steal_fd(fd); /* the daemon's now */
    return r;
}

int lode_server_start(const struct lode_serve_options *options, struct lode_server **out,
                      struct lode_err *err)
{
    if (!options->cert != !options->key)
        return lode_err_set(err, LODE_INVALID, "TLS needs a certificate and its key, both");
    struct lode_server *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the server");
    self->options = *options;
    defaults(&self->options);
    raise_files(&self->options);
    int r = open_root(self, err);
    r = r < 0 ? r : start_parts(self, err);
    r = r < 0 ? r : start_http(self, err);
    if (r < 0) {
        lode_server_stop(self);
        return r;
    }
    *out = self;
    return 0;
}

const char *lode_server_url(const struct lode_server *self)
{
    return self->url;
}

/* ---- stop ---- */

static void drain(struct lode_server *self)
{
    for (int64_t until = lode_mono_ms() + DRAIN_MS;
         atomic_load(&self->active) > 0 && lode_mono_ms() < until;)
        lode_sleep_ms(2);
}

static void stop_http(struct lode_server *self)
{
    if (self->daemon) {
        MHD_socket fd = MHD_quiesce_daemon(self->daemon);
        if (fd != MHD_INVALID_SOCKET)
            lode_sys->close(fd);
    }
    if (self->hub)
        srv_hub_close(self->hub);
    srv_jobs_close(self->jobs);
    if (self->daemon) {
        srv_budget_flush(&self->budget);
        drain(self);
    }
    srv_pool_stop(self->pool);
    if (self->daemon)
        MHD_stop_daemon(self->daemon);
}

void lode_server_stop(struct lode_server *self)
{
    if (!self)
        return;
    atomic_store(&self->stopping, true);
    stop_http(self);
    srv_jobs_stop(self->jobs);
    srv_attempts_stop(self->attempts);
    srv_follow_stop(self->follow);
    srv_hub_stop(self->hub);
    srv_conns_stop(self->conns);
    srv_access_close(self->access);
    srv_checked_free(self->checked);
    srv_cache_free(self->cache);
    srv_auth_release(&self->auth);
    srv_metrics_free(self->metrics);
    lode_close(self->lode);
    lode_free(self);
}

int lode_serve(const struct lode_serve_options *options, struct lode_err *err)
{
    sigset_t stops, before;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stops, &before); /* before the threads, which inherit it */
    signal(SIGPIPE, SIG_IGN);
    struct lode_server *server = NULL;
    int r = lode_server_start(options, &server, err);
    if (r == 0) {
        int got;
        if (options->ready)
            options->ready(options->arg, server->url);
        while (sigwait(&stops, &got) != 0)
            ;
        lode_log_info("stopping");
        lode_server_stop(server);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}
