/* Host and Origin: a page in somebody's browser must not reach this server by a name of its own
 * (DNS rebinding), nor act for the user across sites. */
#include "base/name.h"
#include "server/srv.h"
#include <arpa/inet.h>
#include <string.h>

/* The host of "host:port", "[::1]:port", "host"; false where it cannot be one. */
static bool host_of(const char *s, char out[256])
{
    size_t len;
    if (s[0] == '[') {
        len = strcspn(++s, "]");
        if (s[len] != ']' || (s[len + 1] != '\0' && s[len + 1] != ':'))
            return false;
    } else {
        len = strcspn(s, ":");
        if (s[len] == ':' && strspn(s + len + 1, "0123456789") != strlen(s + len + 1))
            return false;
    }
    if (len == 0 || len > 255)
        return false;
    memcpy(out, s, len);
    out[len] = '\0';
    return true;
}

static bool listed(const char *const *list, const char *s)
{
    for (; list && *list; list++)
        if (strcasecmp(*list, s) == 0)
            return true;
    return false;
}

static bool is_literal(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static bool host_allowed(const struct srv_hosts *hosts, const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, "::1") == 0 || strcasecmp(host, hosts->own) == 0 ||
           listed(hosts->names, host) || (hosts->literals && is_literal(host));
}

int srv_hosts_check(const struct srv_hosts *hosts, const char *host, const char *origin,
                    struct lode_err *err)
{
    char name[256];
    if (!host || !host_of(host, name))
        return lode_err_set(err, LODE_INVALID,
                            "the request needs a Host header that names this server");
    if (!host_allowed(hosts, name))
        return lode_err_set(err, LODE_DENIED,
                            "this server is not called %s; start it with --host %s if it is",
                            lode_q(name), lode_q(name));
    if (!origin || listed(hosts->origins, origin))
        return 0;
    const char *site = strstr(origin, "://");
    if (site && strcasecmp(site + 3, host) == 0)
        return 0;
    return lode_err_set(
        err, LODE_DENIED,
        "pages of %s may not call this server; start it with --origin to allow them",
        lode_q(origin));
}
