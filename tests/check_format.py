#!/usr/bin/env python3
"""C code is laid out as .clang-format says, by the one version that it is written for. `make format` mends it."""
import shutil
import subprocess

import checks

TOOL = "clang-format-14"


def main():
    if not shutil.which(TOOL):
        checks.skip(f"{TOOL} is not installed")
    root = checks.tree()
    paths = checks.files(root, ".c", ".h")
    done = subprocess.run([TOOL, f"--style=file:{root}/.clang-format", "--dry-run", *paths],
                          capture_output=True, text=True)
    wrong = {}
    for line in done.stderr.splitlines():
        if "[-Wclang-format-violations]" in line:
            name, number = line.split(":")[:2]
            wrong.setdefault(name, number)
    checks.report(f"{name}:{number}: not laid out as .clang-format says; make format" for name, number in wrong.items())


if __name__ == "__main__":
    main()
