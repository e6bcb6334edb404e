"""A small HTTP server that behaves and misbehaves on demand, for tests of the HTTP client.

Prints its port, then serves until its standard input closes. With a certificate and a key as arguments: TLS.
"""
import hashlib
import http.server
import json
import os
import socket
import ssl
import sys
import threading
import time


def pattern(start, n):
    return bytes((i * 7 + (i >> 8)) & 255 for i in range(start, start + n))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self):
        super().setup()
        Handler.connections += 1
        self.number = Handler.connections

    def log_message(self, *args):
        pass

    def whole(self, status, body, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def request_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while True:
                n = int(self.rfile.readline(), 16)
                body += self.rfile.read(n)
                self.rfile.readline()
                if n == 0:
                    return body
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def answer(self):
        words = self.path.split("?")[0].strip("/").split("/")
        handler = getattr(self, "on_" + words[0].replace("-", "_"), None)
        if handler is None:
            self.request_body()
            self.whole(404, b'{"error":{"code":"not_found","message":"no such path"}}', Content_Type="application/json")
        else:
            handler(*words[1:])

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = answer

    def on_hello(self):
        self.whole(200, b"hello", ETag='"abc"', X_Twice="  spaced  ")

    def on_connection(self):
        self.whole(200, str(self.number).encode())

    def on_echo(self):
        body = self.request_body()
        told = {"method": self.command, "path": self.path, "length": len(body), "sha256": hashlib.sha256(body).hexdigest(),
                "headers": {k.lower(): v for k, v in self.headers.items()}}
        self.whole(200, json.dumps(told).encode())

    def on_bytes(self, n):
        start, end, status = 0, int(n), 200
        if self.headers.get("Range"):
            a, b = self.headers["Range"][6:].split("-")
            start, end, status = int(a), int(b) + 1, 206
        self.whole(status, pattern(start, end - start), Content_Range="bytes %d-%d/%s" % (start, end - 1, n))

    def on_big(self, n):
        left, block = int(n), bytes(1 << 20)
        self.send_response(200)
        self.send_header("Content-Length", n)
        self.end_headers()
        while left:
            left -= self.wfile.write(block[:min(left, len(block))])

    def on_status(self, status):
        self.request_body()
        self.whole(int(status), b'{"error":{"code":"conflict"}}' + b" " * 100000)

    def on_slow(self, ms):
        time.sleep(int(ms) / 1000)
        self.whole(200, b"late")

    def on_drip(self, n, ms):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(int(n)):
            self.chunk(b"drop %d\n" % i)
            time.sleep(int(ms) / 1000)
        self.chunk(b"")

    def on_stall(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)
        self.wfile.flush()
        time.sleep(30)

    def on_short(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)
        self.close_connection = True

    def on_reset(self):
        self.request_body()
        self.close_connection = True

    def on_drop_kept(self):
        """Says keep-alive and closes all the same: the client finds a dead connection next time."""
        self.whole(200, b"bye")
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def on_big_head(self):
        self.whole(200, b"", **{"X%d" % i: "y" * 1000 for i in range(60)})

    def on_redirect(self):
        self.whole(307, b"", Location="/hello")

    def on_events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"id: 1\nevent: alias\nda", b"ta: {}\n\n: ping\n\n", b"id: 2\r\ndata: a\r\ndata: b\r\n\r\n"):
            self.chunk(part)
            time.sleep(0.01)
        self.chunk(b"")

    def handle_expect_100(self):
        """A client that asks before it sends its body is told to go on, except where it will be refused."""
        return self.path == "/refuse-upload" or super().handle_expect_100()

    def on_refuse_upload(self):
        """Answers in place of `100 Continue`, as a server over its limit does, and lingers: closing at once would reset
        the connection, and the answer be lost with what was on its way."""
        self.whole(413, b'{"error":{"code":"limit"}}')
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        while self.connection.recv(1 << 16):
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


def main():
    server = Server(("127.0.0.1", 0), Handler)
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    os.write(1, b"%d\n" % server.server_address[1])  # whole at once, for the reader closes the pipe then
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
