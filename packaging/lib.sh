# What the packaging scripts share: the names of things, and the tree that .deb and .rpm have in
# common. Sourced from the top of the checkout; it runs nothing by itself.
# shellcheck shell=sh disable=SC2034 # the variables are for those that source this

dist=${CARGO_TARGET_DIR:-target}/dist
all_targets="x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf \
arm-unknown-linux-musleabihf i686-unknown-linux-musl"

version=${S1C_PACKAGE_VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)}
# Packaged anew without a new version of the program: raise this.
release=1
summary="Forwards SentinelOne threats and activities to Coralogix"
maintainer="s1-coralogix maintainers <maintainers@s1-coralogix.example>"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}"
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC

fail() {
    echo "packaging: $*" >&2
    exit 1
}

# names TARGET: what each family calls this machine; nothing where it has no package for it.
names() {
    case $1 in
        x86_64-unknown-linux-musl)
            arch=x86_64 deb_arch=amd64 rpm_arch=x86_64 machines="x86_64" ;;
        aarch64-unknown-linux-musl)
            arch=aarch64 deb_arch=arm64 rpm_arch=aarch64 machines="aarch64" ;;
        armv7-unknown-linux-musleabihf)
            arch=armv7 deb_arch=armhf rpm_arch=armv7hl machines="armv7l armv8l" ;;
        # Runs on ARMv7 too, and on an aarch64 kernel with a 32-bit system.
        arm-unknown-linux-musleabihf)
            arch=armv6 deb_arch=armhf rpm_arch="" machines="armv6l armv7l armv8l" ;;
        i686-unknown-linux-musl)
            arch=i686 deb_arch=i386 rpm_arch=i686 machines="i686 x86_64" ;;
        *) fail "there is no target $1; the targets are $all_targets" ;;
    esac
}

# Raspberry Pi OS runs its armhf on ARMv6 boards as well, so where there is an ARMv6 binary, the one
# .deb named armhf holds that. It is 2 % larger and runs on both.
is_armhf_of_another() {
    [ "$1" = armv7-unknown-linux-musleabihf ] &&
        [ -x "$dist/arm-unknown-linux-musleabihf/s1-coralogix" ]
}

# put MODE FROM TO
put() {
    mkdir -p "$(dirname "$3")"
    install -m "$1" "$2" "$3"
}

pack() {
    mkdir -p "$(dirname "$2")"
    gzip -9nc "$1" > "$2"
    chmod 0644 "$2"
}

# papers DIR: the README with all that it and the pages of docs/ link to, so that each link leads
# somewhere.
papers() {
    for paper in README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs/*.md docs/status.schema.json \
        docs/alerts/* docs/dashboards/*; do
        put 0644 "$paper" "$1/$paper"
    done
    put 0644 packaging/config.example.toml "$1/config.example.toml"
    mkdir -p "$1/packaging"
    ln -sfn ../config.example.toml "$1/packaging/config.example.toml"
}

# stage DIR BINARY: the tree of a system with systemd.
stage() {
    rm -rf "$1"
    put 0755 "$2" "$1/usr/bin/s1-coralogix"
    # The example grows with every setting; the config itself is the administrator's from the start.
    put 0644 packaging/config.toml "$1/usr/share/s1-coralogix/config.toml"
    mkdir -p "$1/etc/s1-coralogix/config.d"
    put 0644 packaging/systemd/s1-coralogix.service "$1/usr/lib/systemd/system/s1-coralogix.service"
    papers "$1/usr/share/doc/s1-coralogix"
    for page in docs/man/*.[1-8]; do
        [ ! -f "$page" ] || pack "$page" "$1/usr/share/man/man${page##*.}/${page##*/}.gz"
    done
    [ ! -f docs/completions/s1-coralogix.bash ] || put 0644 docs/completions/s1-coralogix.bash \
        "$1/usr/share/bash-completion/completions/s1-coralogix"
    [ ! -f docs/completions/_s1-coralogix ] || put 0644 docs/completions/_s1-coralogix \
        "$1/usr/share/zsh/vendor-completions/_s1-coralogix"
    [ ! -f docs/completions/s1-coralogix.fish ] || put 0644 docs/completions/s1-coralogix.fish \
        "$1/usr/share/fish/vendor_completions.d/s1-coralogix.fish"
    set_times "$1"
}

set_times() {
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# The same bytes from the same tree, whoever packs it and when.
tarball() {
    tar --format=gnu --numeric-owner --owner=0 --group=0 --sort=name \
        --mtime="@$SOURCE_DATE_EPOCH" "$@"
}
