# The .ipk (OpenWrt up to 24.10) and the .apk (25.12 and later) of one target. Sourced by package.sh.
# shellcheck shell=sh disable=SC2154 # the names come from lib.sh
#
# One package serves every OpenWrt of a processor family, whatever its sub-architecture is called:
# the binary is static and made for the family's least. So the architecture is "all" (opkg) or
# "noarch" (apk), and preinst looks at the machine.

wrt=$work/openwrt-$arch
wrt_root=$wrt/root
wrt_control=$wrt/control
rm -rf "$wrt"
put 0755 "$binary" "$wrt_root/usr/bin/s1-coralogix"
put 0755 packaging/openwrt/files/s1-coralogix.init "$wrt_root/etc/init.d/s1-coralogix"
put 0600 packaging/openwrt/files/s1-coralogix.config "$wrt_root/etc/config/s1-coralogix"
put 0644 packaging/openwrt/files/s1-coralogix.keep "$wrt_root/lib/upgrade/keep.d/s1-coralogix"
put 0644 packaging/openwrt/files/s1-coralogix.upgrade.sh "$wrt_root/lib/upgrade/s1-coralogix.sh"
# Where the commands look for the config; the init script makes what it leads to.
mkdir -p "$wrt_root/etc/s1-coralogix"
ln -s /var/etc/s1-coralogix/config.toml "$wrt_root/etc/s1-coralogix/config.toml"
for script in preinst postinst prerm; do
    mkdir -p "$wrt/scripts"
    sed "s/@MACHINES@/$machines/; s/@ARCH@/$arch/" "packaging/openwrt/$script" \
        > "$wrt/scripts/$script"
    put 0755 "$wrt/scripts/$script" "$wrt_control/$script"
done
# apk runs this one after an upgrade; opkg says so in the environment by itself.
{ head -n 1 "$wrt/scripts/postinst"; echo "export PKG_UPGRADE=1"; tail -n +2 "$wrt/scripts/postinst"; } \
    > "$wrt/scripts/postupgrade"

# --- ipk: a gzipped tar of debian-binary and two more of them.
echo /etc/config/s1-coralogix > "$wrt_control/conffiles"
cat > "$wrt_control/control" <<END
Package: s1-coralogix
Version: $version-r$release
Depends: procd
Source: packaging/openwrt
SourceName: s1-coralogix
License: Apache-2.0
LicenseFiles: LICENSE
Section: net
SourceDateEpoch: $SOURCE_DATE_EPOCH
Maintainer: $maintainer
Require-User: s1-coralogix:s1-coralogix
Architecture: all
Installed-Size: $(tarball -C "$wrt_root" -cf - . | wc -c)
Description: $summary
END
chmod 0644 "$wrt_control/conffiles" "$wrt_control/control"
tarball -C "$wrt_root" -cf "$wrt/data.tar" .
# Opens as every gzip does and is 3 % smaller than gzip -9.
zopfli --i5 "$wrt/data.tar"
tarball -C "$wrt_control" -cf - . | gzip -9n > "$wrt/control.tar.gz"
echo 2.0 > "$wrt/debian-binary"
tarball -C "$wrt" -cf - ./debian-binary ./data.tar.gz ./control.tar.gz | gzip -9n \
    > "$out/s1-coralogix-$version-r${release}_openwrt_$arch.ipk"

# --- apk: what opkg reads from the control file lies in files of the package.
wrt_list=$wrt_root/lib/apk/packages
mkdir -p "$wrt_list"
echo s1-coralogix:s1-coralogix > "$wrt_list/s1-coralogix.rusers"
(cd "$wrt_root" && find . \( -type f -o -type l \) ! -path './lib/apk/*' | sed 's/^\.//' | sort) \
    > "$wrt/list"
put 0644 "$wrt/list" "$wrt_list/s1-coralogix.list"
echo /etc/config/s1-coralogix > "$wrt_list/s1-coralogix.conffiles"
echo "/etc/config/s1-coralogix $(sha256sum < "$wrt_root/etc/config/s1-coralogix" | cut -d ' ' -f 1)" \
    > "$wrt_list/s1-coralogix.conffiles_static"
chmod 0644 "$wrt_list"/*
python3 packaging/openwrt/apk.py write --root "$wrt_root" \
    --info "name:s1-coralogix" --info "version:$version-r$release" --info "arch:noarch" \
    --info "description:$summary" --info "license:Apache-2.0" --info "origin:s1-coralogix" \
    --info "maintainer:$maintainer" --depends procd \
    --script "pre-install:$wrt/scripts/preinst" --script "post-install:$wrt/scripts/postinst" \
    --script "pre-deinstall:$wrt/scripts/prerm" --script "pre-upgrade:$wrt/scripts/preinst" \
    --script "post-upgrade:$wrt/scripts/postupgrade" \
    "$out/s1-coralogix-$version-r${release}_openwrt_$arch.apk"

for wrt_package in "$out/s1-coralogix-$version-r${release}_openwrt_$arch".[ia]pk; do
    wrt_bytes=$(stat -c %s "$wrt_package")
    [ "$wrt_bytes" -lt "$max_openwrt_bytes" ] ||
        fail "${wrt_package##*/} has $wrt_bytes bytes, and packaging/sizes.sh allows less than $max_openwrt_bytes"
done
