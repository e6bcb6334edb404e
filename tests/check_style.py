#!/usr/bin/env python3
"""What clang-format cannot see: lengths, opening comments, unfinished work, and calls that Lode does not make.

Banned calls have no bound, hidden state or a shell. Direct calls are those that fault tests must reach: outside
src/base/sys.c they go through lode_sys-> or base/mem.h. A line that has to make one all the same says why:
    free(text);    /* direct: jansson allocated it */
"""
import re

import checks

FUNCTION_MAX = 70
FILE_MAX = 700

BANNED = {
    "strcpy": "lode_buf or memcpy", "strcat": "lode_buf", "strncpy": "memcpy or lode_strndup",
    "strncat": "lode_buf", "sprintf": "snprintf or lode_buf", "vsprintf": "vsnprintf", "gets": "lode_sys->read",
    "strtok": "strchr or strcspn", "atoi": "a checked parse", "atol": "a checked parse", "atoll": "a checked parse",
    "atof": "a checked parse", "scanf": "a checked parse", "sscanf": "a checked parse", "fscanf": "a checked parse",
    "system": "posix_spawn", "popen": "posix_spawn", "alloca": "lode_alloc", "rand": "lode_sys->getrandom",
    "srand": "lode_sys->getrandom", "random": "lode_sys->getrandom", "mktemp": "openat with O_EXCL",
    "tmpnam": "openat with O_EXCL", "localtime": "localtime_r", "gmtime": "gmtime_r", "ctime": "base/clock.h",
    "asctime": "base/clock.h", "strerror": "lode_err_sys", "setenv": "an argument", "putenv": "an argument",
}
THROUGH_SYS = """open openat close read write pread pwrite fsync fdatasync sync_file_range ftruncate fallocate fstat
    fstatat stat lstat fstatvfs statvfs mkdir mkdirat unlink unlinkat rmdir link linkat rename renameat renameat2
    readlink readlinkat fchmod chmod futimens utimensat copy_file_range mmap munmap flock opendir fdopendir readdir
    closedir clock_gettime gettimeofday time nanosleep usleep sleep getrandom""".split()
THROUGH_MEM = "malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf aligned_alloc memalign".split()
LIBRARY_BANNED = {"printf": "lode_log", "puts": "lode_log", "putchar": "lode_log", "exit": "an error"}

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|not (yet )?implemented|unimplemented|raise NotImplementedError", re.I)
CALL = re.compile(r"(?<![\w.>])([A-Za-z_]\w*)\s*\(")
DIRECT = re.compile(r"/\* direct: \w")


def function_lengths(text):
    """(line, name, lines) of each function, signature to closing brace, in code laid out by clang-format."""
    lines = checks.code_only(text).split("\n")
    for number, line in enumerate(lines):
        if line.rstrip() != "{":
            continue
        first = number
        while first > 0 and lines[first - 1].strip() and not lines[first - 1].startswith(("#", "}", "\\")) \
                and not lines[first - 1].rstrip().endswith(";"):
            first -= 1
        last = next((i for i in range(number, len(lines)) if lines[i].startswith("}")), number)
        name = CALL.search(" ".join(lines[first:number]))
        yield first + 1, name.group(1) if name else "?", last - first + 1


def length_findings(shown, text):
    lines = text.count("\n")
    if lines > FILE_MAX:
        yield f"{shown}:1: {lines} lines; a file has one purpose and at most {FILE_MAX}"
    if shown.suffix in (".c", ".h"):
        for line, name, length in function_lengths(text):
            if length > FUNCTION_MAX:
                yield f"{shown}:{line}: {name} has {length} lines; at most {FUNCTION_MAX}"


def opening_findings(shown, text):
    body = re.sub(r"\A#![^\n]*\n", "", text)
    opens = {".c": "/*", ".h": "/*", ".py": '"""', ".sh": "#"}[shown.suffix]
    empty_init = shown.name == "__init__.py" and not body.strip()
    if not body.lstrip("\n").startswith(opens) and not empty_init:
        yield f"{shown}:1: a file opens with a comment: its purpose, its design, what must stay true"
    if shown.suffix == ".sh" and not re.search(r"^set -e?u", text, re.M):
        yield f"{shown}:1: a script stops at its first error: set -eu"


def call_reason(name, library):
    if name in BANNED:
        return f"{name} is banned; use {BANNED[name]}"
    if library and name in LIBRARY_BANNED:
        return f"{name} has no place in the library; use {LIBRARY_BANNED[name]}"
    if name in THROUGH_SYS:
        return f"{name} goes through lode_sys->, so that fault tests reach it"
    if name in THROUGH_MEM:
        return f"{name} goes through base/mem.h, so that fault tests reach it"
    return None


def call_findings(shown, text, library_rooms):
    if shown.parts[0] != "src" or shown.as_posix() == "src/base/sys.c":
        return
    library = len(shown.parts) > 1 and shown.parts[1] in library_rooms
    original = text.split("\n")
    for number, line in enumerate(checks.code_only(text).split("\n")):
        if line.lstrip().startswith("#") or DIRECT.search(original[number]):
            continue
        for match in CALL.finditer(line):
            reason = call_reason(match.group(1), library)
            if reason:
                yield f"{shown}:{number + 1}: {reason}"


def line_findings(shown, text):
    for number, line in enumerate(text.split("\n"), 1):
        if UNFINISHED.search(line) and shown.name not in ("check_style.py", "check_checks.py"):
            yield f"{shown}:{number}: unfinished by its own word"
        if line != line.rstrip():
            yield f"{shown}:{number}: space at the end of the line"
        if "\t" in line and shown.suffix in (".c", ".h", ".py"):
            yield f"{shown}:{number}: a tab"
    if text and not text.endswith("\n"):
        yield f"{shown}:{text.count(chr(10)) + 1}: the last line has no end"


def findings(root):
    library, _ = checks.room_lists(root)
    for path in checks.files(root, ".c", ".h", ".py", ".sh"):
        shown, text = path.relative_to(root), path.read_text()
        yield from length_findings(shown, text)
        yield from opening_findings(shown, text)
        yield from call_findings(shown, text, library)
        yield from line_findings(shown, text)


if __name__ == "__main__":
    checks.report(findings(checks.tree()))
