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
pip="$venv/bin/pip install -q --disable-pip-version-check"
# The registry is asked only when the requirements change, so that a changed source needs no network.
if ! cmp -s $requirements $venv/requirements; then
    $pip -r $requirements "scikit-build-core>=0.10"
    cp $requirements $venv/requirements
fi
if command -v ccache > /dev/null; then export CMAKE_C_COMPILER_LAUNCHER=ccache; fi
$pip --no-build-isolation --no-deps --force-reinstall .
echo "$now" > $stamp
