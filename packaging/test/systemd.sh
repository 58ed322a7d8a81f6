#!/bin/bash
# systemd.sh SERVERS: the service started for real, by a systemd of its own, from the .deb as it is
# installed, between the test servers (the example `servers`, whose binary is named).
#
# The root is a layer in memory over this machine's own, so that nothing has to be fetched; it has a
# network of its own with nothing in it but loopback.
# shellcheck source=packaging/test/lib.sh
. "$(dirname "$0")/lib.sh"

servers=$(realpath "${1:?the binary of the example servers}")
deb=$packages/s1-coralogix_$version-1_$(dpkg --print-architecture).deb
[ -f "$deb" ] || skip "there is no ${deb##*/}"
for tool in systemd-nspawn nsenter; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done
[ -x /lib/systemd/systemd ] || skip "this machine has no systemd to start"

layer /
# This machine's own rule that no service starts has no place in there.
rm -f "$root/usr/sbin/policy-rc.d"
mkdir -p "$root/srv/stage"
cp "$deb" "$root/new.deb"
cp "$servers" "$root/usr/bin/stage-servers"

setsid systemd-nspawn --directory="$root" --machine="s1c-$$" --register=no --keep-unit --boot \
    --console=pipe --private-network </dev/null >"$scratch/boot.log" 2>&1 &
nspawn=$!
leader=""
find_leader() {
    leader=$(pgrep -P "$nspawn" | head -n 1)
    [ -n "$leader" ]
}
inside() {
    nsenter --target "$leader" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"
}
power_off() {
    [ -z "$leader" ] || inside systemctl poweroff --force >/dev/null 2>&1
    for _ in $(seq 50); do
        kill -0 "$nspawn" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$leader" "$nspawn"
}
ends+=(power_off)
booted() {
    kill -0 "$nspawn" 2>/dev/null || { cat "$scratch/boot.log" >&2 && fail "nspawn ended"; }
    find_leader && case $(inside systemctl is-system-running 2>/dev/null) in
        running | degraded) true ;;
        *) false ;;
    esac
}
wait_for "systemd did not start" 60 booted

unit=s1-coralogix.service
show() { inside systemctl show --value --property="$1" $unit; }
is() { [ "$(show "$1")" = "$2" ]; }
status() { inside s1-coralogix status --json; }
delivered() { [ "$(status | python3 -c "$count" 2>/dev/null)" -gt "$1" ]; }
count='import json, sys; print(json.load(sys.stdin)["coralogix"]["delivered"])'
drop_in() {
    mkdir -p "$root/etc/systemd/system/$unit.d"
    printf '%s\n' "$@" >"$root/etc/systemd/system/$unit.d/test.conf"
    inside systemctl daemon-reload
}
problem() {
    inside journalctl --no-pager -n 40 -u $unit >&2 || true
    fail "$*"
}

echo "installed: enabled, not started"
want "install" inside dpkg -i /new.deb
inside systemctl is-enabled --quiet $unit || fail "not enabled"
is ActiveState inactive || fail "a fresh install started: $(show ActiveState)"

failed_for_good() { is ActiveState failed && is ExecMainStatus 78; }
echo "the config as it is laid down: it ends with 78 and says what to fill in"
! inside systemctl start $unit >/dev/null 2>&1 || fail "it runs with nobody's address"
wait_for "an empty config does not end with 78" 20 failed_for_good
says_what() { inside journalctl --no-pager -u $unit -o cat | grep -q "integration.tenant: it is empty"; }
wait_for "what to fill in is not said" 20 says_what

echo "filled in: it starts, waits, and says which secret is missing"
sed -i 's/^domain = ""/domain = "eu2.coralogix.com"/
    s#^tenant = ""#tenant = "https://usea1-acme.sentinelone.net"#' "$root/etc/s1-coralogix/config.toml"
want "start" inside systemctl start $unit
is ActiveState active || problem "not active with the config filled in"
names_secret() { ! inside s1-coralogix status >"$scratch/status" 2>&1 && grep -q acme.token "$scratch/status"; }
wait_for "status does not name the missing secret" 20 names_secret

echo "no network, secrets in place: it starts, and waits for the network"
for secret in coralogix.key acme.token; do
    install -m 0600 /dev/null "$root/etc/s1-coralogix/$secret"
    echo made-up >"$root/etc/s1-coralogix/$secret"
    inside chown s1-coralogix: /etc/s1-coralogix/$secret
done
want "restart" inside systemctl restart $unit
is ActiveState active || problem "not active without a network"

echo "a config that can't be used: it ends with 78 and is not started again"
cp "$root/etc/s1-coralogix/config.toml" "$scratch/shipped.toml"
echo "[no_such_section]" >>"$root/etc/s1-coralogix/config.toml"
inside systemctl restart $unit >/dev/null 2>&1 || true
wait_for "a wrong config does not end with 78" 20 failed_for_good
is NRestarts 0 || problem "it was started again: $(show NRestarts)"

echo "purged, and installed by the README's lines, between the test servers"
want "purge" inside dpkg -P s1-coralogix
inside stage-servers /srv/stage >"$scratch/servers.log" 2>&1 &
stage=$!
wait_for "the servers did not start" 30 grep -q ready "$scratch/servers.log"
mkdir "$root/srv/reader"
cp "$deb" "$root/srv/stage/coralogix.key" "$root/srv/stage/acme.token" "$root/srv/reader/"
sed 's#/srv/stage/\(coralogix.key\|acme.token\)#/etc/s1-coralogix/\1#' \
    "$root/srv/stage/config.toml" >"$root/srv/reader/edited.toml"
# What the reader has: root by sudo, and an editor.
printf '#!/bin/sh\nexec "$@"\n' >"$root/usr/bin/sudo"
# shellcheck disable=SC2016 # for that script's own shell
printf '#!/bin/sh\ncat /srv/reader/edited.toml >"$1"\n' >"$root/usr/bin/sudoedit"
chmod +x "$root/usr/bin/sudo" "$root/usr/bin/sudoedit"
typed=$(readme debian)
inside sh -exc "cd /srv/reader; $typed" >"$scratch/said" 2>&1 ||
    { cat "$scratch/said" >&2 && problem "the README's lines do not work"; }
is ActiveState active || problem "not active"
wait_for "nothing is delivered" 30 delivered 100
want "status is not healthy" inside s1-coralogix status
pid=$(show MainPID)
[ "$(inside stat -c %U "/proc/$pid")" = s1-coralogix ] || problem "not its own user"
status | grep -q '"written_bytes": [0-9]' || problem "what is written to disk is not told"

echo "with the secrets as systemd credentials"
# shellcheck disable=SC2016 # the program reads the variable
sed -i 's#/etc/s1-coralogix/\(coralogix.key\|acme.token\)#$CREDENTIALS_DIRECTORY/\1#' \
    "$root/etc/s1-coralogix/config.toml"
rm "$root/etc/s1-coralogix/coralogix.key" "$root/etc/s1-coralogix/acme.token"
drop_in "[Service]" "LoadCredential=coralogix.key:/srv/stage/coralogix.key" \
    "LoadCredential=acme.token:/srv/stage/acme.token"
want "restart" inside systemctl restart $unit
wait_for "nothing is delivered" 30 delivered 0
pid=$(show MainPID)

echo "the config is read again"
want "reload" inside systemctl reload $unit
is_read() { inside journalctl --no-pager -u $unit -o cat | grep -q "config was read again"; }
wait_for "a reload is not said" 15 is_read
is MainPID "$pid" || problem "a reload started another process"

echo "a reload with a wrong config: the former one stays in force, and status says so until it is mended"
cp "$root/etc/s1-coralogix/config.toml" "$scratch/good.toml"
echo "[no_such_section]" >>"$root/etc/s1-coralogix/config.toml"
want "reload" inside systemctl reload $unit
refused() { inside s1-coralogix status --json | grep -q '"settings_refused": {'; }
# Whoever asks reads the config too, so it has to be one.
mended() { cp "$scratch/good.toml" "$root/etc/s1-coralogix/config.toml"; }
said_wrong() { inside journalctl --no-pager -u $unit -o cat | grep -q "S1C-E010"; }
wait_for "a wrong config is not said" 15 said_wrong
mended
wait_for "status does not tell that settings were refused" 15 refused
is MainPID "$pid" || problem "a wrong config ended it"
want "reload" inside systemctl reload $unit
in_force() { ! refused; }
wait_for "status goes on telling of settings that were mended" 15 in_force

credentials=("LoadCredential=coralogix.key:/srv/stage/coralogix.key"
    "LoadCredential=acme.token:/srv/stage/acme.token")
lost='import json, sys; print(json.load(sys.stdin)["log_lines_lost"])'
lines_lost() { [ "$(status | python3 -c "$lost" 2>/dev/null)" -gt 0 ]; }
# Whatever the state is.
so_far() { status | python3 -c "$count" || true; }
goes_on() {
    local at
    wait_for "nothing is told while $1" 30 delivered -1
    at=$(so_far)
    wait_for "lines lost are not counted while $1" 60 lines_lost
    inside s1-coralogix status | grep -q "of the log could not be written" ||
        problem "status does not tell of lines lost while $1"
    wait_for "nothing is delivered while $1" 30 delivered "$at"
    is NRestarts 0 || problem "it was started again while $1"
}
# A pipe that holds 4 KiB, and a reader that reads while /srv/reads is there.
cat >"$root/srv/reader.py" <<'END'
import fcntl, os, time
pipe = os.open("/srv/unread", os.O_RDWR | os.O_NONBLOCK)
fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
if not os.path.exists("/srv/reads"):
    os.write(pipe, b"x" * 4095 + b"\n")
open("/srv/held", "w").close()
with open("/srv/read", "ab", buffering=0) as out:
    while not os.path.exists("/srv/done"):
        time.sleep(0.05)
        try:
            if os.path.exists("/srv/reads"):
                out.write(os.read(pipe, 65536))
        except BlockingIOError:
            pass
END
# stderr_to_a_reader LEVEL: what the service says goes to that reader.
stderr_to_a_reader() {
    inside rm -f /srv/unread /srv/read /srv/held /srv/done
    inside mkfifo -m 0622 /srv/unread
    inside python3 /srv/reader.py &
    reader=$!
    wait_for "the pipe has no reader" 10 test -e "$root/srv/held"
    drop_in "[Service]" "${credentials[@]}" "StandardError=file:/srv/unread" \
        "Environment=S1_CORALOGIX_LOG=$1"
    want "start with a stderr of its own" timeout 60 nsenter --target "$leader" --all \
        systemctl restart $unit
}
reader_goes_on() {
    : >"$root/srv/reads"
    wait_for "who reads on is not told how much was lost" 30 \
        grep -aq "of the log could not be written" "$root/srv/read"
    : >"$root/srv/done"
    wait "$reader"
}

echo "stderr takes nothing from the start: delivery goes on, lost lines are counted and told"
stderr_to_a_reader debug
goes_on "stderr takes nothing"
reader_goes_on

echo "its reader stalls later: the same"
stderr_to_a_reader trace
wait_for "nothing is read" 30 grep -aq S1C-I001 "$root/srv/read"
rm "$root/srv/reads"
goes_on "the reader of stderr stalls"
reader_goes_on

echo "the journal stalls: delivery goes on"
drop_in "[Service]" "${credentials[@]}"
want "restart" inside systemctl restart $unit
wait_for "nothing is delivered" 30 delivered 0
journal=$(inside systemctl show --value --property=MainPID systemd-journald.service)
inside kill -STOP "$journal"
at=$(so_far)
wait_for "nothing is delivered while the journal stalls" 30 delivered "$at"
inside kill -CONT "$journal"

echo "restarted under load, three times, as on an appliance: 64 MiB, no /dev/shm, no resolver, and"
echo "  nothing that may be executed but the program itself"
rm -f "$root/etc/resolv.conf"
drop_in "[Service]" "LoadCredential=coralogix.key:/srv/stage/coralogix.key" \
    "LoadCredential=acme.token:/srv/stage/acme.token" "MemoryMax=64M" "MemorySwapMax=0" \
    "InaccessiblePaths=/dev/shm" "NoExecPaths=/" "ExecPaths=/usr/bin/s1-coralogix"
for _ in 1 2 3; do
    at=$(status | python3 -c "$count")
    want "restart" inside systemctl restart $unit
    wait_for "nothing is delivered after a restart" 30 delivered 0
done
echo "  (the last one had delivered $at)"
pid=$(show MainPID)
peak=$(inside sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$pid/status")
echo "  peak memory $peak KiB"
[ "$peak" -lt 65536 ] || problem "it took $peak KiB"

echo "the watchdog is fed"
drop_in "[Service]" "LoadCredential=coralogix.key:/srv/stage/coralogix.key" \
    "LoadCredential=acme.token:/srv/stage/acme.token" "WatchdogSec=2" "RestartSec=1"
want "restart" inside systemctl restart $unit
pid=$(show MainPID)
fed=$(show WatchdogTimestampMonotonic)
for _ in 1 2 3 4; do
    last=$fed
    later() { fed=$(show WatchdogTimestampMonotonic) && [ "$fed" -gt "$last" ]; }
    wait_for "the watchdog is not fed" 10 later
done
is MainPID "$pid" || problem "the watchdog ended it"

echo "killed, it is started again; hung, too"
want "kill" inside systemctl kill --signal=KILL $unit
anew() { is ActiveState active && ! is MainPID "$pid" && ! is MainPID 0; }
wait_for "not started again after SIGKILL" 30 anew
pid=$(show MainPID)
inside kill -STOP "$pid"
wait_for "not started again after a hang" 60 anew

echo "reinstalled while it runs: restarted, and nothing is lost"
pid=$(show MainPID)
said=$(inside dpkg -i --force-confold /new.deb 2>&1 </dev/null) || fail "$said"
wait_for "not restarted by the upgrade" 30 anew
: >"$root/srv/stage/quiet"
: >"$root/srv/stage/stop"
wait "$stage" || { cat "$scratch/servers.log" >&2 && problem "the ledger does not balance"; }
tail -n 1 "$scratch/servers.log"

echo "stopped, removed, purged"
want "stop" inside systemctl stop $unit
is Result success || problem "the end was not clean: $(show Result)"
want "purge" inside dpkg -P s1-coralogix
[ ! -e "$root/var/lib/s1-coralogix" ] || fail "the queue is still there"
echo "systemd: started, reloaded, restarted, killed, hung, upgraded, stopped"
