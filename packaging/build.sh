#!/usr/bin/env bash
# packaging/build.sh [--cross] [TARGET...]: the static binaries that users install.
#
# Without a target: all five. Each stripped binary is laid at
# ${CARGO_TARGET_DIR:-target}/dist/TARGET/s1-coralogix with its debug information beside it
# (.debug), and a table says what was built. Two builds of one commit give the same bytes, whatever
# the directory. docs/BUILDING.md says why each piece is as it is.
#
# Ordinarily: Debian 12's rustc-web with its library source, and zig as C compiler and linker; what
# is missing is installed when the user is root. --cross: rustup's toolchain and `cross` instead.
set -euo pipefail
cd "$(dirname "$0")/.."

zig_version=0.15.2
zigbuild_version=0.24.0
all_targets="x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf
arm-unknown-linux-musleabihf i686-unknown-linux-musl"
# max_bytes_of, the one limit of size.
. packaging/sizes.sh

cache="${S1C_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/s1-coralogix-ci}"
out="${CARGO_TARGET_DIR:-$PWD/target}"
zig="$cache/tools/zig-$zig_version"

fail() { echo "build.sh: $*" >&2; exit 1; }

# The command before a binary of this target, so that it runs on this machine. The oldest processor
# that each target promises: an instruction that it lacks ends the run.
runner_of() {
    case "$1" in
        aarch64-*) echo "qemu-aarch64-static -cpu cortex-a53" ;;
        armv7-*) echo "qemu-arm-static -cpu cortex-a7" ;;
        arm-*) echo "qemu-arm-static -cpu arm1176" ;;
        *) echo "" ;;
    esac
}

objcopy_of() {
    local name
    case "$1" in
        aarch64-*) name=aarch64-linux-gnu-objcopy ;;
        arm*) name=arm-linux-gnueabihf-objcopy ;;
        *) name=objcopy ;;
    esac
    for name in "$name" llvm-objcopy rust-objcopy; do
        if command -v "$name"; then return; fi
    done
    fail "no objcopy for $1: install Debian's binutils-aarch64-linux-gnu, binutils-arm-linux-gnueabihf, or llvm"
}

# Debian's packages of the ordinary way.
tools() {
    local need="" target
    [ -x /usr/bin/rustc ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ] \
        || need="rustc-web rust-web-src"
    [ -x /usr/bin/cargo ] || need="$need cargo-web"
    command -v cc >/dev/null || need="$need gcc libc6-dev"
    command -v readelf >/dev/null || need="$need binutils"
    python3 -c 'import ensurepip' 2>/dev/null || need="$need python3-venv"
    for target; do
        case "$target" in
            aarch64-*) command -v aarch64-linux-gnu-objcopy >/dev/null || need="$need binutils-aarch64-linux-gnu" ;;
            arm*) command -v arm-linux-gnueabihf-objcopy >/dev/null || need="$need binutils-arm-linux-gnueabihf" ;;
        esac
        [ -z "$(runner_of "$target")" ] || command -v qemu-arm-static >/dev/null || need="$need qemu-user-static"
    done
    if [ -n "$need" ]; then
        # A name may be there twice; apt-get does not mind.
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            fail "install first, by Debian's names: $need"
        fi
        apt-get update
        # shellcheck disable=SC2086 # a list of words
        apt-get install -y --no-install-recommends $need
    fi
    if ! [ -x "$zig/bin/cargo-zigbuild" ]; then
        python3 -m venv "$zig"
        "$zig/bin/pip" install --quiet "ziglang==$zig_version" "cargo-zigbuild==$zigbuild_version"
    fi
}

# So that no path of this machine is in the binary.
# shellcheck disable=SC2317 # called by the next
steady() {
    local library=$1 home="${CARGO_HOME:-$HOME/.cargo}"
    printf '%s' "--remap-path-prefix=$home/registry/src=/cargo --remap-path-prefix=$out/static=/target"
    # Not by the name of the checkout: another name would mean to build everything anew.
    printf '%s' " -Zremap-cwd-prefix=/src --remap-path-prefix=$library=/rust"
    printf '%s' " --remap-path-prefix=$(readlink -f "$library")=/rust"
}

# Static and at another address at each start. rustc asks for it by -static-pie where it knows that a
# target can, and zig takes no notice of that word; -pie is the one it knows.
movable="-Crelocation-model=pie -Clink-arg=-pie"

# shellcheck disable=SC2317 # called by the name that $mode makes
build_with_zig() {
    local target=$1 upper library
    upper=$(tr 'a-z-' 'A-Z_' <<<"$target")
    library="$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust"
    (
        unset RUSTUP_TOOLCHAIN RUSTFLAGS
        # cargo-zigbuild runs $CARGO, which would otherwise be rustup's.
        export PATH="$zig/bin:$PATH" RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo
        # The program itself, by which zig.sh links.
        S1C_ZIG=$("$zig/bin/python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')
        # Python comes first there and would find another zig.
        export S1C_ZIG CARGO_ZIGBUILD_PYTHON_PATH=/bin/false CARGO_ZIGBUILD_ZIG_PATH="$PWD/packaging/zig.sh"
        export ZIG_GLOBAL_CACHE_DIR="$cache/zig" CARGO_ZIGBUILD_CACHE_DIR="$cache/zigbuild"
        # -Zbuild-std on a stable compiler; a 64-bit time_t on 32-bit targets, in std as in crates.
        export RUSTC_BOOTSTRAP=1 RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1
        export CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
        # Without source lines, panics say by their words what was wrong.
        export "CARGO_TARGET_${upper}_RUSTFLAGS=-Clink-self-contained=no $movable -Zlocation-detail=none $(steady "$library")"
        # No panic ever passes through ring's C.
        export "CFLAGS_${target//-/_}=-fno-unwind-tables -fno-asynchronous-unwind-tables -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}/registry/src=/cargo -ffile-prefix-map=$out/static=/target"
        cargo-zigbuild zigbuild --quiet --locked --release --target "$target" --target-dir "$out/static" \
            -Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind,optimize_for_size
    )
}

# shellcheck disable=SC2317 # the same
build_with_cross() {
    CROSS_CONFIG=cross.toml CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
        cross build --locked --release --target "$1" --target-dir "$out/static"
}

# The stripped binary and its debug information, which names each other.
lay_out() {
    local target=$1 dir="$out/dist/$1" objcopy
    objcopy=$(objcopy_of "$target")
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$out/static/$target/release/s1-coralogix" "$dir/s1-coralogix"
    (
        cd "$dir"
        "$objcopy" --only-keep-debug --compress-debug-sections s1-coralogix s1-coralogix.debug
        "$objcopy" --strip-all --remove-section=.comment --add-gnu-debuglink=s1-coralogix.debug s1-coralogix
    )
    chmod 0755 "$dir/s1-coralogix"
    chmod 0644 "$dir/s1-coralogix.debug"
}

is_static() {
    ! readelf --wide --program-headers --dynamic "$1" 2>/dev/null | grep -qE 'INTERP|\(NEEDED\)'
}

# Without an interpreter, and of a type that the kernel puts where it likes.
is_movable() {
    readelf --file-header "$1" | grep -q 'Type: *DYN'
}

# One line of the table; fails when the binary is not what it must be.
row() {
    local target=$1 binary="$out/dist/$1/s1-coralogix" bytes static=yes ran=yes runner bad=0
    runner=$(runner_of "$target")
    bytes=$(stat -c %s "$binary")
    is_static "$binary" || { static=NO; bad=1; }
    is_movable "$binary" || { static="NO PIE"; bad=1; }
    [ "$bytes" -lt "$(max_bytes_of "$target")" ] || { bytes="$bytes!"; bad=1; }
    # shellcheck disable=SC2086 # a command and its words
    if [ -n "$runner" ] && ! command -v "${runner%% *}" >/dev/null; then
        ran="not tried"
    elif [ "$($runner "$binary" --version 2>&1 | head -c 12)" != "s1-coralogix" ]; then
        ran=NO; bad=1
    elif [ -n "$runner" ]; then
        ran="yes (${runner##* })"
    fi
    printf '%-32s %9s  %s  %-6s  %s\n' "$target" "$bytes" "$(sha256sum "$binary" | cut -d' ' -f1)" "$static" "$ran"
    return "$bad"
}

mode=zig
if [ "${1:-}" = --cross ]; then mode=cross; shift; fi
# shellcheck disable=SC2086 # a list of words
[ $# -gt 0 ] || set -- $all_targets
for target; do
    grep -qwF -- "$target" <<<"$all_targets" || fail "no such target: $target; there are:"$'\n'"$all_targets"
done

if commit=$(git rev-parse --short=12 HEAD 2>/dev/null); then
    export S1_CORALOGIX_COMMIT="${S1_CORALOGIX_COMMIT:-$commit}"
    SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
fi
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"

if [ "$mode" = zig ]; then tools "$@"; fi
for target; do
    echo "building $target" >&2
    "build_with_$mode" "$target"
    lay_out "$target"
done

bad=0
printf '%-32s %9s  %-64s  %-6s  %s\n' target bytes sha256 static "qemu run"
for target; do row "$target" || bad=1; done
exit "$bad"
