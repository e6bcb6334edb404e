/* Starts tests/support/http_server.py beside a test. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

struct http_server {
    pid_t pid;
    int to; /* closing it ends the server */
    int port;
    char url[64]; /* "http://127.0.0.1:port" */
    char dir[64]; /* with TLS: holds cert.pem, a certificate for 127.0.0.1 that nobody has signed */
};

/* False where python3 (or, for TLS, openssl) is not to be had. */
bool http_server_start(struct http_server *s, bool tls);
void http_server_stop(struct http_server *s);
