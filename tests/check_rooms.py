#!/usr/bin/env python3
"""The order of the rooms, proven from the includes.

A room of src/ may include itself and the rooms above it, never one below. A header is named "room/file.h" from src/, a
public one <lode/file.h>. Public headers and examples see public headers only. The library's rooms know
nothing of libmicrohttpd and ZooKeeper: those belong to the binary and to loaded back ends.
"""
import re

import checks

SERVER_ONLY = re.compile(r"microhttpd\.h|zookeeper")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def includes(path):
    """(line, quoted or not, name) of every include outside comments."""
    text = path.read_text()
    without_comments = re.sub(r"/\*.*?\*/", checks.blank, text, flags=re.S)
    for match in INCLUDE.finditer(without_comments):
        yield checks.line_of(text, match.start()), match.group(1) == '"', match.group(2)


def room_finding(room, quoted, name, rooms, library):
    if room in library and SERVER_ONLY.search(name):
        return f"{name} belongs to the binary, not to the library's {room}/"
    if not quoted:
        target = name.split("/")[0]
        return f'<{name}> is a header of the tree: write "{name}"' if target in rooms and "/" in name else None
    target = name.split("/")[0] if "/" in name else None
    if target not in rooms:
        return f'"{name}" is not of the form "room/file.h"'
    if rooms.index(target) > rooms.index(room):
        return f"{room}/ may not use {target}/, which is below it"
    return None


def room_findings(root):
    library, binary = checks.room_lists(root)
    rooms = library + binary
    for path in checks.files(root, ".c", ".h"):
        shown = path.relative_to(root)
        if shown.parts[0] != "src":
            continue
        room = shown.parts[1]
        if room not in rooms:
            yield f"{shown}:1: {room}/ is no room of CMakeLists.txt"
            continue
        for line, quoted, name in includes(path):
            finding = room_finding(room, quoted, name, rooms, library)
            if finding:
                yield f"{shown}:{line}: {finding}"


def public_findings(root):
    library, binary = checks.room_lists(root)
    for path in checks.files(root, ".c", ".h"):
        shown = path.relative_to(root)
        if shown.parts[0] not in ("include", "examples"):
            continue
        for line, quoted, name in includes(path):
            if quoted or name.split("/")[0] in library + binary:
                yield f"{shown}:{line}: {name} is not public: only <lode/...> may be used here"


def main():
    root = checks.tree()
    checks.report([*room_findings(root), *public_findings(root)])


if __name__ == "__main__":
    main()
