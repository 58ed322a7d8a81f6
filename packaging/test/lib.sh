# What the install tests share. Sourced first by each of them, by bash, as root.
# shellcheck shell=bash disable=SC2034 # the tests use the variables
#
# A test changes nothing outside of a root of its own: a layer in memory over a root that is kept in
# the cache, in a mount namespace that ends with the test.
set -euo pipefail

# skip WHY: the machine lacks something. With CI set, that is a failure: CI must have it.
skip() {
    if [ -n "${CI:-}" ]; then
        echo "FAILED, for CI must have it: $*" >&2
        exit 1
    fi
    echo "skipped: $*"
    [ -z "${S1C_SKIPS:-}" ] || echo "skipped: $*" >>"$S1C_SKIPS"
    exit 0
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# want TEXT COMMAND...: the command succeeds.
want() {
    local text=$1
    shift
    "$@" >"$scratch/said" 2>&1 || { cat "$scratch/said" >&2 && fail "$text"; }
}

# wait_for TEXT SECONDS COMMAND...: it succeeds within that time.
wait_for() {
    local text=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >"$scratch/said" 2>&1; do
        [ $SECONDS -lt $end ] || { cat "$scratch/said" >&2 && fail "$text"; }
        sleep 0.2
    done
}

[ "$(id -u)" = 0 ] || skip "install tests need root"
if [ -z "${S1C_UNSHARED:-}" ]; then
    unshare --mount true 2>/dev/null || skip "no mount namespaces here"
    S1C_UNSHARED=1 exec unshare --mount --propagation private -- "$0" "$@"
fi

cd "$(dirname "$0")/../.."
cache=${S1C_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/s1-coralogix-ci}
dist=${CARGO_TARGET_DIR:-target}/dist
packages=$(realpath "${S1C_PACKAGE_DIR:-$dist/packages}")
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
scratch=$(mktemp -d)
mount -t tmpfs tmpfs "$scratch"
ends=()
at_exit() {
    local end
    for end in "${ends[@]}"; do $end || true; done
    umount -R -l "$scratch" && rmdir "$scratch"
}
trap at_exit EXIT

# layer BASE: a root that may be changed; its place is in $root.
layer() {
    root=$scratch/root
    mkdir -p "$scratch/upper" "$scratch/work" "$root"
    mount -t overlay overlay \
        -o "lowerdir=$1,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
}

# readme NAME: the lines of README.md that a reader is told to type, word for word.
readme() {
    local lines
    lines=$(sed -n "/^<!-- tried by .*: $1 -->\$/,/^\`\`\`\$/p" README.md | sed '1,2d;$d')
    [ -n "$lines" ] || fail "README.md has no lines called $1"
    echo "$lines"
}

# A package of an older version, made from the same tree.
older() {
    local older_dir=$cache/older/$1
    mkdir -p "$older_dir"
    S1C_PACKAGE_VERSION=0.0.9 S1C_PACKAGE_KINDS=$1 S1C_PACKAGE_DIR=$older_dir \
        packaging/package.sh "$2" >"$scratch/said" 2>&1 || { cat "$scratch/said" >&2 && exit 1; }
    echo "$older_dir"
}

# can_run ARCH: programs of another processor run here, by qemu, until the test ends.
can_run() {
    local name
    case $1 in
        "$(dpkg --print-architecture)") return 0 ;;
        arm64) name=qemu-aarch64 ;;
        armhf) name=qemu-arm ;;
        *) skip "how to run $1 here is not known" ;;
    esac
    command -v "$name-static" >/dev/null || skip "$name-static is not installed"
    mountpoint -q /proc/sys/fs/binfmt_misc ||
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null ||
        skip "this kernel has no binfmt_misc"
    [ ! -e "/proc/sys/fs/binfmt_misc/$name" ] || return 0
    # The flags of Debian's line hold the interpreter open, so it is found in every root.
    grep -v '^#' "/usr/lib/binfmt.d/$name.conf" | tr -d '\n' >/proc/sys/fs/binfmt_misc/register
    ends+=("forget $name")
}
forget() { echo -1 >"/proc/sys/fs/binfmt_misc/$1"; }

# debian ARCH: a small Debian, made once; its place is in $debian.
debian() {
    debian=$cache/roots/bookworm-$1
    can_run "$1"
    [ ! -e "$debian.done" ] || return 0
    command -v debootstrap >/dev/null || skip "debootstrap is not installed"
    rm -rf "$debian"
    mkdir -p "$cache/roots"
    echo "making a Debian for $1 in the cache ..."
    debootstrap --variant=minbase --arch="$1" --include=systemd,adduser bookworm "$debian" \
        >"$debian.log" 2>&1 || { tail -n 20 "$debian.log" >&2 && fail "debootstrap $1"; }
    : >"$debian.done"
}

# make_newer DIR: the queue becomes one of a newer version, which this one does not read.
make_newer() {
    python3 - "$1/checkpoint" <<'END'
import sys, zlib
with open(sys.argv[1], "r+b") as file:
    content = bytearray(file.read()[:-4])
    content[7] += 1
    content += zlib.crc32(content).to_bytes(4, "little")
    file.seek(0)
    file.write(content)
END
}

# put_queue DIR: a queue in which records wait and one is parked, as a released version wrote it; its
# numbers, as a purge tells them, are in $left.
put_queue() {
    cp -r tests/golden/format-1/parked/queue/. "$1"
    chown -R --reference="$1" "$1"
    local numbers
    numbers=$(python3 -c 'import json; stats = json.load(open("tests/golden/format-1/parked/expected.json"))
print(len(stats["list"]), len(stats["parked"]))')
    # At least one of each, or it would show nothing.
    [[ $numbers =~ ^[1-9][0-9]*\ [1-9][0-9]*$ ]] || fail "nothing is left in the queue: $numbers"
    left="up to ${numbers% *} records waiting for delivery, ${numbers#* } that Coralogix rejected, 0 batches in doubt"
}
