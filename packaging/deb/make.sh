# The .deb of one target, from the tree that `stage` made. Sourced by package.sh.
# shellcheck shell=sh disable=SC2154 # the names come from lib.sh
#
# dpkg-deb is all it takes: the package has five files of its own, and each of them is here to read.

deb_root=$work/deb-$deb_arch
rm -rf "$deb_root"
cp -a "$work/$target" "$deb_root"
deb_doc=$deb_root/usr/share/doc/s1-coralogix

# Debian 11 and Ubuntu 22.04 look for units there; on every one of them it is the same place.
mkdir -p "$deb_root/lib/systemd"
mv "$deb_root/usr/lib/systemd/system" "$deb_root/lib/systemd/system"
rm -r "$deb_root/usr/lib"

put 0644 packaging/deb/copyright "$deb_doc/copyright"
put 0644 packaging/deb/lintian-overrides "$deb_root/usr/share/lintian/overrides/s1-coralogix"
pack CHANGELOG.md "$deb_doc/changelog.gz"
cat > "$work/changelog" <<END
s1-coralogix ($version-$release) stable; urgency=medium

  * What changed in the program is in /usr/share/doc/s1-coralogix/changelog.gz.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
pack "$work/changelog" "$deb_doc/changelog.Debian.gz"

mkdir -m 0755 "$deb_root/DEBIAN"
cat > "$deb_root/DEBIAN/control" <<END
Package: s1-coralogix
Version: $version-$release
Architecture: $deb_arch
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size --exclude=DEBIAN "$deb_root" | cut -f 1)
Depends: adduser
Section: net
Priority: optional
Description: collector that forwards SentinelOne records to Coralogix
 It polls the threats and activities of one or many SentinelOne tenants, keeps
 each record in a durable queue on disk, and delivers it to Coralogix with
 retries and backoff. An outage, a power cut, a full disk or an expired
 credential drops no record.
 .
 One static binary for appliances, gateways and other unattended devices.
END
# There is no conffile: postinst makes the config where there is none, and nothing ever asks about it,
# so that an upgrade without a terminal goes through however it was edited.
for script in postinst prerm postrm; do
    put 0755 "packaging/deb/$script" "$deb_root/DEBIAN/$script"
done
(cd "$deb_root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) \
    > "$deb_root/DEBIAN/md5sums"
chmod 0644 "$deb_root/DEBIAN/control" "$deb_root/DEBIAN/md5sums"
set_times "$deb_root"
dpkg-deb --root-owner-group -Zxz --build "$deb_root" \
    "$out/s1-coralogix_$version-${release}_$deb_arch.deb" > "$work/deb.log" ||
    { cat "$work/deb.log" >&2; fail "dpkg-deb refused the tree"; }
