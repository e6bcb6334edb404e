#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, and only those that are missing.
#
#   scripts/deps.sh          what a build, the demo and the tests need
#   scripts/deps.sh fuzz     also clang, for the fuzz targets
#   scripts/deps.sh bench    also the peers that the benchmarks measure beside Lode
#
# Debian 12 and Ubuntu 24.04 are what is tested. With everything there it answers at once and needs no network.
# On another system it says what it would have wanted and lets the build try.
set -eu

packages="build-essential ca-certificates ccache cmake git ninja-build pkg-config
    libcurl4-openssl-dev libisal-dev libjansson-dev libmicrohttpd-dev libsqlite3-dev libssl-dev liburing-dev
    libxxhash-dev libzstd-dev zlib1g-dev libcmocka-dev
    python3 python3-dev python3-venv curl openssl util-linux
    clang-format-14 clang-tidy-14"
for extra in "$@"; do
    case $extra in
        fuzz) packages="$packages clang-14 llvm-14" ;;
        bench) packages="$packages nginx-light wrk" ;;
        *) echo "deps: no such set of packages: $extra (fuzz or bench)" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "deps: not a Debian system; if the build fails, install what these packages hold:" $packages >&2
    exit 0
fi

missing=
for package in $packages; do
    case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" in
        installed) ;;
        *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "deps: install these as root:$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "deps: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq >&2
$as_root apt-get install -y -qq --no-install-recommends $missing >&2
