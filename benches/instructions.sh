#!/usr/bin/env bash
# benches/instructions.sh [--bless]: instructions a record on the pure way, from SentinelOne's page to the
# body for Coralogix, counted by valgrind: the same on a quiet machine and on a busy one.
#
# Fails when a step takes 5 % more than benches/instructions.txt says. --bless writes that file anew.
# A step's count is the difference between three rounds and one, so that what is made before it is not in it.
# It compares only what the same compiler made for a like processor, and says so if it does not.
# S1C_BENCH names a benchmark that was built otherwise, for another target for example.
set -euo pipefail
cd "$(dirname "$0")/.."

baseline=benches/instructions.txt
records=1000
more_percent=5

command -v valgrind >/dev/null || { echo "instructions.sh: install valgrind" >&2; exit 1; }
bench="${S1C_BENCH:-}"
if [ -z "$bench" ]; then
    said=$(cargo bench --locked --bench instructions --no-run 2>&1) || { printf '%s\n' "$said" >&2; exit 1; }
    bench=$(sed -n 's/.*Executable .*(\(.*\))$/\1/p' <<<"$said")
fi
[ -x "$bench" ] || { echo "instructions.sh: there is no benchmark to run: $bench" >&2; exit 1; }

# All instructions of a run.
counted() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$@" 2>&1 >/dev/null \
        | sed -n 's/^==.* Collected : \([0-9]*\)$/\1/p'
}

# Another compiler makes other instructions, and libraries choose theirs by the processor.
made_by="$(rustc --version), $(grep -owm1 avx2 /proc/cpuinfo || echo "no avx2")"
blessed_by=$(sed -n 's/^# by //p' "$baseline" 2>/dev/null || true)

failed=0
found=""
printf '%-10s %12s %12s\n' step instructions committed
for step in scan pack frame body body-cut way; do
    one=$(counted "$step" 1)
    three=$(counted "$step" 3)
    now=$(((three - one) / 2 / records))
    found+="$step $now"$'\n'
    before=$(sed -n "s/^$step \([0-9]*\)$/\1/p" "$baseline" 2>/dev/null || true)
    printf '%-10s %12s %12s\n' "$step" "$now" "${before:-none}"
    if [ "${1:-}" != --bless ] && [ "$made_by" = "$blessed_by" ] && ((now * 100 > ${before:-0} * (100 + more_percent))); then
        echo "instructions.sh: $step takes more than $more_percent % more than $baseline says" >&2
        failed=1
    fi
done
if [ "${1:-}" = --bless ]; then
    printf '# Instructions a record; benches/instructions.sh --bless writes this.\n# by %s\n%s' \
        "$made_by" "$found" > "$baseline"
elif [ "$made_by" != "$blessed_by" ]; then
    echo "instructions.sh: NOT COMPARED: counted by $made_by; $baseline is by $blessed_by" >&2
fi
exit "$failed"
