#!/usr/bin/env bash
# A newcomer's machine: fresh Debian 12 and Ubuntu 24.04 systems with git and make only, a clone of the committed tree,
# and the two commands of the README in it. Needs root, debootstrap (installed if missing) and the network.
#
#   scripts/test-fresh.sh [SUITE...]          bookworm, noble; default both
#   LODE_FRESH_COMMANDS="make demo"           other commands, separated by ;
#   LODE_FRESH_DIR=/var/tmp/lode-fresh        where the systems are made; each is removed afterwards
set -eu
cd "$(dirname "$0")/.."
source_tree=$PWD
commands=${LODE_FRESH_COMMANDS:-make demo; make test}
base=${LODE_FRESH_DIR:-/var/tmp/lode-fresh}
authorities=/etc/ssl/certs/ca-certificates.crt

[ "$(id -u)" = 0 ] || { echo "test-fresh: a chroot needs root" >&2; exit 77; }
if ! command -v debootstrap > /dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap
fi

make_system() {
    suite=$1 root=$2 script=
    set -- --variant=minbase --include=git,make,ca-certificates
    if [ "$suite" = noble ]; then
        set -- "$@" --components=main,universe
        # Where the host lacks the other distribution's keyring, the archive cannot be checked.
        [ -f /usr/share/keyrings/ubuntu-archive-keyring.gpg ] || set -- "$@" --no-check-gpg
        # Older debootstraps do not know the name; all of this distribution's releases are made alike.
        [ -f /usr/share/debootstrap/scripts/noble ] || script=/usr/share/debootstrap/scripts/gutsy
    fi
    debootstrap "$@" "$suite" "$root" "" $script || return 1
    # The machine's own authorities and resolver: a proxy that opens TLS is known only by them.
    cp "$authorities" "$root$authorities"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    cp -L /etc/hosts "$root/etc/hosts"
}

mount_system() {
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    mount --make-rslave "$1/dev"
    mount -t tmpfs tmpfs "$1/tmp"
}

unmount_system() {
    for at in tmp dev proc; do
        umount -R -l "$1/$at" 2> /dev/null || true
    done
}

remove_system() {
    unmount_system "$1"
    # Nothing of the host may be below it when it goes.
    if grep -q " $1/" /proc/self/mounts; then
        echo "test-fresh: $1 is still mounted; left alone" >&2
        return 1
    fi
    rm -rf --one-file-system "$1"
}

in_system() {
    root=$1
    shift
    chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        SSL_CERT_FILE="$authorities" PIP_CERT="$authorities" \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        bash -euc "$*"
}

try_suite() {
    suite=$1 root=$base/$suite
    remove_system "$root"
    mkdir -p "$root"
    make_system "$suite" "$root" > "$base/$suite.log" 2>&1 || { tail -n 20 "$base/$suite.log"; return 1; }
    mount_system "$root"
    git clone -q --bare "$source_tree" "$root/srv/lode.git"
    in_system "$root" "git clone -q /srv/lode.git /root/lode && cd /root/lode && $commands"
}

mkdir -p "$base"
failed=
for suite in "${@:-bookworm noble}"; do
    for one in $suite; do
        echo "==== $one"
        ( try_suite "$one" ) || failed="$failed $one"
        remove_system "$base/$one"
    done
done
[ -z "$failed" ] || { echo "failed on:$failed"; exit 1; }
echo "fresh machines: all commands passed"
