#!/usr/bin/env bash
# Makes build/venv: a Python of our own with what the demo and the tests use, and this tree's `lode` package.
# Does nothing while the requirements and the sources are the ones that it was made from.
set -eu
cd "$(dirname "$0")/.."
venv=build/venv
stamp=$venv/made-from
requirements=python/requirements.txt

made_from() {
    { python3 --version
      git ls-files -s -- python include src pyproject.toml VERSION
      git diff HEAD -- python include src pyproject.toml VERSION
    } 2>/dev/null | sha256sum
}

now=$(made_from)
[ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$now" ] || exit 0

mkdir -p build
[ -x $venv/bin/python ] || python3 -m venv $venv
rm -f $stamp
if [ -f $requirements ]; then
    $venv/bin/pip install -q --disable-pip-version-check -r $requirements
fi
if [ -f pyproject.toml ]; then
    $venv/bin/pip install -q --disable-pip-version-check .
fi
echo "$now" > $stamp
