"""What the benchmarks share: running a command with its wall time and peak memory, medians, and one kind of table.

Every benchmark runs the peer and Lode in turn, round by round, so that a slower minute of the machine hits both, and
compares medians. It ends with the table and exits 1 if a figure misses its bound.
"""
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

LODE = os.environ.get("LODE_BIN", "lode")


@dataclass
class Run:
    seconds: float
    peak_mib: float


def run(command, **kwargs):
    """Runs a command to its end; exits with its output if it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, shell=isinstance(command, str),
                               **kwargs)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command}: exit {process.returncode}\n{output.decode(errors='replace')}")
    return Run(seconds, usage.ru_maxrss / 1024)


def rounds(steps, n):
    """{name: [Run, ...]}: all steps in turn, n times. A step is (name, function answering a Run)."""
    runs = {name: [] for name, _ in steps}
    for i in range(n):
        for name, step in steps:
            runs[name].append(step())
            print(f"round {i + 1}: {name} {runs[name][-1].seconds:.3f} s", file=sys.stderr, flush=True)
    return runs


def median(runs):
    return statistics.median(run.seconds for run in runs)


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))]


def table(title, heads, rows):
    print(f"\n{title} ({platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()})\n")
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


class Verdict:
    """Collects whether each figure keeps its bound."""

    def __init__(self):
        self.missed = []

    def bound(self, name, value, limit):
        if value > limit:
            self.missed.append(f"{name}: {value:.3g} is over {limit:.3g}")
        return "yes" if value <= limit else "NO"

    def end(self):
        for line in self.missed:
            print(f"missed: {line}")
        sys.exit(1 if self.missed else 0)


class Server:
    """`lode serve` on a free port of loopback, for a `with` block. It has the root, its URL and an admin token."""

    def __init__(self, root, *options):
        self.root, self.options = root, options
        self.env = {**os.environ, "LODE_URL": str(root)}

    def __enter__(self):
        made = subprocess.run([LODE, "token", "add", "--scope", "admin", "bench", "-q"], env=self.env, check=True,
                              stdout=subprocess.PIPE, text=True)
        self.token = made.stdout.strip()
        self.process = subprocess.Popen([LODE, "serve", "-q", "--listen", "127.0.0.1:0", *self.options], env=self.env,
                                        stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
