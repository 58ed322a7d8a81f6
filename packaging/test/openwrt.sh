#!/bin/bash
# openwrt.sh: the .ipk and the .apk unpacked into a root of busybox alone, their scripts run, and the
# service asked for by the shipped init script, with stand-ins for opkg, apk, UCI and procd: the real
# ones are in none of the registries that this project may use.
# shellcheck source=packaging/test/lib.sh
. "$(dirname "$0")/lib.sh"

ipk=$packages/s1-coralogix-$version-r1_openwrt_x86_64.ipk
apk=${ipk%.ipk}.apk
[ -f "$ipk" ] || skip "there is no ${ipk##*/}"
busybox=$(command -v busybox) || skip "busybox is not installed"
! ldd "$busybox" >/dev/null 2>&1 || skip "this busybox is not static"

# The least that OpenWrt has.
new_root() {
    root=$scratch/$1
    mkdir "$root"
    mount -t tmpfs -o size=64m tmpfs "$root"
    mkdir -p "$root"/{bin,etc/init.d,etc/config,lib,proc,sys,dev,srv,tmp,usr/bin,usr/lib/opkg/info}
    cp "$busybox" "$root/bin/busybox"
    "$root/bin/busybox" --install -s "$root/bin"
    # As installed from inside.
    find "$root/bin" -type l -exec ln -sf busybox {} \;
    ln -s tmp "$root/var"
    echo root:x:0:0:root:/:/bin/sh >"$root/etc/passwd"
    echo root:x:0: >"$root/etc/group"
    echo nameserver 127.0.0.1 >"$root/etc/resolv.conf"
    echo UTC0 >"$root/etc/TZ"
    cp packaging/openwrt/stub/functions.sh "$root/lib/functions.sh"
    cp packaging/openwrt/stub/rc.common "$root/etc/rc.common"
    chmod +x "$root/etc/rc.common"
    mount -t proc proc "$root/proc"
    mknod -m 0666 "$root/dev/null" c 1 3
    # /proc is the machine's, where others may run one.
    printf '#!/bin/sh\nexit 1\n' >"$root/var/pidof"
    mv -f "$root/var/pidof" "$root/bin/pidof"
    chmod +x "$root/bin/pidof"
}
inside() { chroot "$root" /bin/busybox env -i PATH=/bin:/usr/bin "$@"; }
same() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }
says() { grep -qF -- "$2" <<<"$1" || fail "this is not said: $2, but: $1"; }

serve() {
    echo "  not configured: it says so and asks procd for nothing"
    said=$(inside /etc/init.d/s1-coralogix start 2>&1) && fail "started without settings"
    says "$said" "set domain and tenant in /etc/config/s1-coralogix first"
    [[ $said != *procd_open_instance* ]] || fail "procd was asked: $said"

    echo "  configured"
    sed -i "s#option domain ''#option domain 'eu2.coralogix.com'#
        s#option tenant ''#option tenant 'https://usea1-acme.sentinelone.net'#" \
        "$root/etc/config/s1-coralogix"
    for secret in coralogix.key acme.token; do
        echo made-up >"$root/etc/s1-coralogix/$secret"
        chmod 0644 "$root/etc/s1-coralogix/$secret"
    done
    said=$(inside /etc/init.d/s1-coralogix start 2>&1) || fail "$said"
    good=$said
    for line in \
        "procd_set_param [command] [/usr/bin/s1-coralogix] [--config] [/var/etc/s1-coralogix/config.toml] [run]" \
        "procd_set_param [user] [s1-coralogix]" "procd_set_param [no_new_privs] [1]" \
        "procd_set_param [file] [/var/etc/s1-coralogix/config.toml] [/usr/bin/s1-coralogix]" \
        "procd_set_param [respawn] [3600] [10] [0]" "procd_set_param [stderr] [1]" \
        "procd_add_jail [s1-coralogix] [procfs]" "procd_add_jail_mount [/etc/s1-coralogix]" \
        "procd_add_jail_mount_rw [/srv/s1-coralogix]" \
        "procd_add_raw_trigger [interface.*.up] [2000] [/etc/init.d/s1-coralogix] [online]"; do
        says "$said" "$line"
    done
    # This root is a tmpfs of 64 MiB, as an OpenWrt without flash is.
    says "$said" "/srv/s1-coralogix is in memory"
    grep -q '^max_size = "32768KiB"$' "$root/var/etc/s1-coralogix/config.toml" || fail "max_size"
    grep -q '^min_free = "8192KiB"$' "$root/var/etc/s1-coralogix/config.toml" || fail "min_free"
    for secret in coralogix.key acme.token; do
        same "$(inside stat -c '%a %U' /etc/s1-coralogix/$secret)" "600 s1-coralogix" $secret
    done
    same "$(inside stat -c '%a %U:%G' /var/etc/s1-coralogix/config.toml)" \
        "640 root:s1-coralogix" "the made config"
    same "$(inside stat -c '%a %U' /srv/s1-coralogix)" "700 s1-coralogix" "queue"
    grep -q '^write = "on-failure"$' "$root/var/etc/s1-coralogix/config.toml" || fail "write"
    # What was made is a config, for the program as installed, found without an option.
    said=$(inside s1-coralogix check --offline 2>&1) || fail "$said"
    says "$said" "valid"

    echo "  a config that can't be used is not started, and said; what runs is left alone"
    cp "$root/var/etc/s1-coralogix/config.toml" "$scratch/former.toml"
    # The last section of the file takes it.
    printf '\toption no_such_setting 1\n' >>"$root/etc/config/s1-coralogix"
    said=$(inside /etc/init.d/s1-coralogix reload 2>&1) && fail "started with a wrong setting"
    says "$said" "no_such_setting"
    says "$said" "goes on with the former ones"
    grep -q no_such_setting "$root/var/etc/s1-coralogix/config.refused" || fail "status has nothing to tell"
    same "$(inside stat -c '%a %U:%G' /var/etc/s1-coralogix/config.refused)" \
        "640 root:s1-coralogix" "what is wrong with the settings"
    [[ $said != *procd_* ]] || fail "procd was asked: $said"
    echo nameserver 192.0.2.9 >"$root/etc/resolv.conf"
    said=$(inside /etc/init.d/s1-coralogix online 2>&1) && fail "restarted with a wrong setting"
    [[ $said != *procd_* && $said != *stop* ]] || fail "procd was asked: $said"
    echo nameserver 127.0.0.1 >"$root/etc/resolv.conf"
    cmp "$scratch/former.toml" "$root/var/etc/s1-coralogix/config.toml" || fail "the former config is gone"
    echo "  nor does a start or a restart stop it, or an upgrade leave it stopped"
    printf "\toption ca_file '/etc/elsewhere.pem'\n" >>"$root/etc/config/s1-coralogix"
    : >"$root/var/procd-runs"
    said=$(inside /etc/init.d/s1-coralogix restart 2>&1) && fail "restarted with a wrong setting"
    says "$said" "goes on with the former ones"
    [[ $said != *procd_* && $said != *stop* ]] || fail "what runs was stopped: $said"
    said=$(inside /etc/init.d/s1-coralogix start 2>&1) || fail "$said"
    says "$said" "goes on with the former ones"
    same "$(grep ^procd_ <<<"$said")" "$(grep ^procd_ <<<"$good")" "what procd is offered"
    said=$(inside PKG_UPGRADE=1 /etc/init.d/s1-coralogix upgrading 2>&1) || fail "$said"
    inside /etc/init.d/s1-coralogix stop >/dev/null
    said=$(inside /etc/init.d/s1-coralogix start 2>&1) || fail "an upgrade leaves it stopped: $said"
    same "$(grep ^procd_ <<<"$said")" "$(grep ^procd_ <<<"$good")" "what procd is offered after an upgrade"
    echo "  what was stopped by hand stays stopped until the settings can be used"
    said=$(inside /etc/init.d/s1-coralogix start 2>&1) && fail "started with a wrong setting"
    [[ $said != *procd_* ]] || fail "procd was asked: $said"
    said=$(inside /etc/init.d/s1-coralogix restart 2>&1) && fail "restarted with a wrong setting"
    [[ $said != *procd_* ]] || fail "procd was asked: $said"
    sed -i '/no_such_setting/d; /elsewhere.pem/d' "$root/etc/config/s1-coralogix"

    echo "  a directory that is not the queue's is not taken"
    for dir in / /srv /proc; do
        owner=$(inside stat -c '%a %u' $dir)
        sed -i "s#option dir .*#option dir '$dir'#" "$root/etc/config/s1-coralogix"
        said=$(inside /etc/init.d/s1-coralogix reload 2>&1) && fail "$dir is a queue"
        says "$said" "queue.dir $dir is a whole disk or holds other things"
        same "$(inside stat -c '%a %u' $dir)" "$owner" "$dir"
    done
    sed -i "s#option dir .*#option dir '/srv/s1-coralogix'#" "$root/etc/config/s1-coralogix"

    # shellcheck disable=SC2088 # as it is typed into UCI
    for dir in here here/too '~/queue'; do
        sed -i "s#option dir .*#option dir '$dir'#" "$root/etc/config/s1-coralogix"
        said=$(inside timeout 60 /etc/init.d/s1-coralogix reload 2>&1) && fail "$dir is a queue"
        says "$said" "\"$dir\" is not an absolute path"
        grep -q "is not an absolute path" "$root/var/etc/s1-coralogix/config.refused" || fail "status has nothing to tell"
    done
    echo "  a queue of another user number, as after a restore, is"
    cp -r tests/golden/format-1/waiting/queue "$root/srv/restored"
    chown -R 65599:65599 "$root/srv/restored"
    sed -i "s#option dir .*#option dir '/srv/restored'#" "$root/etc/config/s1-coralogix"
    said=$(inside /etc/init.d/s1-coralogix start 2>&1) || fail "$said"
    says "$said" "procd_add_jail_mount_rw [/srv/restored]"
    same "$(inside find /srv/restored ! -user s1-coralogix)" "" "what is not the program's there"
    sed -i "s#option dir .*#option dir '/srv/s1-coralogix'#" "$root/etc/config/s1-coralogix"

    echo "  additions in config.d, which what runs keeps where they can't be used"
    mkdir -p "$root/etc/s1-coralogix/config.d"
    printf '[queue]\ndir = "/srv/added"\n[metrics]\nfile = "/srv/metrics/s1.prom"\n' \
        >"$root/etc/s1-coralogix/config.d/1.toml"
    said=$(inside /etc/init.d/s1-coralogix start 2>&1) || fail "$said"
    says "$said" "procd_add_jail_mount_rw [/srv/added]"
    says "$said" "procd_add_jail_mount_rw [/srv/metrics]"
    says "$said" "[/usr/bin/s1-coralogix] [/var/etc/s1-coralogix/config.d/1.toml]"
    same "$(inside stat -c '%a %U' /srv/added)" "700 s1-coralogix" "the queue of config.d"
    printf '[log]\nlevel = "loud"\n' >"$root/etc/s1-coralogix/config.d/2.toml"
    said=$(inside /etc/init.d/s1-coralogix reload 2>&1) && fail "started with a wrong addition"
    says "$said" "/etc/s1-coralogix/config.d/2.toml:2"
    says "$said" "goes on with the former ones"
    said=$(inside s1-coralogix --config /var/etc/s1-coralogix/config.toml check --offline 2>&1) ||
        fail "what procd starts again: $said"
    rm -r "$root/etc/s1-coralogix/config.d"

    echo "  an interface comes up"
    inside /etc/init.d/s1-coralogix start >/dev/null
    says "$(inside /etc/init.d/s1-coralogix online)" "procd_send_signal [s1-coralogix] [*] [USR1]"
    echo nameserver 192.0.2.1 >"$root/etc/resolv.conf"
    says "$(inside /etc/init.d/s1-coralogix online)" "procd_open_instance"
}

# What sysupgrade keeps: these paths, whole.
keeps() {
    while read -r kept; do
        [ -e "$root$kept" ] || fail "keep.d names $kept, which is not there"
    done <"$root/lib/upgrade/keep.d/s1-coralogix"
    ! grep -q srv "$root/lib/upgrade/keep.d/s1-coralogix" || fail "every backup takes the queue"
    echo record >"$root/srv/s1-coralogix/record"
    hook() {
        # shellcheck disable=SC2016 # for the shell inside
        inside "$@" sh -c '. /lib/upgrade/s1-coralogix.sh; : >/var/list
            for one in $sysupgrade_init_conffiles; do $one /var/list; done; cat /var/list' 2>/dev/null
    }
    same "$(hook CONF_BACKUP=/mnt/backup.tgz)" "" "the queue in a backup"
    same "$(hook CONF_BACKUP=)" "stop
/srv/s1-coralogix/record" "the queue in an upgrade, at rest"
    same "$(hook CONF_BACKUP_LIST=1)" "/srv/s1-coralogix/record" "a list stops nothing"
}

# upgrade SCRIPT: a service that was disabled is neither enabled nor started by it.
upgraded() {
    inside /etc/init.d/s1-coralogix enable >/dev/null
    said=$(inside "$@" 2>&1) || fail "$said"
    says "$said" "procd_open_instance"
    [[ $said != *stop* ]] || fail "an upgrade stops what it started: $said"
    inside /etc/init.d/s1-coralogix disable >/dev/null
    said=$(inside "$@" 2>&1) || fail "$said"
    ! inside /etc/init.d/s1-coralogix enabled || fail "an upgrade enables what was disabled"
    same "$(tail -n 1 <<<"$said")" stop "a disabled service after an upgrade"
}

echo "ipk"
new_root ipk
mkdir "$scratch/control"
tar -xzOf "$ipk" ./control.tar.gz | tar -xz -C "$scratch/control"
cp "$scratch/control/control" "$root/usr/lib/opkg/info/s1-coralogix.control"
for script in preinst postinst prerm; do
    cp "$scratch/control/$script" "$root/usr/lib/opkg/info/s1-coralogix.$script"
done
want preinst inside /usr/lib/opkg/info/s1-coralogix.preinst
tar -xzOf "$ipk" ./data.tar.gz | tar -xz -C "$root"
said=$(inside /usr/lib/opkg/info/s1-coralogix.postinst configure 2>&1) || true
says "$said" "enable 95 10"
serve
keeps
# opkg says so in the environment.
upgraded PKG_UPGRADE=1 /usr/lib/opkg/info/s1-coralogix.postinst configure
says "$(inside /usr/lib/opkg/info/s1-coralogix.prerm remove)" disable
sed "s/uname -m/echo mips/" "$scratch/control/preinst" >"$root/preinst"
chmod +x "$root/preinst"
! inside /preinst 2>/dev/null || fail "installs on another processor"

echo "apk"
want "its reader" python3 packaging/openwrt/apk.py test
new_root apk
python3 packaging/openwrt/apk.py extract "$apk" "$root"
chown -R 0:0 "$root/etc" "$root/usr" "$root/lib"
python3 packaging/openwrt/apk.py read "$apk" >"$scratch/apk.json"
for script in pre-install post-install post-upgrade; do
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["scripts"][sys.argv[2]], end="")' \
        "$scratch/apk.json" $script >"$root/$script"
    chmod +x "$root/$script"
done
want pre-install inside /pre-install
said=$(inside /post-install 2>&1) || true
says "$said" "enable 95 10"
grep -q '^/etc/init.d/s1-coralogix$' "$root/lib/apk/packages/s1-coralogix.list" || fail list
serve
keeps
upgraded /post-upgrade

# One tree, two packages: the same files but for what each manager wants beside them.
diff <(cd "$scratch/ipk" && find etc/init.d etc/config etc/s1-coralogix usr/bin lib/upgrade -name '*s1-coralogix*' | sort) \
    <(cd "$scratch/apk" && find etc/init.d etc/config etc/s1-coralogix usr/bin lib/upgrade -name '*s1-coralogix*' | sort) ||
    fail "the two packages differ"
echo "openwrt: ipk and apk unpacked, configured, refused, asked of procd"
