#!/usr/bin/env python3
"""How soon a watcher hears of a promote: in another process on an embedded root, and through the server with many
watchers at once.

    bench/bench_watch.py [--watchers 1000] [--moves 100]

Counted from before the promote is called until the event is read. Bound: 50 ms at p99 over all watchers and moves.
Run with build/venv/bin/python.
"""
import argparse
import asyncio
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import common

EMBEDDED_WATCHER = """
import sys, time, lode
print("ready", flush=True)
with lode.Client(sys.argv[1]).watch("rank") as events:
    for event in events:
        print(time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
"""


def embedded(client, root, moves):
    """Latencies in seconds, from a watcher in another process."""
    watcher = subprocess.Popen([sys.executable, "-c", EMBEDDED_WATCHER, str(root)], stdout=subprocess.PIPE, text=True)
    heard = []
    watcher.stdout.readline()
    reader = threading.Thread(target=lambda: heard.extend(float(line) for line in watcher.stdout), daemon=True)
    reader.start()
    time.sleep(1)
    begins = []
    for i in range(moves):
        begins.append(time.clock_gettime(time.CLOCK_MONOTONIC))
        client.promote(f"rank@v{i % 2}", "prod")
        time.sleep(0.1)
    time.sleep(0.5)
    watcher.terminate()
    reader.join(5)
    if len(heard) < moves:
        sys.exit(f"the watcher heard {len(heard)} of {moves} moves")
    return [end - begin for begin, end in zip(begins, heard[-moves:])]


async def listen(port, token, heard):
    """One event-stream client: notes when each event's first line came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/watch?ns=_&name=rank HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
                 "Accept: text/event-stream\r\n\r\n".encode())
    async for line in reader:
        if line.startswith(b"data:"):
            heard.append(time.clock_gettime(time.CLOCK_MONOTONIC))


async def served(server, client, watchers, moves):
    heard = [[] for _ in range(watchers)]
    tasks = [asyncio.create_task(listen(server.port, server.token, times)) for times in heard]
    await asyncio.sleep(2 + watchers / 500)
    begins = []
    loop = asyncio.get_running_loop()
    for times in heard:
        times.clear()
    for i in range(moves):
        begins.append(time.clock_gettime(time.CLOCK_MONOTONIC))
        await loop.run_in_executor(None, client.promote, f"rank@v{i % 2}", "prod")
        await asyncio.sleep(0.2)
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    short = sum(len(times) < moves for times in heard)
    if short:
        sys.exit(f"{short} of {watchers} watchers did not hear all {moves} moves")
    return [end - begin for times in heard for begin, end in zip(begins, times[-moves:])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--moves", type=int, default=100)
    args = parser.parse_args()
    import lode
    verdict = common.Verdict()
    rows = []

    def note(name, latencies):
        p99 = common.percentile(latencies, 99) * 1000
        rows.append([name, f"{common.percentile(latencies, 50) * 1000:.2f} ms", f"{p99:.2f} ms",
                     f"{max(latencies) * 1000:.2f} ms", verdict.bound(name, p99, 50)])

    with tempfile.TemporaryDirectory(prefix="lode-bench-", dir="/var/tmp") as place:
        root = pathlib.Path(place) / "root"
        common.run([common.LODE, "init"], env={**os.environ, "LODE_URL": str(root)})
        client = lode.Client(str(root))
        (root.parent / "weights.bin").write_bytes(os.urandom(1024))
        for version in ("v0", "v1"):
            client.push(str(root.parent / "weights.bin"), "rank", version=version)
        note("embedded, one watcher in another process", embedded(client, root, args.moves))
        with common.Server(root) as server:
            remote = lode.Client(server.url, token=server.token)
            note(f"server, {args.watchers} watchers", asyncio.run(served(server, remote, args.watchers, args.moves)))
    common.table(f"a watcher hears of a promote, {args.moves} moves", ["", "median", "p99", "worst", "p99 within 50 ms"],
                 rows)
    verdict.end()


if __name__ == "__main__":
    sys.exit(main())
