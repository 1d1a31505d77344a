#!/usr/bin/env bash
# Torments a network of its own for a while: chaos.sh SECONDS [SEED].
#
# Downloads run all the time, each compared with what was shared, while fronts and workers are killed, stopped,
# restarted and cut off, never more than a minority of the fronts at once and never the last worker. Fails if a
# download fails or differs, two fronts lead the same term, none leads for 5 s, a process dies that nobody killed, one
# panics, or what was broken does not recover. The seed decides what is done; it is drawn and printed if none is given.
# Logs of a run that failed are kept, and it is said where.
set -euo pipefail
# shellcheck source=testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: chaos.sh SECONDS [SEED], both whole numbers"
[[ $# -ge 1 && $# -le 2 && $1 =~ ^[1-9][0-9]{0,5}$ && ${2:-0} =~ ^[0-9]{1,18}$ ]] || die "$usage"
seconds=$1
seed=${2:-$RANDOM$RANDOM}

install_missing curl curl python3 python3
build_missing
dir=$(mktemp -d)
python=

cleanup() {
    local code=$?
    trap '' INT TERM
    if [[ -n $python ]] && kill -TERM "$python" 2>/dev/null; then wait "$python" || true; fi
    KOLLATOR_TESTBED_DIR=$dir/run "$ROOT/testbed/stop.sh" >/dev/null || true
    if ((code == 0)) || [[ ! -d $dir/run/logs ]]; then
        rm -rf "$dir"
    else
        # The logs tell what happened; the bytes do not.
        find "$dir" -mindepth 1 -maxdepth 1 ! -name run -exec rm -rf {} +
        rm -rf "$dir"/run/{s3,workers,sample}
        say "logs are in $dir/run/logs"
    fi
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "chaos for $seconds s, seed $seed, in $dir"
python3 "$ROOT/testbed/chaos/chaos.py" "$BIN" "$dir" "$seconds" "$seed" &
python=$!
wait "$python"
