#!/usr/bin/env python3
"""Runs the README's tour as it stands: every ```sh tour block, in one shell, which must not fail anywhere."""
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("LODE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))


def main() -> int:
    readme = (SOURCE / "README.md").read_text()
    blocks = re.findall(r"```sh tour\n(.*?)```", readme, re.S)
    if len(blocks) < 5:
        print("the README has no tour any more", file=sys.stderr)
        return 1
    script = "set -euxo pipefail\n" + "\n".join(blocks)
    env = {k: v for k, v in os.environ.items() if not k.startswith("LODE_")}
    run = subprocess.run(["bash", "-c", script], cwd=SOURCE, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         timeout=120)
    print(run.stdout)
    wanted = ["rank", "embed.weight", "verified", "(none) ->", "Restored", "clean: 1 version"]
    missing = [w for w in wanted if w not in run.stdout]
    if missing:
        print(f"the tour did not print {missing}", file=sys.stderr)
    return run.returncode or bool(missing)


sys.exit(main())
