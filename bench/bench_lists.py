#!/usr/bin/env python3
"""`lode show` and `lode ls` as whole processes on a root with many versions.

    bench/bench_lists.py [--versions 10000] [--rounds 50]

Bound: 20 ms a process at the median. Run with build/venv/bin/python, for the root is seeded through the Python package.
"""
import argparse
import os
import pathlib
import sys
import tempfile
import time

import common


def seed(root, versions):
    """100 models, each with its share of versions of one small file. Answers the versions written a second."""
    import lode
    client = lode.Client(str(root))
    file = root.parent / "weights.bin"
    file.write_bytes(os.urandom(1024))
    begin = time.perf_counter()
    for i in range(versions):
        client.push(str(file), f"model-{i % 100:03}", metrics={"auc": i / versions}, tags={"team": f"team-{i % 7}"})
    return versions / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lode-bench-", dir="/var/tmp") as place:
        root = pathlib.Path(place) / "root"
        env = {**os.environ, "LODE_URL": str(root)}
        common.run([common.LODE, "init"], env=env)
        rate = seed(root, args.versions)
        commands = {
            "lode --version": ["--version"],
            "lode show model-042": ["show", "model-042"],
            "lode ls": ["ls"],
            "lode ls model-042": ["ls", "model-042"],
            "lode ls --filter \"metrics.auc > 0.99\"": ["ls", "--filter", "metrics.auc > 0.99"],
        }
        runs = common.rounds([(name, lambda words=words: common.run([common.LODE, *words], env=env))
                              for name, words in commands.items()], args.rounds)
    verdict = common.Verdict()
    rows = [[f"`{name}`", f"{common.median(of) * 1000:.1f} ms",
             f"{common.percentile([r.seconds for r in of], 99) * 1000:.1f} ms",
             verdict.bound(name, common.median(of) * 1000, 20)] for name, of in runs.items()]
    common.table(f"{args.versions} versions in 100 models, whole processes, {args.rounds} rounds in turn; "
                 f"seeded at {rate:.0f} versions/s", ["", "median", "p99", "within 20 ms"], rows)
    verdict.end()


if __name__ == "__main__":
    sys.exit(main())
