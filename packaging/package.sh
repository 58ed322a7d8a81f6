#!/bin/sh
# packaging/package.sh [target...]: what users install, from the binaries that packaging/build.sh made.
#
# Without targets: all that have been built. The packages go to $CARGO_TARGET_DIR/dist/packages.
# The same commit and binaries give the same bytes: every time in a package is the commit's.
# Needs dpkg-deb, rpmbuild, python3, zopfli, GNU tar and gzip; nothing is fetched.
#
# S1C_PACKAGE_VERSION gives another version than Cargo.toml's, for tests of an upgrade.
# S1C_PACKAGE_KINDS makes fewer kinds than "deb rpm openwrt offline".
set -eu
umask 022
cd "$(dirname "$0")/.."
. packaging/lib.sh
. packaging/sizes.sh

kinds=${S1C_PACKAGE_KINDS:-deb rpm openwrt offline}
out=${S1C_PACKAGE_DIR:-$dist/packages}
mkdir -p "$out"
out=$(realpath "$out")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export out work

if [ $# -eq 0 ]; then
    for target in $all_targets; do
        [ ! -x "$dist/$target/s1-coralogix" ] || set -- "$@" "$target"
    done
    [ $# -gt 0 ] || fail "there is no binary in $dist/TARGET: run packaging/build.sh first"
fi

for target; do
    binary=$dist/$target/s1-coralogix
    [ -x "$binary" ] || fail "there is no $binary: run packaging/build.sh $target first"
    names "$target"
    stage "$work/$target" "$binary"
    for kind in $kinds; do
        case $kind in
            deb) is_armhf_of_another "$target" || . packaging/deb/make.sh ;;
            rpm) [ -z "$rpm_arch" ] || . packaging/rpm/make.sh ;;
            openwrt) . packaging/openwrt/make.sh ;;
            offline) ;;
            *) fail "S1C_PACKAGE_KINDS: there is no kind $kind" ;;
        esac
    done
done
# Last, for they carry the others.
case " $kinds " in
    *" offline "*)
        for target; do
            binary=$dist/$target/s1-coralogix
            names "$target"
            . packaging/offline/make.sh
        done
        ;;
esac

printf '%-52s %9s  %s\n' package bytes sha256
for file in "$out"/*; do
    case $file in
        *"$version"*)
            printf '%-52s %9s  %s\n' "${file##*/}" "$(stat -c %s "$file")" \
                "$(sha256sum "$file" | cut -c 1-16)"
            ;;
    esac
done
