#!/bin/sh
# Installs s1-coralogix from this folder, without a network and with nothing but a POSIX shell and
# the everyday commands, such as busybox has.
#
#   ./install.sh                      verifies every file, then installs or upgrades
#   ./install.sh --uninstall          removes the program; config, secrets and queue stay
#   ./install.sh --uninstall --purge  removes those too
#   ./install.sh --verify             verifies only
#
# On Debian, Red Hat or OpenWrt the file of packages/ that fits is the better way: the system then
# knows what is installed. Both ways use the same config, user and queue.
set -eu
umask 022

PREFIX=/usr/local
ETC=/etc/s1-coralogix
STATE=/var/lib/s1-coralogix
UNIT=/etc/systemd/system/s1-coralogix.service
RUN_AS=s1-coralogix

here=$(cd "$(dirname "$0")" && pwd)

say() {
    echo "install.sh: $*"
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# A systemd that runs, not one that merely lies on the disk of an image being built.
systemd_runs() {
    [ -d /run/systemd/system ] && has systemctl
}

systemd_is_here() {
    [ -d /etc/systemd/system ]
}

verify() {
    [ -f "$here/SHA256SUMS" ] || fail "SHA256SUMS is missing: the archive is not whole"
    (cd "$here" && sha256sum -c SHA256SUMS >/dev/null 2>&1) || {
        (cd "$here" && sha256sum -c SHA256SUMS 2>&1 | grep -v ': OK$' >&2) || true
        fail "a file is not what it should be: copy the archive again. Nothing was changed."
    }
    "$here/s1-coralogix" --version >/dev/null 2>&1 ||
        fail "the program does not run on this machine ($(uname -m)): take the archive for it"
    say "every file is as it should be: $("$here/s1-coralogix" --version)"
}

# The tool that this system has; where it has none, the two files are written.
make_user() {
    if ! grep -q "^$RUN_AS:" /etc/group; then
        if has groupadd; then
            groupadd -r "$RUN_AS"
        elif has addgroup && addgroup -S "$RUN_AS" 2>/dev/null; then
            :
        else
            echo "$RUN_AS:x:$(free_number /etc/group):" >> /etc/group
        fi
    fi
    if ! grep -q "^$RUN_AS:" /etc/passwd; then
        gid=$(sed -n "s/^$RUN_AS:[^:]*:\([0-9]*\):.*/\1/p" /etc/group)
        if has useradd; then
            useradd -r -g "$RUN_AS" -d "$STATE" -M -s /bin/false "$RUN_AS"
        elif has adduser && adduser -S -D -H -h "$STATE" -s /bin/false -G "$RUN_AS" \
            "$RUN_AS" 2>/dev/null; then
            :
        else
            echo "$RUN_AS:x:$(free_number /etc/passwd):$gid::$STATE:/bin/false" >> /etc/passwd
        fi
    fi
}

# free_number FILE: a number below 1000 that nobody has in it.
free_number() {
    number=999
    while grep -q "^[^:]*:[^:]*:$number:" "$1"; do
        number=$((number - 1))
    done
    echo "$number"
}

# place MODE FROM TO: whole or not at all, also while the old program runs.
place() {
    mkdir -p "$(dirname "$3")"
    cp "$2" "$3.new"
    chmod "$1" "$3.new"
    mv -f "$3.new" "$3"
}

install_files() {
    place 0755 "$here/s1-coralogix" "$PREFIX/bin/s1-coralogix"
    for page in "$here"/man/*; do
        [ ! -f "$page" ] || place 0644 "$page" "$PREFIX/share/man/man${page##*.}/${page##*/}"
    done
    mkdir -p "$ETC" "$STATE"
    if [ -f "$ETC/config.toml" ]; then
        say "$ETC/config.toml is kept as it is; config.example.toml has every setting"
    else
        place 0640 "$here/config.toml" "$ETC/config.toml"
        chown "root:$RUN_AS" "$ETC/config.toml"
    fi
    if [ ! -d "$ETC/config.d" ]; then
        mkdir -m 0750 "$ETC/config.d"
        chown "root:$RUN_AS" "$ETC/config.d"
    fi
    chmod 0700 "$STATE"
    chown "$RUN_AS:$RUN_AS" "$STATE"
    if systemd_is_here; then
        sed "s#/usr/bin/s1-coralogix#$PREFIX/bin/s1-coralogix#" "$here/s1-coralogix.service" \
            > "$UNIT.new"
        chmod 0644 "$UNIT.new"
        mv -f "$UNIT.new" "$UNIT"
    fi
}

# Another s1-coralogix in the way would be started or stopped instead of this one.
refuse_packaged() {
    for path in /usr/bin/s1-coralogix /etc/init.d/s1-coralogix; do
        [ ! -e "$path" ] || fail "$path is here already, from a package: upgrade with the file of \
packages/ that fits, or remove that package first (its config and queue stay)"
    done
}

install_all() {
    [ "$(id -u)" = 0 ] || fail "run it as root"
    refuse_packaged
    verify
    make_user
    was_here=""
    [ ! -e "$PREFIX/bin/s1-coralogix" ] || was_here=1
    install_files
    if systemd_runs; then
        systemctl daemon-reload
        if [ -n "$was_here" ]; then
            systemctl try-restart s1-coralogix.service
        fi
    fi
    [ -z "$was_here" ] || { say "upgraded" && return 0; }
    say "installed, and not started yet. Next:"
    echo "  1. Put domain, tenant and the two secret files into $ETC/config.toml"
    echo "  2. s1-coralogix check  (says what works, and what to do about the rest)"
    if systemd_is_here; then
        echo "  3. systemctl enable --now s1-coralogix  (then: s1-coralogix status)"
    else
        echo "  3. Let your init run it as the user $RUN_AS, and start it again whenever it ends."
        echo "     With busybox init, add to /etc/inittab:"
        echo "       ::wait:/bin/sh -c 'mkdir -p /run/$RUN_AS && chown $RUN_AS /run/$RUN_AS'"
        echo "       ::respawn:/bin/su -s /bin/sh $RUN_AS -c 'exec $PREFIX/bin/s1-coralogix run'"
    fi
}

# Said before it is deleted. An earlier --uninstall has removed the installed program; the one in this
# folder can tell as well.
tell_what_is_left() {
    held=$(find "$STATE/log" "$STATE/parked" "$STATE/doubt" -type f 2>/dev/null | head -n 1)
    [ -n "$held" ] || return 0
    stats=""
    if config=$(mktemp 2>/dev/null); then
        config_of_queue > "$config"
        for program in "$PREFIX/bin/s1-coralogix" "$here/s1-coralogix"; do
            [ -x "$program" ] || continue
            stats=$("$program" --config "$config" queue stats --json 2>/dev/null) && break
            stats=""
        done
        rm -f "$config"
    fi
    number() { echo "$stats" | sed -n "s/^  \"$1\": \([0-9]*\),\{0,1\}\$/\1/p"; }
    waiting=$(number waiting) parked=$(number parked) doubt=$(number doubt)
    case "$waiting,$parked,$doubt" in
        ,* | *,,* | *,) say "deleting $STATE; how much waits in it is not known" ;;
        0,0,0) ;;
        *)
            say "deleting $STATE with up to $waiting records waiting for delivery, $parked that \
Coralogix rejected, $doubt batches in doubt"
            ;;
    esac
}

# A config that names the queue, and is enough for a look into it.
config_of_queue() {
    cat <<END
[coralogix]
url = "https://nowhere.invalid"
api_key_file = "/nonexistent"
[[integration]]
name = "none"
tenant = "https://nowhere.invalid"
api_token_file = "/nonexistent"
[queue]
dir = "$STATE"
END
}

uninstall() {
    [ "$(id -u)" = 0 ] || fail "run it as root"
    if systemd_runs && [ -e "$UNIT" ]; then
        systemctl disable --now s1-coralogix.service || true
    fi
    [ "$1" != purge ] || tell_what_is_left
    rm -f "$UNIT" "/etc/systemd/system/multi-user.target.wants/s1-coralogix.service" \
        "$PREFIX/bin/s1-coralogix"
    for page in "$here"/man/*; do
        [ ! -f "$page" ] || rm -f "$PREFIX/share/man/man${page##*.}/${page##*/}"
    done
    if systemd_runs; then
        systemctl daemon-reload
    fi
    if [ "$1" = purge ]; then
        rm -rf "$ETC" "$STATE" /run/s1-coralogix
        say "removed, with config, secrets and queue. The user $RUN_AS stays, so that its number"
        say "never owns something else"
    else
        say "removed. $ETC and $STATE are kept, with what waits in the queue"
    fi
}

case "$*" in
    "") install_all ;;
    --verify) verify ;;
    --uninstall) uninstall keep ;;
    "--uninstall --purge" | "--purge --uninstall") uninstall purge ;;
    -h | --help) sed -n 's/^# \{0,1\}//; 2,11p' "$0" ;;
    *) fail "I don't know $*; see --help" ;;
esac
