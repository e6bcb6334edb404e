/* What is answered without the catalog: health, readiness, metrics, the OpenAPI document. On event
 * threads. */
#include "base/mem.h"
#include "server/openapi.h"
#include "server/rooms.h"
#include <string.h>

#define METRICS_MAX (1u << 20)

bool srv_op_health(struct srv_request *request)
{
    return srv_reply_json(request, 200, json_pack("{s:s}", "status", "ok")) == 0;
}

/* Ready: requests are taken and the root is in sight. */
bool srv_op_ready(struct srv_request *request)
{
    struct lode_server *server = request->server;
    if (atomic_load(&server->stopping) || !srv_follow_alive(server->follow)) {
        srv_reply_fail(request, 0, LODE_UNAVAILABLE, "this server %s",
                       atomic_load(&server->stopping) ? "is stopping"
                                                      : "has lost sight of its root");
        return true;
    }
    return srv_reply_json(request, 200,
                          json_pack("{s:s, s:I}", "status", "ready", "revision",
                                    (json_int_t)srv_follow_revision(server->follow))) == 0;
}

bool srv_op_metrics(struct srv_request *request)
{
    struct lode_buf text = LODE_BUF_INIT(METRICS_MAX);
    srv_metrics_text(request->server, &text);
    size_t len = text.len;
    char *owned = lode_buf_steal(&text);
    return srv_reply_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", owned, len) ==
               0 ||
           srv_reply_fail(request, 0, LODE_NO_MEMORY, "out of memory") == 0;
}

bool srv_op_openapi(struct srv_request *request)
{
    char *copy = lode_memdup(srv_openapi, srv_openapi_len);
    return srv_reply_text(request, 200, "application/json", copy, srv_openapi_len) == 0 ||
           srv_reply_fail(request, 0, LODE_NO_MEMORY, "out of memory") == 0;
}
