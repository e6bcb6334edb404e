#!/usr/bin/env python3
"""clang-tidy over src/, with the checks that .clang-tidy names. A file that is unchanged since it was found clean, its
headers and the settings included, is not looked at again (build/tidy)."""
import concurrent.futures
import hashlib
import json
import os
import shlex
import shutil
import subprocess

import checks

TOOL = "clang-tidy-14"


def commands(root):
    """{source: compile command} of the release build, sources of src/ only."""
    database = json.loads((root / "build/release/compile_commands.json").read_text())
    return {entry["file"]: shlex.split(entry["command"]) for entry in database
            if entry["file"].startswith(f"{root}/src/")}


def preprocessed(command):
    start = 1 if os.path.basename(command[0]) == "ccache" else 0
    output = command.index("-o")
    short = command[start:output] + command[output + 2:]
    return subprocess.run([*(arg for arg in short if arg != "-c"), "-E"], capture_output=True).stdout


def look(root, source, command, settings):
    """The findings of one file, or "" if it is clean."""
    stamp = root / "build/tidy" / hashlib.sha256(settings + preprocessed(command)).hexdigest()
    if stamp.exists():
        return ""
    done = subprocess.run([TOOL, "--quiet", "--extra-arg=-Wno-unknown-warning-option", "-p", root / "build/release",
                           source], capture_output=True, text=True)
    if done.returncode == 0 and not done.stdout.strip():
        stamp.touch()
    return done.stdout.strip() or (done.stderr if done.returncode else "")


def main():
    if not shutil.which(TOOL):
        checks.skip(f"{TOOL} is not installed")
    root = checks.tree()
    (root / "build/tidy").mkdir(parents=True, exist_ok=True)
    settings = (root / ".clang-tidy").read_bytes()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda item: look(root, *item, settings), sorted(commands(root).items()))
    checks.report(text for text in found if text)


if __name__ == "__main__":
    main()
