/* The server beside a test: see http_server.h. */
#include "support/http_server.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool make_certificate(const char *dir)
{
    char cmd[512];
    snprintf(cmd, sizeof cmd,
             "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext "
             "subjectAltName=IP:127.0.0.1 "
             "-keyout %s/key.pem -out %s/cert.pem >/dev/null 2>&1",
             dir, dir);
    return system(cmd) == 0;
}

static void run_server(const struct http_server *s, bool tls, int in, int out)
{
    char script[512], cert[80], key[80];
    const char *source = getenv("LODE_SOURCE");
    snprintf(script, sizeof script, "%s/tests/support/http_server.py", source ? source : ".");
    snprintf(cert, sizeof cert, "%s/cert.pem", s->dir);
    snprintf(key, sizeof key, "%s/key.pem", s->dir);
    dup2(in, 0);
    dup2(out, 1);
    if (tls)
        execlp("python3", "python3", script, cert, key, (char *)NULL);
    else
        execlp("python3", "python3", script, (char *)NULL);
    _exit(127);
}

bool http_server_start(struct http_server *s, bool tls)
{
    int in[2], out[2];
    char text[16] = {0};
    *s = (struct http_server){.dir = "/tmp/lode-http-XXXXXX"};
    if (!mkdtemp(s->dir) || (tls && !make_certificate(s->dir)) || pipe2(in, O_CLOEXEC) < 0 ||
        pipe2(out, O_CLOEXEC) < 0)
        return false;
    s->pid = fork();
    if (s->pid == 0)
        run_server(s, tls, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    s->to = in[1];
    ssize_t n = read(out[0], text, sizeof text - 1);
    close(out[0]);
    s->port = n > 0 ? (int)strtol(text, NULL, 10) : 0;
    snprintf(s->url, sizeof s->url, "%s://127.0.0.1:%d", tls ? "https" : "http", s->port);
    return s->port > 0;
}

void http_server_stop(struct http_server *s)
{
    char cmd[128];
    if (s->pid > 0) {
        close(s->to);
        waitpid(s->pid, NULL, 0);
    }
    snprintf(cmd, sizeof cmd, "rm -rf %s", s->dir);
    if (s->dir[0] && system(cmd) != 0)
        perror(cmd);
    *s = (struct http_server){0};
}
