#!/usr/bin/env python3
"""The checkers have teeth: each finds every violation planted in a small tree, and nothing in a clean one."""
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOMS = "set(LODE_LIB_ROOMS base io store)\nset(LODE_BIN_ROOMS server cli)\n"
LONG_BODY = "    x++;\n" * 70
CLEAN = "/* Purpose. */\n"


def function(name, body="    return;\n"):
    return f"{CLEAN}static void {name}(void)\n{{\n{body}}}\n"


# checker -> [(file, content, what the finding must contain)]; None: there must be no finding.
PLANTED = {
    "check_rooms.py": [
        ("src/io/a.c", '#include "base/err.h"\n#include "io/b.h"\n#include <lode/err.h>\n', None),
        ("src/io/a.c", '/* #include "store/store.h" */\n', None),
        ("src/server/a.c", "#include <microhttpd.h>\n", None),
        ("src/io/a.c", '#include "store/store.h"\n', "src/io/a.c:1: io/ may not use store/"),
        ("src/base/a.c", '\n  #  include "cli/x.h"\n', "src/base/a.c:2: base/ may not use cli/"),
        ("src/io/a.c", '#include "b.h"\n', 'not of the form "room/file.h"'),
        ("src/io/a.c", '#include "../base/err.h"\n', 'not of the form "room/file.h"'),
        ("src/io/a.c", "#include <base/err.h>\n", 'write "base/err.h"'),
        ("src/store/a.c", "#include <microhttpd.h>\n", "belongs to the binary"),
        ("src/store/a.c", "#include <zookeeper/zookeeper.h>\n", "belongs to the binary"),
        ("src/attic/a.c", "int x;\n", "attic/ is no room"),
        ("include/lode/a.h", '#include "base/err.h"\n', "base/err.h is not public"),
        ("examples/a.c", "#include <base/err.h>\n", "base/err.h is not public"),
    ],
    "check_style.py": [
        ("src/io/a.c", function("short_one"), None),
        ("src/io/a.c", function("f", "    lode_sys->fsync(fd);\n    self->close(x);\n"), None),
        ("src/io/a.c", function("f", "    free(text); /* direct: jansson allocated it */\n"), None),
        ("src/io/a.c", function("f", '    say("strcpy(x) is a name here"); /* so is gets(y) */\n'), None),
        ("src/base/sys.c", function("f", "    fsync(3);\n"), None),
        ("src/io/a.c", function("long_one", LONG_BODY), "src/io/a.c:2: long_one has 73 lines"),
        ("src/io/a.c", CLEAN + "int x;\n" * 700, "701 lines; a file has one purpose"),
        ("src/io/a.c", "int x;\n", "opens with a comment"),
        ("scripts/a.py", "import os\n", "opens with a comment"),
        ("scripts/a.sh", "#!/bin/bash\n# Purpose.\ntrue\n", "set -eu"),
        ("src/io/a.c", function("f", "    strcpy(a, b);\n"), "a.c:4: strcpy is banned"),
        ("src/io/a.c", function("f", "    int n = atoi(a);\n"), "atoi is banned"),
        ("src/cli/a.c", function("f", "    system (a);\n"), "system is banned"),
        ("src/io/a.c", function("f", "    fsync(fd);\n"), "fsync goes through lode_sys->"),
        ("src/io/a.c", function("f", "    free(p); /* because */\n"), "free goes through base/mem.h"),
        ("src/io/a.c", function("f", "    void *p = malloc(3);\n"), "malloc goes through base/mem.h"),
        ("src/io/a.c", function("f", '    printf("x");\n'), "printf has no place in the library"),
        ("src/io/a.c", CLEAN + "/* TODO: the rest */\n", "a.c:2: unfinished"),
        ("src/io/a.c", CLEAN + "int x; \n", "a.c:2: space at the end"),
        ("src/io/a.c", CLEAN + "\tint x;\n", "a.c:2: a tab"),
        ("src/io/a.c", CLEAN + "int x;", "the last line has no end"),
    ],
    "check_public.py": [
        ("include/lode/a.h", "#pragma once\n#define LODE_API\nLODE_API int lode_a(int (*f)(void));\n", None),
        ("include/lode/a.h", "#pragma once\nstruct a {\n    int (*f)(void);\n};\n"
                             "static inline int f(void)\n{\n    return 1;\n}\n", None),
        ("include/lode/a.h", "#pragma once\nint lode_a(void);\n", "a.h:2: lode_a is not marked LODE_API"),
        ("include/lode/a.h", "#pragma once\nenum e { A, B };\nint *lode_a(void);\n", "a.h:3: lode_a is not marked"),
        ("include/lode/a.h", "#pragma once\n#define LODE_API\nLODE_API int other(void);\n", "does not start with lode_"),
        ("include/lode/a.h", "#pragma once\n#define LODE_API\nLODE_API int lode_a(size_t n);\n", "alone as c:"),
        ("include/lode/a.h", "#pragma once\n#define LODE_API\nLODE_API int lode_a(int class);\n", "alone as c++:"),
    ],
    "check_plants.py": [
        ("src/io/a.c", "int x = LODE_PLANTED(known);\n", None),
        ("src/io/a.c", "int x = LODE_PLANTED(known) + LODE_PLANTED(other);\n", "a.c:1: other is not in"),
        ("src/io/a.c", "/* LODE_PLANTED(known) */\n", "plants.txt:1: known is nowhere"),
    ],
}


def findings(checker, name, content):
    """What the checker prints about a tree with just this file, and its exit status."""
    with tempfile.TemporaryDirectory(prefix="lode-check-") as scratch:
        tree = pathlib.Path(scratch)
        (tree / "CMakeLists.txt").write_text(ROOMS)
        (tree / "tests/teeth").mkdir(parents=True)
        (tree / "tests/teeth/plants.txt").write_text("known | io\\.a | a bug\n")
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
        done = subprocess.run([sys.executable, HERE / checker, tree, "--headers-only"], capture_output=True, text=True)
        return done.stdout + done.stderr, done.returncode


def main():
    failed = 0
    for checker, cases in PLANTED.items():
        for name, content, expected in cases:
            said, status = findings(checker, name, content)
            good = (status, said) == (0, "") if expected is None else status == 1 and expected in said
            if not good:
                failed += 1
                print(f"{checker} on {name}:\n{content}\n  expected: {expected}\n  said ({status}): {said}")
    cases = sum(len(cases) for cases in PLANTED.values())
    print(f"{cases - failed} of {cases} planted cases told right")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
