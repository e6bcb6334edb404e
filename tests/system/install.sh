#!/usr/bin/env bash
# The installed tree, as a packager and a C programmer meet it: what is there, and that the examples build against it by
# pkg-config alone and run with nothing but it.
set -eu
cd "$LODE_SOURCE"
DESTDIR=$TMPDIR/dest cmake --install build/release > /dev/null
usr=$TMPDIR/dest$(sed -n s/^CMAKE_INSTALL_PREFIX:PATH=//p build/release/CMakeCache.txt)

fail() { echo "FAILED: $*" >&2; exit 1; }
must_have() { find "$usr" -path "*/$1" | grep -q . || fail "$1 is not installed"; }

for file in bin/lode lib/*liblode.so.0 lib/*pkgconfig/lode.pc include/lode/lode.h systemd/system/lode.service doc/lode/LICENSE \
    man/man1/lode.1 man/man1/lode-push.1 bash-completion/completions/lode site-functions/_lode vendor_completions.d/lode.fish; do
    must_have "$file"
done
if find "$usr/include" -type f ! -path '*/include/lode/*.h' | grep .; then fail "more than public headers"; fi

# Nothing of the build tree may be needed.
if readelf -d "$usr/bin/lode" | grep -q "$LODE_SOURCE"; then fail "bin/lode points into the build tree"; fi
"$usr/bin/lode" --version | grep -qx "lode $(cat VERSION)" || fail "lode --version does not say $(cat VERSION)"

export PKG_CONFIG_SYSROOT_DIR=$TMPDIR/dest
PKG_CONFIG_PATH=$(dirname "$(find "$usr" -name lode.pc)")
LD_LIBRARY_PATH=$(dirname "$(find "$usr" -name liblode.so)")
export PKG_CONFIG_PATH LD_LIBRARY_PATH
[ "$(pkg-config --modversion lode)" = "$(cat VERSION)" ] || fail "pkg-config tells another version"
export LODE_HOME=$TMPDIR/root
python3 examples/tiny_model.py "$TMPDIR/model.safetensors"

# Each example as its head says. A watch ends only by a signal: it must have heard of a push by then.
run() {
    case $(basename "$1") in
    load) "$1" "$TMPDIR/model.safetensors" ;;
    publish) "$1" rank "$TMPDIR/model.safetensors" prod ;;
    watch)
        "$1" rank & watcher=$!
        for _ in $(seq 50); do
            "$usr/bin/lode" push rank "$TMPDIR/model.safetensors" -q > /dev/null
            sleep 0.1
            grep -q 'rank commit' "$1.out" && { kill $watcher; return; }
        done
        kill $watcher
        return 1 ;;
    *) "$1" ;;
    esac
}

for source in examples/*.c examples/*/*.c; do
    [ -f "$source" ] || continue
    program=$TMPDIR/$(basename "$source" .c)
    # shellcheck disable=SC2046
    if grep -q '^int main(' "$source"; then
        cc -std=gnu11 -Wall -Wextra -Werror -o "$program" "$source" $(pkg-config --cflags --libs lode)
        run "$program" > "$program.out" 2>&1 || { cat "$program.out"; fail "$source does not run"; }
    else
        cc -std=gnu11 -Wall -Werror -shared -fPIC -o "$program.so" "$source" $(pkg-config --cflags lode)
    fi
done
