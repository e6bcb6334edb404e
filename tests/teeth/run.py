#!/usr/bin/env python3
"""Tests with teeth: switches each planted bug of plants.txt on, one at a time, and demands that a test named beside
it fails. One build (build/teeth, -DLODE_PLANTS=ON) serves all; LODE_PLANT=<name> chooses the bug at run time.

    tests/teeth/run.py [NAME...]

First every named test has to pass with no bug switched on, or its failing would prove nothing. A test is a
regular expression over CTest's names (`store\\.posix`), or `system/<file>` for tests/system/<file>.
"""
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
import check_plants  # noqa: E402
import run  # noqa: E402

TREE = run.BUILD / "teeth"
run.BUILDS["teeth"] = ["-DLODE_PLANTS=ON"]


def failing_tests(pattern, plant):
    """The names of the tests that fail with the bug on; None if no test has such a name."""
    env = run.environment(LODE_BIN=str(TREE / "lode"), PATH=f"{TREE}:{run.environment()['PATH']}", LODE_PLANT=plant)
    if pattern.startswith("system/"):
        path = TESTS / pattern
        command = ["bash" if path.suffix == ".sh" else run.venv_python(), path]
        return [pattern] if run.run(command, timeout=300, env=env)[0] not in (0, run.SKIP) else []
    status, output = run.run(["ctest", "--test-dir", TREE, "-R", pattern, f"-j{run.JOBS}", "--timeout", "120"],
                             env=env)
    if "No tests were found" in output:
        return None
    return re.findall(r"^\s*\d+ - (\S+) \(", output, re.M) or ([] if status == 0 else [pattern])


def healthy(patterns):
    """False, with a word about it, if a named test is missing or fails without any bug."""
    good = True
    for pattern in sorted(patterns):
        failing = failing_tests(pattern, "")
        if failing is None or failing:
            print(f"{pattern}: " + ("no such test" if failing is None else f"fails without a bug: {failing}"))
            good = False
    return good


def main():
    wanted = sys.argv[1:]
    plants = [plant for plant in check_plants.listed(run.ROOT) if not wanted or plant[1] in wanted]
    failure = run.build("teeth")
    if failure:
        run.show([failure])
        sys.exit(1)
    if not healthy({pattern for _, _, pattern, _ in plants}):
        sys.exit(1)
    missed = 0
    for _, name, pattern, description in plants:
        caught = failing_tests(pattern, name)
        missed += not caught
        print(f"{'caught' if caught else 'MISSED'} {name} ({description})"
              + (f" by {', '.join(caught)}" if caught else f": {pattern} passed"), flush=True)
    print(f"{len(plants) - missed} of {len(plants)} planted bugs caught")
    sys.exit(1 if missed or not plants else 0)


if __name__ == "__main__":
    main()
