#!/usr/bin/env python3
"""`lode serve` as a process: SIGTERM with a thousand open event streams ends it with 0 within 2 s, and the command line
works through it unchanged."""
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LODE = os.environ.get("LODE_BIN", "lode")
STREAMS = 1000


def main() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * STREAMS:
        print(f"only {hard} files may be open", file=sys.stderr)
        return 77
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * STREAMS), hard))
    place = pathlib.Path(tempfile.mkdtemp(prefix="lode-serve-"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("LODE_")}
    env.update(LODE_URL=str(place / "root"), LODE_CACHE=str(place / "cache"), HOME=str(place))

    def lode(*args, **more):
        return subprocess.run([LODE, *args], env={**env, **more}, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    try:
        lode("init", "-q")
        token = lode("token", "add", "--scope", "admin", "tester", "-q")
        server = subprocess.Popen([LODE, "serve", "-q", "--listen", "127.0.0.1:0"], env=env, text=True, stdout=subprocess.PIPE)
        try:
            url = server.stdout.readline().strip()
            there = {"LODE_URL": url, "LODE_TOKEN": token, "LODE_CACHE": str(place / "client")}
            (place / "model").mkdir()
            (place / "model/weights.bin").write_bytes(os.urandom(5_000_000))
            (place / "model/config.json").write_text("{}")
            lode("push", "rank", str(place / "model"), "--alias", "prod", "-m", "first", **there)
            lode("pull", "rank@prod", str(place / "out"), **there)
            subprocess.run(["diff", "-r", place / "model", place / "out"], check=True)
            assert "tester" in lode("log", "rank", **there)
            assert "clean" in lode("verify", "--all", **there)
            request = (f"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n").encode()
            streams = [socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) for _ in range(STREAMS)]
            for stream in streams:
                stream.sendall(request)
            for stream in streams:
                seen = b""
                while b"event: open" not in seen:
                    more = stream.recv(4096)
                    assert more, seen
                    seen += more
            begin = time.monotonic()
            server.send_signal(signal.SIGTERM)
            status = server.wait(30)
            took = time.monotonic() - begin
        finally:
            server.kill()
        print(f"SIGTERM with {STREAMS} streams: exit {status} after {took:.2f} s")
        return 0 if status == 0 and took <= 2 else 1
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
