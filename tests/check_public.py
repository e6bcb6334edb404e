#!/usr/bin/env python3
"""The public surface: every header of include/lode/ compiles alone as C and as C++, every function in it is marked
LODE_API, and the shared library exports those and nothing else, under its versioned name, without linking what
belongs to the server."""
import re
import shutil
import subprocess
import sys

import checks

SERVER_LIBRARIES = re.compile(r"microhttpd|zookeeper")


def declarations(text):
    """(line, declaration) of every function declared at the top level of a header, inline ones apart."""
    code = checks.code_only(text)
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", checks.blank, code, flags=re.M)
    code = re.sub(r'extern "[^"]*" \{', checks.blank, code)
    depth, start = 0, 0
    for position, char in enumerate(code):
        depth += (char == "{") - (char == "}")
        if char == "}" and depth <= 0 and not re.match(r"\s*(\w+\s*)?;", code[position + 1:]):
            depth, start = 0, position + 1
        if char == ";" and depth == 0:
            statement = code[start:position]
            yield start + len(statement) - len(statement.lstrip()), " ".join(statement.split())
            start = position + 1


def functions(text):
    """(line, name, marked) of every function of a header."""
    for position, statement in declarations(text):
        plain = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", statement)
        name = re.match(r"[\w\s*]*?\b(\w+)\s*\(", plain)
        if not name or plain.startswith("typedef") or "static inline" in plain or "{" in plain:
            continue
        yield checks.line_of(text, position), name.group(1), statement.startswith("LODE_API")


def header_findings(root, declared):
    for path in checks.files(root, ".h"):
        shown = path.relative_to(root)
        if shown.parts[:2] != ("include", "lode"):
            continue
        for line, name, marked in functions(path.read_text()):
            declared.add(name)
            if not marked:
                yield f"{shown}:{line}: {name} is not marked LODE_API, so the library does not export it"
            if not name.startswith("lode_"):
                yield f"{shown}:{line}: {name} does not start with lode_"
        for compiler, language in (("cc", "c"), ("c++", "c++")):
            command = [compiler, "-x", language, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{root}/include", "-"]
            done = subprocess.run(command, input=f"#include <lode/{path.name}>\n", capture_output=True, text=True)
            if done.returncode != 0:
                yield f"{shown}:1: does not compile alone as {language}:\n{done.stderr}"


def library_findings(library, declared):
    listed = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True)
    exported = {line.split()[2].split("@")[0] for line in listed.stdout.splitlines() if line.split()[1] != "A"}
    for name in sorted(exported - declared):
        yield f"{library.name}: exports {name}, which no public header declares"
    for name in sorted(declared - exported):
        yield f"{library.name}: does not export {name}, which a public header declares"
    dynamic = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    if not re.search(r"SONAME.*\[liblode\.so\.\d+\]", dynamic):
        yield f"{library.name}: has no versioned soname"
    for needed in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
        if SERVER_LIBRARIES.search(needed):
            yield f"{library.name}: links {needed}, which belongs to the server"


def main():
    if not all(shutil.which(tool) for tool in ("cc", "c++", "nm", "readelf")):
        checks.skip("no compiler and binutils here")
    root = checks.tree()
    library = root / "build/release/liblode.so"
    declared = set()
    findings = [*header_findings(root, declared)]
    if library.exists():
        findings += library_findings(library, declared)
    elif "--headers-only" not in sys.argv:
        findings.append(f"{library.relative_to(root)}: is not built")
    checks.report(findings)


if __name__ == "__main__":
    main()
