#!/bin/bash
# deb.sh [ARCH]: the .deb installed, upgraded, removed and purged in a Debian of its own.
# shellcheck source=packaging/test/lib.sh
. "$(dirname "$0")/lib.sh"

arch=${1:-amd64}
target=${2:-x86_64-unknown-linux-musl}
deb=$packages/s1-coralogix_$version-1_$arch.deb
[ -f "$deb" ] || skip "there is no ${deb##*/}"
debian "$arch"
layer "$debian"
older=$(older deb "$target")/s1-coralogix_0.0.9-1_$arch.deb
cp "$deb" "$root/new.deb"
cp "$older" "$root/old.deb"

inside() { LC_ALL=C DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
stat_of() { inside stat -c '%a %U:%G' "$1"; }
same() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }

echo "fresh"
said=$(inside dpkg -i /old.deb 2>&1) || fail "$said"
grep -q "not started yet" <<<"$said" || fail "the next steps are not said: $said"
same "$(stat_of /etc/s1-coralogix/config.toml)" "640 root:s1-coralogix" "config"
same "$(stat_of /var/lib/s1-coralogix)" "700 s1-coralogix:s1-coralogix" "state directory"
same "$(inside getent passwd s1-coralogix | cut -d: -f6,7)" \
    "/var/lib/s1-coralogix:/usr/sbin/nologin" "user"
wants=/etc/systemd/system/multi-user.target.wants/s1-coralogix.service
[ -L "$root$wants" ] || fail "not enabled"
want "--version" inside s1-coralogix --version
# It says what to fill in, and once that is done nothing but the secrets is missing.
inside s1-coralogix check --offline >"$scratch/said" 2>&1 && fail "an empty config is good"
for key in coralogix.domain integration.tenant; do
    grep -q "$key: it is empty" "$scratch/said" || fail "$key is not asked for"
done
sed -i 's/^domain = ""/domain = "eu2.coralogix.com"/
    s#^tenant = ""#tenant = "https://usea1-acme.sentinelone.net"#' "$root/etc/s1-coralogix/config.toml"
inside s1-coralogix check --offline >"$scratch/said" 2>&1 && fail "check found secrets"
grep -q "config .*valid" "$scratch/said" || fail "the config that was filled in is not valid"
same "$(stat_of /etc/s1-coralogix/config.d)" "750 root:s1-coralogix" "config.d"

echo "upgrade, without a terminal, with an edited config, another default, something in the queue, and the service disabled"
echo "# edited" >>"$root/etc/s1-coralogix/config.toml"
echo secret >"$root/etc/s1-coralogix/acme.token"
echo "# mine" >"$root/etc/s1-coralogix/config.d/10.toml"
# What made an upgrade stop: a default that changed under a config that was edited too.
# shellcheck disable=SC2016 # dpkg-query's own names
[ -z "$(inside dpkg-query -W -f '${Conffiles}' s1-coralogix)" ] || fail "there is a conffile"
echo record >"$root/var/lib/s1-coralogix/record"
inside systemctl disable s1-coralogix >/dev/null 2>&1
said=$(inside dpkg -i /new.deb 2>&1 </dev/null) || fail "$said"
grep -q "not started yet" <<<"$said" && fail "an upgrade says the first steps again"
# shellcheck disable=SC2016 # dpkg-query's own names
same "$(inside dpkg-query -W -f '${Version} ${Status}' s1-coralogix)" \
    "$version-1 install ok installed" "dpkg"
tail -n 1 "$root/etc/s1-coralogix/config.toml" | grep -q "# edited" || fail "the config was replaced"
same "$(stat_of /etc/s1-coralogix/config.toml)" "640 root:s1-coralogix" "config after the upgrade"
[ -e "$root/var/lib/s1-coralogix/record" ] || fail "the queue was touched"
[ ! -L "$root$wants" ] || fail "a disabled service was enabled by an upgrade"

echo "remove"
inside systemctl enable s1-coralogix >/dev/null 2>&1
want "dpkg -r" inside dpkg -r s1-coralogix
[ ! -e "$root/usr/bin/s1-coralogix" ] || fail "the program is still there"
for kept in etc/s1-coralogix/config.toml etc/s1-coralogix/acme.token var/lib/s1-coralogix/record; do
    [ -e "$root/$kept" ] || fail "$kept is gone"
done

echo "and again"
want "dpkg -i after remove" inside dpkg -i /new.deb
tail -n 1 "$root/etc/s1-coralogix/config.toml" | grep -q "# edited" || fail "the config was replaced"
[ -L "$root$wants" ] || fail "not enabled again"

echo "config and directory are made where they are missing, and only there"
rm "$root/etc/s1-coralogix/config.toml"
want "dpkg-reconfigure" inside /var/lib/dpkg/info/s1-coralogix.postinst configure "$version-1"
cmp packaging/config.toml "$root/etc/s1-coralogix/config.toml" || fail "another config was made"
same "$(stat_of /etc/s1-coralogix/config.toml)" "640 root:s1-coralogix" "the config that was made"

echo "purge, which says what it deletes"
put_queue "$root/var/lib/s1-coralogix"
said=$(inside dpkg -P s1-coralogix 2>&1) || fail "dpkg -P: $said"
grep -q "deleting /var/lib/s1-coralogix with $left" <<<"$said" ||
    fail "what is deleted is not said: $left, but: $said"
for gone in etc/s1-coralogix var/lib/s1-coralogix usr/bin/s1-coralogix usr/share/doc/s1-coralogix \
    "$wants" etc/systemd/system/s1-coralogix.service; do
    if [ -e "$root/$gone" ] || [ -L "$root/$gone" ]; then fail "$gone is still there"; fi
done
echo "purge where what is left can't be counted, or nothing is"
unknown="deleting /var/lib/s1-coralogix; how much waits in it is not known"
purge() {
    said=$(inside dpkg -P s1-coralogix 2>&1) || fail "dpkg -P: $said"
    [ ! -e "$root/var/lib/s1-coralogix" ] || fail "the queue is still there"
}
for spoil in newer no-tmp no-note; do
    want "dpkg -i before a purge" inside dpkg -i /new.deb
    put_queue "$root/var/lib/s1-coralogix"
    case $spoil in
        newer) make_newer "$root/var/lib/s1-coralogix" ;;
        no-tmp) mv "$root/tmp" "$root/no-tmp" ;;
        no-note)
            want "dpkg -r" inside dpkg -r s1-coralogix
            rm "$root/etc/s1-coralogix/left-in-queue"
            ;;
    esac
    purge
    [ ! -e "$root/no-tmp" ] || mv "$root/no-tmp" "$root/tmp"
    grep -q "$unknown" <<<"$said" || fail "$spoil: that it is not known is not said: $said"
done
want "dpkg -i before a purge" inside dpkg -i /new.deb
purge
grep -q "deleting" <<<"$said" && fail "there was nothing to delete: $said"

left=$(find "$root/etc" "$root/var/lib" "$root/usr" "$root/lib" -name '*s1-coralogix*' \
    ! -path '*/dpkg/*')
[ -z "$left" ] || fail "left behind: $left"
echo "deb $arch: installed, upgraded, removed, purged"
