#!/usr/bin/env python3
"""Builds and runs every test, and ends with one line: `N passed, N failed, N skipped`.

    tests/run.py                  all suites
    tests/run.py --only asan,style
    LODE_TEST_LONG=1 tests/run.py the long runs (the tests read the variable themselves)

Suites
    asan     the C tests under AddressSanitizer and UBSan
    tsan     the C tests that use threads, under ThreadSanitizer
    system   tests/system/*.sh and *.py against the release build, several at a time
    python   pytest over python/tests, in build/venv
    style    tests/check_*.py

A test passes with exit 0 and is skipped with exit 77, its reason the last line on stderr. Of cmocka programs and of
pytest every case counts. A suite that cannot be built is one failure. The exit status is 0 if something ran
and nothing failed. Standard library only, Python 3.11.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LONG = os.environ.get("LODE_TEST_LONG") == "1"
TIMEOUT_S = 4 * 3600 if LONG else 600
JOBS = os.cpu_count() or 1
SKIP = 77

BUILDS = {
    "release": ["-DLODE_TESTS=OFF"],
    "asan": ["-DLODE_SANITIZE=address,undefined"],
    "tsan": ["-DLODE_SANITIZE=thread"],
}
NEEDS = {"asan": ["asan"], "tsan": ["tsan"], "system": ["release"], "python": ["release"], "style": ["release"]}
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


@dataclass
class Result:
    suite: str
    name: str
    outcome: str        # "passed", "failed" or "skipped"
    seconds: float = 0.0
    text: str = ""      # why it failed or was skipped
    count: int = 1      # cases it stands for


# ---- running -------------------------------------------------------------------------------------------------

def environment(**more):
    """The caller's, without Lode's own settings, so that a test never touches a root of the user's."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LODE_") or k == "LODE_TEST_LONG"}
    release = BUILD / "release"
    env["PATH"] = f"{release}:{BUILD / 'venv/bin'}:{env['PATH']}"
    env.update(LODE_BIN=str(release / "lode"), LODE_SOURCE=str(ROOT), PYTHONDONTWRITEBYTECODE="1")
    env.update(SANITIZER_OPTIONS)
    env.update(more)
    return env


def run(command, timeout=TIMEOUT_S, **kwargs):
    """Runs to the end or the time-out, its whole process group with it. Answers (exit status, output)."""
    process = subprocess.Popen([str(c) for c in command], cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                               errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True, **kwargs)
    try:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return 124, f"{output}\nstopped after {timeout} s"


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


def outcome_of(suite, name, status, output, seconds):
    if status == 0:
        return Result(suite, name, "passed", seconds)
    if status == SKIP:
        return Result(suite, name, "skipped", seconds, last_line(output))
    return Result(suite, name, "failed", seconds, f"{output}\nexit status {status}")


def script(suite, path, command):
    """One test that is one program, with a directory of its own for what it leaves."""
    scratch = tempfile.mkdtemp(prefix="lode-test-")
    begin = time.monotonic()
    try:
        env = environment(TMPDIR=scratch, LODE_HOME=f"{scratch}/home")
        status, output = run(command, env=env)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return outcome_of(suite, path.name, status, output, time.monotonic() - begin)


# ---- building ------------------------------------------------------------------------------------------------

def build(name):
    """Configures and builds one tree. Answers None or the failure."""
    tree = BUILD / name
    begin = time.monotonic()
    configure = ["cmake", "-S", ROOT, "-B", tree, "-G", "Ninja", *BUILDS[name]]
    if shutil.which("ccache"):
        configure.append("-DCMAKE_C_COMPILER_LAUNCHER=ccache")
    for command in (configure, ["ninja", "-C", tree, f"-j{JOBS}"]):
        status, output = run(command, timeout=3600)
        if status != 0:
            return Result("build", name, "failed", time.monotonic() - begin, output)
    print(f"built {name} in {time.monotonic() - begin:.0f} s", flush=True)
    return None


# ---- suites --------------------------------------------------------------------------------------------------

def without_aslr():
    """gcc's ThreadSanitizer dies where addresses carry more random bits than it was built for."""
    prefix = ["setarch", os.uname().machine, "-R"]
    works = shutil.which("setarch") and run([*prefix, "true"])[0] == 0
    return prefix if works else []


def cmocka_cases(output):
    """(passed, {skipped: reason}) of a program: every cmocka case, or the program itself."""
    passed = len(re.findall(r"^\[ +OK \]", output, re.M))
    skipped = dict.fromkeys(re.findall(r"^\[  SKIPPED \] (\S+)$", output, re.M))
    for name in skipped:
        said = re.search(rf"^\[ RUN +\] {name}$(.*?)^\[  SKIPPED \] {name}$", output, re.M | re.S)
        skipped[name] = last_line(said.group(1) if said else "")
    return max(passed, 0 if skipped else 1), skipped


def ctest_results(suite, report):
    for case in xml.parse(report).getroot().iter("testcase"):
        name, seconds = case.get("name"), float(case.get("time") or 0)
        output = case.findtext("system-out") or ""
        passed, skipped = cmocka_cases(output)
        if case.get("status") == "run":
            yield Result(suite, name, "passed", seconds, count=passed)
            for one, why in skipped.items():
                yield Result(suite, f"{name} {one}", "skipped", text=why)
        elif "SKIP_RETURN_CODE" in xml.tostring(case, encoding="unicode"):
            yield Result(suite, name, "skipped", seconds, skip_reason(output))
        else:
            yield Result(suite, name, "failed", seconds, output)


def skip_reason(output):
    said = re.findall(r"^SKIPPED: (.*)$", output, re.M)
    return said[0] if said else last_line(output)


def ctest(suite, prefix=()):
    report = BUILD / f"{suite}.xml"
    report.unlink(missing_ok=True)
    wide = "1000000"    # bytes of output kept of each test
    status, output = run([*prefix, "ctest", "--test-dir", BUILD / suite, f"-j{JOBS}", "--output-junit", report,
                          "--test-output-size-passed", wide, "--test-output-size-failed", wide],
                         timeout=TIMEOUT_S * 4, env=environment())
    if not report.exists():
        return [Result(suite, "ctest", "failed", text=f"{output}\nexit status {status}")]
    return list(ctest_results(suite, report))


def scripts(suite, paths, jobs):
    interpreter = {".py": venv_python(), ".sh": "bash"}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda p: script(suite, p, [interpreter[p.suffix], p]), sorted(paths)))


def venv_python():
    own = BUILD / "venv/bin/python"
    return own if own.exists() else sys.executable


def pytest():
    if not (ROOT / "python/tests").is_dir():
        return []
    status, output = run(["scripts/venv.sh"], timeout=1800)
    if status != 0:
        return [Result("python", "venv", "failed", text=output)]
    report = BUILD / "python.xml"
    report.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="lode-test-") as scratch:
        env = environment(LODE_HOME=f"{scratch}/home")
        status, output = run([venv_python(), "-m", "pytest", "-q", "python/tests", f"--junitxml={report}",
                              "-p", "no:cacheprovider", f"--basetemp={scratch}/pytest"], env=env)
    if not report.exists() or status not in (0, 1):
        return [Result("python", "pytest", "failed", text=f"{output}\nexit status {status}")]
    return [pytest_result(case) for case in xml.parse(report).getroot().iter("testcase")]


def pytest_result(case):
    name, seconds = f"{case.get('classname')}.{case.get('name')}", float(case.get("time") or 0)
    for tag in ("failure", "error"):
        if case.find(tag) is not None:
            return Result("python", name, "failed", seconds, case.find(tag).text or "")
    skipped = case.find("skipped")
    if skipped is not None:
        return Result("python", name, "skipped", seconds, skipped.get("message") or "")
    return Result("python", name, "passed", seconds)


def system_tests():
    folder = ROOT / "tests/system"
    return scripts("system", [*folder.glob("*.sh"), *folder.glob("test_*.py")], JOBS)


SUITES = {
    "asan": lambda: ctest("asan"),
    "tsan": lambda: ctest("tsan", without_aslr()),
    "python": pytest,
    "system": system_tests,
    "style": lambda: scripts("style", (ROOT / "tests").glob("check_*.py"), JOBS),
}


# ---- report --------------------------------------------------------------------------------------------------

def show(results):
    for r in results:
        if r.outcome == "failed":
            print(f"\n==== FAILED {r.suite}/{r.name} ({r.seconds:.1f} s)\n{r.text.strip()[-20000:]}\n====", flush=True)


def total(results, outcome):
    return sum(r.count for r in results if r.outcome == outcome)


def counts(results):
    return ", ".join(f"{total(results, outcome)} {outcome}" for outcome in ("passed", "failed", "skipped"))


def summary(results, seconds):
    skipped = [r for r in results if r.outcome == "skipped"]
    print("\nskipped:" if skipped else "")
    for r in skipped:
        print(f"  {r.suite}/{r.name}: {r.text}")
    print("slowest: " + ", ".join(f"{r.suite}/{r.name} {r.seconds:.0f} s"
                                  for r in sorted(results, key=lambda r: -r.seconds)[:5]))
    for r in results:
        if r.outcome == "failed":
            print(f"failed: {r.suite}/{r.name}")
    print(f"took {seconds:.0f} s")
    print(counts(results), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SUITES), help="suites, separated by commas")
    wanted = parser.parse_args().only.split(",")
    unknown = [suite for suite in wanted if suite not in SUITES]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")

    begin = time.monotonic()
    BUILD.mkdir(exist_ok=True)
    failures = {name: build(name) for name in BUILDS if any(name in NEEDS[suite] for suite in wanted)}
    results = [failure for failure in failures.values() if failure]
    show(results)
    if {"asan", "python"} & set(wanted):    # C tests look at files of the real libraries; a failure is told by `python`
        run(["scripts/venv.sh"], timeout=1800)
    for suite in wanted:
        if any(failures[name] for name in NEEDS[suite]):
            continue
        start = time.monotonic()
        found = SUITES[suite]()
        show(found)
        print(f"suite {suite} in {time.monotonic() - start:.0f} s: {counts(found)}", flush=True)
        results += found
    summary(results, time.monotonic() - begin)
    sys.exit(1 if total(results, "failed") or not total(results, "passed") else 0)


if __name__ == "__main__":
    main()
