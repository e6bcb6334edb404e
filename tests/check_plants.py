#!/usr/bin/env python3
"""The planted bugs in the code are those of tests/teeth/plants.txt, each with a test that must catch it."""
import re

import checks

LINE = re.compile(r"^(\w+) +\| +(\S+) +\| +(\S.*)$")


def listed(root):
    """{name: (line, test pattern, description)}; a malformed line has the name None."""
    for number, line in enumerate((root / "tests/teeth/plants.txt").read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            match = LINE.match(line)
            yield number, *(match.groups() if match else (None, None, None))


def planted(root):
    """(file, line, name) of every LODE_PLANTED() in the sources."""
    for path in checks.files(root, ".c", ".h"):
        if path.relative_to(root).parts[0] != "src" or path.name == "plant.h":
            continue
        text = path.read_text()
        for match in re.finditer(r"\bLODE_PLANTED\((\w+)\)", checks.code_only(text)):
            yield path.relative_to(root), checks.line_of(text, match.start()), match.group(1)


def findings(root):
    shown = "tests/teeth/plants.txt"
    names = set()
    for number, name, pattern, _ in listed(root):
        if name is None:
            yield f"{shown}:{number}: not of the form `name | test | description`"
        elif name in names:
            yield f"{shown}:{number}: {name} stands here twice"
        names.add(name)
    in_code = list(planted(root))
    for path, line, name in in_code:
        if name not in names:
            yield f"{path}:{line}: {name} is not in {shown}"
    for number, name, _, _ in listed(root):
        if name and name not in {found for _, _, found in in_code}:
            yield f"{shown}:{number}: {name} is nowhere in the code"


if __name__ == "__main__":
    checks.report(findings(checks.tree()))
