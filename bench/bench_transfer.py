#!/usr/bin/env python3
"""Push and pull of a large safetensors set beside `cp && sync` and `openssl dgst -sha256` of the same bytes.

    bench/bench_transfer.py [--gib 2] [--rounds 5] [--dir DIR]

Bounds: push at most 1.3 x the slower of the two peers, pull at most 1.2 x `cp && sync`; peak memory at most 128 MiB
over that of `lode --version`.
"""
import argparse
import json
import os
import pathlib
import shutil
import struct
import sys
import tempfile

import common

SHARDS = 4
TENSORS = 32    # a shard


def write_shard(path, size, seed):
    """A safetensors file of random F32 tensors."""
    each = size // TENSORS // 4 * 4
    header = {f"layer.{seed}.{i}.weight": {"dtype": "F32", "shape": [each // 4],
                                           "data_offsets": [i * each, (i + 1) * each]} for i in range(TENSORS)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in range(TENSORS):
            left = each
            while left:
                left -= file.write(os.urandom(min(left, 8 << 20)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", default="/var/tmp")
    args = parser.parse_args()
    place = pathlib.Path(tempfile.mkdtemp(prefix="lode-bench-", dir=args.dir))
    try:
        measure(place, args)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure(place, args):
    source = place / "model"
    source.mkdir()
    for i in range(SHARDS):
        write_shard(source / f"model-{i + 1:05}-of-{SHARDS:05}.safetensors", int(args.gib * 2**30 / SHARDS), i)
    os.sync()
    env = {**os.environ, "LODE_URL": str(place / "root")}
    common.run([common.LODE, "init"], env=env)
    count = iter(range(1_000_000))

    def emptied(path):
        shutil.rmtree(path, ignore_errors=True)
        os.sync()

    def copy():
        emptied(place / "copy")
        return common.run(f"cp -r {source} {place}/copy && sync")

    def digest():
        return common.run(["openssl", "dgst", "-sha256", *sorted(source.iterdir())])

    def push():
        version = f"v{next(count)}"
        taken = common.run([common.LODE, "push", "bench", source, "--version", version], env=env)
        return taken

    def pull():
        emptied(place / "out")
        taken = common.run([common.LODE, "pull", "bench", place / "out"], env=env)
        emptied(place / "out")
        common.run([common.LODE, "rm", "bench@latest", "--yes"], env=env)
        common.run([common.LODE, "gc", "--grace", "0s", "--yes"], env=env)
        os.sync()
        return taken

    runs = common.rounds([("cp && sync", copy), ("openssl dgst -sha256", digest), ("lode push", push),
                          ("lode pull", pull)], args.rounds)
    version = common.run([common.LODE, "--version"]).peak_mib
    tell(runs, version, args)


def tell(runs, version_mib, args):
    verdict = common.Verdict()
    took = {name: common.median(of) for name, of in runs.items()}
    slower = max(took["cp && sync"], took["openssl dgst -sha256"])
    bounds = {"lode push": took["lode push"] / slower / 1.3, "lode pull": took["lode pull"] / took["cp && sync"] / 1.2}
    rows = []
    for name, seconds in took.items():
        peak = max(run.peak_mib for run in runs[name])
        ours = name in bounds
        rows.append([name, f"{seconds:.2f} s", f"{args.gib * 1.073741824 / seconds:.2f} GB/s",
                     f"{peak - version_mib:.0f} MiB" if ours else "",
                     verdict.bound(name, bounds[name], 1) if ours else "",
                     verdict.bound(f"{name}, memory", peak - version_mib, 128) if ours else ""])
    common.table(f"{args.gib:g} GiB in {SHARDS} safetensors files, medians of {args.rounds} rounds in turn",
                 ["", "wall", "rate", "peak memory over --version", "time within bound", "memory within bound"], rows)
    verdict.end()


if __name__ == "__main__":
    sys.exit(main())
