#!/usr/bin/env bash
# packaging/zig.sh ARG...: zig, as cargo-zigbuild calls it for build.sh. S1C_ZIG names the program.
#
# Whatever links a program is linked once more by zig's own lld, with two options that `zig cc` rejects:
# functions with the same code are kept once (--icf=all), and the relocations of a position-independent
# binary are packed (RELR, which musl applies since 1.2.4). docs/BUILDING.md has what that saves.
set -euo pipefail

links=no
case "${1:-}" in
    cc|c++)
        links=yes
        for argument; do
            case "$argument" in
                -c|-S|-E|-M|-MM|-shared|-r|--version|-v) links=no ;;
            esac
        done
        ;;
esac
[ "$links" = yes ] || exec "$S1C_ZIG" "$@"

said=$(mktemp)
trap 'rm -f "$said"' EXIT
if ! ZIG_VERBOSE_LINK=1 "$S1C_ZIG" "$@" 2> "$said"; then
    cat "$said" >&2
    exit 1
fi
# The command as zig shows it, without quotes: no file of a build has a space in its name. With an empty
# cache zig first links parts of its own to objects (-r), then the program.
command=$(grep '^ld\.lld ' "$said" | grep -v -- ' -r ' | tail -n 1 | grep .) || { cat "$said" >&2; echo "zig.sh: zig did not show its link" >&2; exit 1; }
read -ra words <<<"$command"
"$S1C_ZIG" "${words[@]}" --icf=all --pack-dyn-relocs=relr
