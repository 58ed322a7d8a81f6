#!/bin/sh
# box.sh CGROUP ROOT WORLD BINARY ARGUMENTS...: runs the binary as an appliance would, for
# tests/it/appliance.rs.
#
# Its root holds the binary, /etc/hosts and the directory WORLD, and nothing else: no shell, no
# library, no /proc, no /dev/shm, no /etc/resolv.conf. All of it is read-only but WORLD/queue and
# WORLD/run. It lives in the memory cgroup CGROUP. The mounts are in a namespace of its own and go
# with it; the process keeps the number that this script was started with.
set -eu
if [ "$1" != inside ]; then
    exec unshare --mount --propagation private sh "$0" inside "$@"
fi
group=$2 root=$3 world=$4 binary=$5
shift 5

echo $$ > "$group/cgroup.procs"
mount -t tmpfs -o size=64k,mode=755 box "$root"
mkdir -p "$root/etc" "$root$world"
touch "$root/s1-coralogix"
echo "127.0.0.1 localhost" > "$root/etc/hosts"
mount --bind "$binary" "$root/s1-coralogix"
mount -o remount,bind,ro "$root/s1-coralogix"
mount --bind "$world" "$root$world"
mount -o remount,bind,ro "$root$world"
for writable in queue run; do
    mount --bind "$world/$writable" "$root$world/$writable"
done
mount -o remount,ro "$root"
exec chroot "$root" /s1-coralogix "$@"
