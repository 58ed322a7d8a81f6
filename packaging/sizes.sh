# How large what users install may be. The one place: build.sh and package.sh hold their results to it.
# Sourced; it runs nothing by itself.
# shellcheck shell=sh disable=SC2034 # the variables are for those that source this

# What a binary of this target must stay below.
max_bytes_of() {
    case "$1" in
        arm*) echo 3670016 ;;
        *) echo 4194304 ;;
    esac
}

# What an .ipk and an .apk must stay below: what is downloaded to a router over its uplink, and about what
# it takes of a compressed flash. The largest, x86_64, has 1.93 MiB.
max_openwrt_bytes=2097152
