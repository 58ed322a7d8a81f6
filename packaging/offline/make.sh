# The archive of one target for machines without a network: program, packages, papers, and a script
# that needs a POSIX shell. Sourced by package.sh, after the packages.
# shellcheck shell=sh disable=SC2154 # the names come from lib.sh

name=s1-coralogix-$version-$arch
off=$work/offline/$name
rm -rf "$off"
put 0755 "$binary" "$off/s1-coralogix"
put 0755 packaging/offline/install.sh "$off/install.sh"
papers "$off"
put 0644 packaging/config.toml "$off/config.toml"
put 0644 packaging/systemd/s1-coralogix.service "$off/s1-coralogix.service"
put 0644 LICENSE "$off/LICENSE"
for page in docs/man/*.[1-8]; do
    [ ! -f "$page" ] || put 0644 "$page" "$off/man/${page##*/}"
done
for completion in docs/completions/*; do
    [ ! -f "$completion" ] || put 0644 "$completion" "$off/completions/${completion##*/}"
done
mkdir -p "$off/packages"
for package in "$out/s1-coralogix_$version-${release}_$deb_arch.deb" \
    "$out/s1-coralogix-$version-$release.${rpm_arch:-none}.rpm" \
    "$out/s1-coralogix-$version-r${release}_openwrt_$arch.ipk" \
    "$out/s1-coralogix-$version-r${release}_openwrt_$arch.apk"; do
    [ ! -f "$package" ] || put 0644 "$package" "$off/packages/${package##*/}"
done
python3 packaging/offline/sbom.py write Cargo.lock Cargo.toml "$off/sbom.cdx.json"
chmod 0644 "$off/sbom.cdx.json"
(cd "$off" && find . -type f ! -name SHA256SUMS | sed 's#^\./##' | sort | xargs sha256sum) \
    > "$work/sums"
put 0644 "$work/sums" "$off/SHA256SUMS"
tarball -C "$work/offline" -cf - "$name" | gzip -9n > "$out/$name.tar.gz"
