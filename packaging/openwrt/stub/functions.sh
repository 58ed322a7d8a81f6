# A stand-in for what OpenWrt gives an init script, for tests on other machines: UCI read from
# $UCI_DIR, and procd as a list of what was asked of it, one call a line. Own work, from OpenWrt's
# documentation; it knows no more than our script needs.
# shellcheck shell=dash disable=SC2034,SC2154

: "${UCI_DIR:=/etc/config}"

config_cb() { :; }
option_cb() { :; }
list_cb() { :; }

# A file of UCI is a list of these three.
config() {
	unnamed=$((unnamed + 1))
	section=${2:-$(printf 'cfg%06x' "$unnamed")}
	sections="$sections $section"
	eval "config_of_$section=\$1"
	config_cb "$1" "$section"
}
option() {
	eval "config_of_${section}_$1=\$2"
	option_cb "$1" "$2"
}
list() {
	list_cb "$1" "$2"
}

config_load() {
	unnamed=0 sections="" section=""
	# shellcheck source=/dev/null
	. "$UCI_DIR/$1"
	[ -z "$section" ] || config_cb
}
config_foreach() {
	for one in $sections; do
		eval "[ \"\$config_of_$one\" != $2 ]" || "$1" "$one"
	done
}
config_get() {
	eval "$1=\${config_of_$2_$3:-\$4}"
}

for call in procd_open_instance procd_close_instance procd_set_param procd_add_jail \
	procd_add_jail_mount procd_add_jail_mount_rw procd_add_reload_trigger \
	procd_add_raw_trigger procd_send_signal; do
	eval "$call() { printf '%s' $call; for word; do printf ' [%s]' \"\$word\"; done; echo; }"
done

# What procd runs is what was asked of it last; tests say so.
procd_running() { [ -e /var/procd-runs ]; }

# Users, as the package's scripts ask for them.
add_group_and_user() {
	grep -q '^s1-coralogix:' "$root/etc/group" || echo 's1-coralogix:x:400:' >> "$root/etc/group"
	grep -q '^s1-coralogix:' "$root/etc/passwd" ||
		echo 's1-coralogix:x:400:400::/var:/bin/false' >> "$root/etc/passwd"
}
default_postinst() {
	[ "$PKG_UPGRADE" = 1 ] || /etc/init.d/s1-coralogix enable
	/etc/init.d/s1-coralogix start
}
default_prerm() {
	[ "$PKG_UPGRADE" = 1 ] || /etc/init.d/s1-coralogix disable
	/etc/init.d/s1-coralogix stop
}
