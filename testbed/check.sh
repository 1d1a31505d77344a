#!/usr/bin/env bash
# Exits 0 when every part of the network that start.sh started is healthy, the fronts agree on a leader and on the
# workers, and a file makes the round trip.
set -euo pipefail
# shellcheck source=testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

check_base_port
bad=0
for part in "${PARTS[@]}"; do
    if ! pid_of "$part" >/dev/null; then
        say "$part: not running"
        bad=1
    elif ! healthy "$part"; then
        say "$part: running, not healthy; see $RUN_DIR/logs/$part.log"
        bad=1
    else
        say "$part: healthy"
    fi
done
((bad == 0)) || die "not all parts are healthy"
agreed || die "$DISAGREEMENT"
say "fronts: agreed"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
round_trip "$dir/check" $((1024 * 1024)) || die "a file did not make the round trip"
say "round trip: right"
