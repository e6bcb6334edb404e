"""What the tests/check_*.py share: the files of a tree, comments taken out of C, and how findings are told.

Every checker is a program `check_x.py [TREE]`: it prints one line a finding (`file:line: what and why`) and exits
1 if there is one; 77 where it cannot run. tests/check_checks.py runs each on trees with planted violations.
"""
import pathlib
import re
import subprocess
import sys

SKIP = 77


def tree():
    """The tree to look at: the argument, or the one this file is in."""
    return pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()


def files(root, *suffixes):
    """The files of the tree that git tracks or would track, with one of the suffixes, sorted."""
    if (root / ".git").exists():
        listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], check=True, text=True,
                                capture_output=True).stdout.splitlines()
        paths = [root / name for name in listed if (root / name).is_file()]
    else:
        paths = [path for path in root.rglob("*") if path.is_file()]
    return sorted(path for path in paths if path.suffix in suffixes)


def room_lists(root):
    """(rooms of the library, rooms of the binary) in their order, from the one place that names them."""
    text = (root / "CMakeLists.txt").read_text()
    lists = [re.search(rf"^set\({name} ([^)]*)\)", text, re.M) for name in ("LODE_LIB_ROOMS", "LODE_BIN_ROOMS")]
    return tuple(found.group(1).split() for found in lists)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text):
    """C with its comments, strings and character constants blanked; lines keep their numbers and lengths."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: m.group(0)[0] + blank(m)[1:-1] + m.group(0)[-1]
                  if m.group(0)[0] in "\"'" else blank(m), text, flags=re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def report(findings):
    """Prints the findings and ends the program."""
    findings = list(findings)
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)


def skip(why):
    print(f"SKIPPED: {why}", file=sys.stderr)
    sys.exit(SKIP)
