# Read by sysupgrade. The queue goes along into a new firmware, and into nothing else: a backup that is
# kept would bring back records that were delivered long ago.
# shellcheck shell=dash disable=SC3043,SC2154,SC2034 # ash knows local; sysupgrade has the variables

add_s1_coralogix_queue() {
	local list=$1 dir at best="" left=15
	[ -z "$CONF_BACKUP" ] || return 0
	# The first line is the queue's directory of the last start, additions to the config included.
	dir=$(head -n 1 /var/etc/s1-coralogix/jail 2>/dev/null)
	[ -n "$dir" ] || dir=$(uci -q get s1-coralogix.@queue[0].dir)
	: "${dir:=/srv/s1-coralogix}"
	[ -d "$dir" ] || return 0
	# What is on a disk of its own outlives the firmware where it is.
	while read -r _ at _; do
		case "$dir/" in
		"${at%/}/"*) [ ${#at} -lt ${#best} ] || best=$at ;;
		esac
	done </proc/mounts
	case "$best" in / | /overlay) ;; *) return 0 ;; esac
	if [ "$CONF_BACKUP_LIST" != 1 ]; then
		# An index that is being written is no index; and what is delivered later would be again.
		/etc/init.d/s1-coralogix stop
		while pidof s1-coralogix >/dev/null && [ $left -gt 0 ]; do
			left=$((left - 1))
			sleep 1
		done
	fi
	find "$dir" -type f >>"$list"
}

sysupgrade_init_conffiles="$sysupgrade_init_conffiles add_s1_coralogix_queue"
