#!/bin/bash
# offline.sh: the archive for machines without a network, on one that has nothing but busybox.
# shellcheck source=packaging/test/lib.sh
. "$(dirname "$0")/lib.sh"

archive=$packages/s1-coralogix-$version-x86_64.tar.gz
[ -f "$archive" ] || skip "there is no ${archive##*/}"
busybox=$(command -v busybox) || skip "busybox is not installed"
! ldd "$busybox" >/dev/null 2>&1 || skip "this busybox is not static"

root=$scratch/root
mkdir -p "$root"/{bin,dev,etc,mnt,proc,tmp,usr/local,var}
cp "$busybox" "$root/bin/busybox"
"$root/bin/busybox" --install -s "$root/bin"
find "$root/bin" -type l -exec ln -sf busybox {} \;
echo root:x:0:0:root:/:/bin/sh >"$root/etc/passwd"
echo root:x:0: >"$root/etc/group"
mount -t proc proc "$root/proc"
mknod -m 0666 "$root/dev/null" c 1 3
cp "$archive" "$root/mnt/"
inside() { chroot "$root" /bin/busybox env -i PATH=/bin:/usr/local/bin "$@"; }
same() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }
dir=/mnt/s1-coralogix-$version-x86_64
install() { inside "$dir/install.sh" "$@" 2>&1; }

want "unpack" inside tar -xzf "/mnt/${archive##*/}" -C /mnt
for part in sbom.cdx.json README.md LICENSE s1-coralogix.service config.example.toml; do
    [ -f "$root$dir/$part" ] || fail "$part is not in the archive"
done
want "SBOM" python3 packaging/offline/sbom.py check "$root$dir/sbom.cdx.json"

echo "a byte too much is noticed, and nothing is installed"
echo >>"$root$dir/s1-coralogix.service"
said=$(install) && fail "installed in spite of a wrong file"
grep -q "s1-coralogix.service: FAILED" <<<"$said" || fail "the file is not named: $said"
[ ! -e "$root/usr/local/bin/s1-coralogix" ] || fail "something was installed"
truncate -s -1 "$root$dir/s1-coralogix.service"

echo "without systemd, as the README says"
rm -rf "${root:?}$dir"
said=$(inside sh -ec "cd /mnt; $(readme offline)" 2>&1) || fail "$said"
grep -q "not started yet" <<<"$said" || fail "the next steps are not said: $said"
grep -q "::respawn:" <<<"$said" || fail "how to run it is not said: $said"
want "--version" inside s1-coralogix --version
same "$(inside stat -c '%a %U:%G' /etc/s1-coralogix/config.toml)" "640 root:s1-coralogix" config
same "$(inside stat -c '%a %U:%G' /var/lib/s1-coralogix)" "700 s1-coralogix:s1-coralogix" state
same "$(grep -c '^s1-coralogix:' "$root/etc/passwd")" 1 users

echo "upgrade"
echo "# edited" >>"$root/etc/s1-coralogix/config.toml"
echo record >"$root/var/lib/s1-coralogix/record"
said=$(install) || fail "$said"
grep -q upgraded <<<"$said" || fail "$said"
grep -q "# edited" "$root/etc/s1-coralogix/config.toml" || fail "the config was replaced"
same "$(grep -c '^s1-coralogix:' "$root/etc/passwd")" 1 "users after an upgrade"

echo "uninstall"
said=$(install --uninstall) || fail "$said"
[ ! -e "$root/usr/local/bin/s1-coralogix" ] || fail "the program is still there"
[ -e "$root/var/lib/s1-coralogix/record" ] || fail "the queue is gone"

echo "with systemd on the disk"
mkdir -p "$root/etc/systemd/system"
said=$(install) || fail "$said"
grep -q "^ExecStart=/usr/local/bin/s1-coralogix run$" \
    "$root/etc/systemd/system/s1-coralogix.service" || fail "the unit names another program"
put_queue "$root/var/lib/s1-coralogix"
said=$(install --uninstall --purge) || fail "$said"
grep -q "deleting /var/lib/s1-coralogix with $left" <<<"$said" ||
    fail "what is deleted is not said: $left, but: $said"
for gone in usr/local/bin/s1-coralogix etc/s1-coralogix var/lib/s1-coralogix \
    etc/systemd/system/s1-coralogix.service; do
    [ ! -e "$root/$gone" ] || fail "$gone is still there"
done

echo "purge of what an earlier uninstall left, also where it can't be counted"
queue=$root/var/lib/s1-coralogix
for spoil in "" newer no-tmp; do
    said=$(install) || fail "$said"
    said=$(install --uninstall) || fail "$said"
    put_queue "$queue"
    told="deleting /var/lib/s1-coralogix; how much waits in it is not known"
    case $spoil in
        newer) make_newer "$queue" ;;
        no-tmp) mv "$root/tmp" "$root/no-tmp" ;;
        *) told="deleting /var/lib/s1-coralogix with $left" ;;
    esac
    said=$(install --uninstall --purge) || fail "$said"
    [ ! -e "$root/no-tmp" ] || mv "$root/no-tmp" "$root/tmp"
    grep -q "$told" <<<"$said" || fail "$spoil: what is deleted is not said: $told, but: $said"
    [ ! -e "$queue" ] || fail "the queue is still there"
done
said=$(install) || fail "$said"
said=$(install --uninstall --purge) || fail "$said"
grep -q "deleting" <<<"$said" && fail "there was nothing to delete: $said"

echo "not over a package"
mkdir -p "$root/usr/bin"
echo >"$root/usr/bin/s1-coralogix"
! install >/dev/null || fail "installed beside a package"
echo "offline: verified, installed, upgraded, uninstalled, purged"
