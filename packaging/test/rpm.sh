#!/bin/bash
# rpm.sh: the .rpm of this machine installed, upgraded and erased with its scripts, in a root of its
# own. The root is a Debian, for there is no Red Hat to be had here: hence --nodeps.
# shellcheck source=packaging/test/lib.sh
. "$(dirname "$0")/lib.sh"

rpm=$packages/s1-coralogix-$version-1.x86_64.rpm
[ -f "$rpm" ] || skip "there is no ${rpm##*/}"
command -v rpm >/dev/null || skip "rpm is not installed"
debian amd64
layer "$debian"
older=$(older rpm x86_64-unknown-linux-musl)/s1-coralogix-0.0.9-1.x86_64.rpm

install() { rpm --root "$root" --nodeps --nosignature "$@" 2>&1; }
inside() { LC_ALL=C chroot "$root" "$@"; }
same() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }

echo "fresh"
said=$(install -i "$older") || fail "$said"
grep -q "not started yet" <<<"$said" || fail "the next steps are not said: $said"
same "$(inside stat -c '%a %U:%G' /etc/s1-coralogix/config.toml)" "640 root:s1-coralogix" config
same "$(inside stat -c '%a %U:%G' /var/lib/s1-coralogix)" "700 s1-coralogix:s1-coralogix" state
want "--version" inside s1-coralogix --version
want "unit" inside test -f /usr/lib/systemd/system/s1-coralogix.service

same "$(inside stat -c '%a %U:%G' /etc/s1-coralogix/config.d)" "750 root:s1-coralogix" config.d

echo "upgrade, with an edited config and something in the queue"
echo "# edited" >>"$root/etc/s1-coralogix/config.toml"
echo record >"$root/var/lib/s1-coralogix/record"
said=$(install -U "$rpm") || fail "$said"
! grep -q "not started yet" <<<"$said" || fail "an upgrade says the first steps again"
same "$(rpm --root "$root" -q s1-coralogix)" "s1-coralogix-$version-1.x86_64" "rpm"
tail -n 1 "$root/etc/s1-coralogix/config.toml" | grep -q "# edited" || fail "the config was replaced"
[ ! -e "$root/etc/s1-coralogix/config.toml.rpmnew" ] || fail "an upgrade leaves an .rpmnew behind"
want "verify" rpm --root "$root" -V --nodeps --nofiles s1-coralogix

echo "erase"
want "rpm -e" rpm --root "$root" -e s1-coralogix
[ ! -e "$root/usr/bin/s1-coralogix" ] || fail "the program is still there"
grep -q "# edited" "$root/etc/s1-coralogix/config.toml.rpmsave" || fail "the config is gone"
[ -e "$root/var/lib/s1-coralogix/record" ] || fail "the queue is gone"
echo "rpm: installed, upgraded, erased"
