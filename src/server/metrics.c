/* Numbers for Prometheus (text format 0.0.4). Counting costs a few atomic additions a request;
 * rendering walks them. */
#include "base/clock.h"
#include "base/mem.h"
#include "server/srv.h"
#include "server/rooms.h"

#define CLASSES 5
#define ROUTES_MAX 96

static const double bounds[] = {0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30}; /* seconds */
#define BUCKETS (LODE_ARRAY_LEN(bounds) + 1)

struct srv_metrics {
    int64_t began_ms;
    atomic_uint_least64_t requests[ROUTES_MAX][CLASSES]; /* the last row: no route */
    atomic_uint_least64_t seconds[BUCKETS];
    atomic_uint_least64_t micros;
    atomic_uint_least64_t sent, received; /* bytes of bodies */
};

struct srv_metrics *srv_metrics_new(void)
{
    struct srv_metrics *self = lode_zalloc(sizeof(*self));
    if (self)
        self->began_ms = lode_mono_ms();
    return self;
}

void srv_metrics_free(struct srv_metrics *self)
{
    lode_free(self);
}

static void add(atomic_uint_least64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t get(atomic_uint_least64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void srv_metrics_request(struct srv_metrics *self, const struct srv_request *request)
{
    size_t n;
    const struct srv_route *routes = srv_routes(&n);
    size_t row = request->route ? (size_t)(request->route - routes) : ROUTES_MAX - 1;
    int class = request->reply.status / 100 - 1;
    if (row >= ROUTES_MAX || class < 0 || class >= CLASSES)
        return;
    uint64_t us = (lode_mono_ns() - request->began_ns) / 1000;
    size_t bucket = 0;
    while (bucket < LODE_ARRAY_LEN(bounds) && (double)us > bounds[bucket] * 1e6)
        bucket++;
    add(&self->requests[row][class], 1);
    add(&self->seconds[bucket], 1);
    add(&self->micros, us);
    add(&self->sent, request->sent);
    if (request->has_body && request->content_length != UINT64_MAX)
        add(&self->received, request->content_length);
}

static void head(struct lode_buf *out, const char *name, const char *type, const char *help)
{
    lode_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct lode_buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    head(out, name, type, help);
    lode_buf_addf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void requests_text(struct srv_metrics *self, struct lode_buf *out)
{
    size_t n;
    const struct srv_route *routes = srv_routes(&n);
    head(out, "lode_http_requests_total", "counter",
         "Requests answered, by operation and class of status.");
    for (size_t i = 0; i < ROUTES_MAX; i++) {
        for (size_t c = 0; c < CLASSES; c++) {
            uint64_t count = get(&self->requests[i][c]);
            if (count)
                lode_buf_addf(
                    out, "lode_http_requests_total{operation=\"%s\",status=\"%zuxx\"} %llu\n",
                    i < n ? routes[i].operation : "none", c + 1, (unsigned long long)count);
        }
    }
}

static void seconds_text(struct srv_metrics *self, struct lode_buf *out)
{
    head(out, "lode_http_request_seconds", "histogram",
         "From the head of a request to the end of its answer.");
    uint64_t sum = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        sum += get(&self->seconds[i]);
        if (i < LODE_ARRAY_LEN(bounds))
            lode_buf_addf(out, "lode_http_request_seconds_bucket{le=\"%g\"} %llu\n", bounds[i],
                          (unsigned long long)sum);
        else
            lode_buf_addf(out, "lode_http_request_seconds_bucket{le=\"+Inf\"} %llu\n",
                          (unsigned long long)sum);
    }
    lode_buf_addf(out, "lode_http_request_seconds_sum %.6f\nlode_http_request_seconds_count %llu\n",
                  (double)get(&self->micros) / 1e6, (unsigned long long)sum);
}

void srv_metrics_text(struct lode_server *server, struct lode_buf *out)
{
    struct srv_metrics *self = server->metrics;
    requests_text(self, out);
    seconds_text(self, out);
    single(out, "lode_http_sent_bytes_total", "counter", "Bytes of answers' bodies.",
           get(&self->sent));
    single(out, "lode_http_received_bytes_total", "counter", "Bytes of requests' bodies.",
           get(&self->received));
    single(out, "lode_http_connections", "gauge", "Open connections.",
           srv_conns_count(server->conns));
    single(out, "lode_http_requests_active", "gauge",
           "Requests that are not answered yet, event streams included.",
           atomic_load(&server->active));
    single(out, "lode_watchers", "gauge", "Open event streams.", srv_hub_watchers(server->hub));
    single(out, "lode_events_total", "counter", "Changes told to event streams.",
           srv_hub_events(server->hub));
    single(out, "lode_worker_queue", "gauge", "Requests that wait for a worker.",
           srv_pool_waiting(server->pool));
    single(out, "lode_root_revision", "gauge",
           "Newest revision of the root that this server has applied.",
           srv_follow_revision(server->follow));
    single(out, "lode_root_followed", "gauge", "1 while the root can be followed.",
           srv_follow_alive(server->follow));
    single(out, "lode_uploads", "gauge", "Attempts that are being uploaded.",
           srv_attempts_count(server->attempts));
    single(out, "lode_up_seconds", "counter", "Since the server started.",
           (uint64_t)(lode_mono_ms() - self->began_ms) / 1000);
}
