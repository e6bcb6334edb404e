#!/usr/bin/env python3
"""The server beside nginx, with the load generator on the same machine: resolving name@alias, and downloads.

    bench/bench_server.py [--models 1000] [--rounds 3] [--seconds 10] [--mib 256]

Resolve: wrk -t1 -c64, keep-alive, token checked, access log on, random names; nginx answers a small file of the same size.
Bounds: at least 60,000 requests a second; downloads, whole and by ranges, at least 95 % of what nginx serves of the
same file. Run with build/venv/bin/python.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import common

NGINX = """
worker_processes auto; daemon off; error_log {place}/error.log; pid {place}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log {place}/nginx.log; sendfile on; keepalive_requests 100000000;
    client_body_temp_path {place}/t1; proxy_temp_path {place}/t2; fastcgi_temp_path {place}/t3;
    uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5;
    server {{ listen 127.0.0.1:{port}; root {place}/www; }}
}}
"""
RESOLVE = """
math.randomseed(42)
local headers = {{["Authorization"] = "Bearer {token}"}}
function request()
    return wrk.format("GET", string.format("/v1/resolve?ref=model-%03d%%40prod", math.random(0, {models} - 1)), headers)
end
"""
PLAIN = """
function request() return wrk.format("GET", "{path}", {headers}) end
"""


def wrk(place, script, port, connections, seconds):
    """(requests a second, bytes a second, p99 in ms) of one run; exits if an answer was no success."""
    (place / "script.lua").write_text(script)
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", place / "script.lua",
                           f"http://127.0.0.1:{port}/"], check=True, text=True, stdout=subprocess.PIPE).stdout
    if "Non-2xx" in done or "Socket errors" in done:
        sys.exit(done)
    rate = float(re.search(r"Requests/sec: +([\d.]+)", done).group(1))
    moved, unit = re.search(r"Transfer/sec: +([\d.]+)(\w+)", done).groups()
    slow, slow_unit = re.search(r"99% +([\d.]+)(\w+)", done).groups()
    return (rate, float(moved) * {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}[unit],
            float(slow) * {"us": 1e-3, "ms": 1, "s": 1e3}[slow_unit])


def seed(place, args):
    import lode
    client = lode.Client(str(place / "root"))
    (place / "small.bin").write_bytes(os.urandom(1024))
    for i in range(args.models):
        client.push(str(place / "small.bin"), f"model-{i:03}", version="v1", aliases=["prod"])
    www = place / "www"
    www.mkdir()
    with open(www / "large.bin", "wb") as file:
        for _ in range(args.mib):
            file.write(os.urandom(1 << 20))
    client.push(str(www / "large.bin"), "large", version="v1")
    return www


def headers(**pairs):
    return "{" + ", ".join(f'["{name}"] = "{value}"' for name, value in pairs.items()) + "}"


def measure(place, args):
    www = seed(place, args)
    results = {}
    with common.Server(place / "root", "--access-log", str(place / "access.log")) as server:
        port = server.port + 1 if server.port < 65000 else server.port - 1
        subprocess.run([common.LODE, "verify", "large"], env=server.env, check=True, stdout=subprocess.DEVNULL)
        answer = common.run(["curl", "-sf", "-o", www / "small.json", "-H", f"Authorization: Bearer {server.token}",
                             f"{server.url}/v1/resolve?ref=model-000%40prod"])
        assert answer
        (place / "nginx.conf").write_text(NGINX.format(place=place, port=port))
        nginx = subprocess.Popen(["nginx", "-c", place / "nginx.conf", "-e", place / "error.log"])
        auth = {"Authorization": f"Bearer {server.token}"}
        file = "/v1/models/_/large/versions/v1/files/large.bin"
        part = {"Range": "bytes=1048576-9437183"}
        steps = [
            ("resolve, nginx small file", port, 64, PLAIN.format(path="/small.json", headers="{}")),
            ("resolve, lode", server.port, 64, RESOLVE.format(token=server.token, models=args.models)),
            ("whole file, nginx", port, 4, PLAIN.format(path="/large.bin", headers="{}")),
            ("whole file, lode", server.port, 4, PLAIN.format(path=file, headers=headers(**auth))),
            ("8 MiB ranges, nginx", port, 4, PLAIN.format(path="/large.bin", headers=headers(**part))),
            ("8 MiB ranges, lode", server.port, 4, PLAIN.format(path=file, headers=headers(**auth, **part))),
        ]
        try:
            for i in range(args.rounds):
                for name, to, connections, script in steps:
                    results.setdefault(name, []).append(wrk(place, script, to, connections, args.seconds))
                    print(f"round {i + 1}: {name}: {results[name][-1][0]:.0f}/s", file=sys.stderr, flush=True)
        finally:
            nginx.terminate()
            nginx.wait()
    tell(results, args)


def tell(results, args):
    median = {name: sorted(of)[len(of) // 2] for name, of in results.items()}
    verdict = common.Verdict()
    within = {"resolve, lode": verdict.bound("resolve", 60_000 / median["resolve, lode"][0], 1)}
    for what in ("whole file", "8 MiB ranges"):
        ratio = 0.95 * median[f"{what}, nginx"][1] / median[f"{what}, lode"][1]
        within[f"{what}, lode"] = verdict.bound(what, ratio, 1)
    rows = [[name, f"{rate:.0f}/s", f"{moved / 1e9:.2f} GB/s", f"{slow:.2f} ms", within.get(name, "")]
            for name, (rate, moved, slow) in median.items()]
    common.table(f"server, {args.models} models, medians of {args.rounds} rounds of {args.seconds} s in turn",
                 ["", "requests", "bytes", "p99", "within bound"], rows)
    verdict.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--mib", type=int, default=256)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lode-bench-", dir="/var/tmp") as place:
        measure(pathlib.Path(place), args)


if __name__ == "__main__":
    sys.exit(main())
