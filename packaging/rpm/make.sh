# The .rpm of one target, from the tree that `stage` made. Sourced by package.sh.
# shellcheck shell=sh disable=SC2154 # the names come from lib.sh

rpm_root=$work/rpm-$rpm_arch
rm -rf "$rpm_root"
cp -a "$work/$target" "$rpm_root"
put 0644 LICENSE "$rpm_root/usr/share/licenses/s1-coralogix/LICENSE"
mkdir -p "$rpm_root/var/lib/s1-coralogix"
mkdir -p "$rpm_root/etc/s1-coralogix"
mv "$rpm_root/usr/share/s1-coralogix/config.toml" "$rpm_root/etc/s1-coralogix/config.toml"
rmdir "$rpm_root/usr/share/s1-coralogix"
# Where these families look for them.
[ ! -d "$rpm_root/usr/share/zsh/vendor-completions" ] ||
    mv "$rpm_root/usr/share/zsh/vendor-completions" "$rpm_root/usr/share/zsh/site-functions"
set_times "$rpm_root"
# The program, and manual pages and completions as many as there are.
(cd "$rpm_root" && find usr/bin usr/share/man usr/share/bash-completion usr/share/zsh usr/share/fish \
    -type f 2>/dev/null | sed 's#^#/#' | sort) > "$work/rpm.files"

# The times and the build host are said, so that two builds are the same bytes; the target's own
# macros (strip, compress) are off, for the tree is what it shall be.
rpmbuild -bb --quiet --target "$rpm_arch-unknown-linux" \
    --define "_topdir $work/rpmbuild" --define "_rpmdir $work/rpms" --define "_tree $rpm_root" --define "_list $work/rpm.files" \
    --define "_version $version" --define "_release $release" --define "_summary $summary" \
    --define "_build_date $(date -u -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')" \
    --define "_packager $maintainer" \
    --define "_buildhost reproducible" --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" --define "source_date_epoch_from_changelog 0" \
    --define "_binary_payload w19.zstdio" \
    packaging/rpm/s1-coralogix.spec > "$work/rpm.log" 2>&1 ||
    { cat "$work/rpm.log" >&2; fail "rpmbuild refused the tree"; }
mv "$work/rpms/$rpm_arch/s1-coralogix-$version-$release.$rpm_arch.rpm" "$out/"
