#!/usr/bin/env bash
# Ends what start.sh started in KOLLATOR_TESTBED_DIR, and nothing else. Stored files and logs stay.
set -euo pipefail
# shellcheck source=testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

stopped=0
# Workers first: they finish what is open while front and S3 are still there.
for ((i = ${#PARTS[@]} - 1; i >= 0; i--)); do
    part=${PARTS[i]}
    if pid_of "$part" >/dev/null; then
        end_part "$part" 35
        say "stopped $part"
        stopped=1
    fi
    rm -f "$RUN_DIR/pids/$part.pid" "$RUN_DIR/pids/$part.began"
done
((stopped)) || say "nothing runs in $RUN_DIR"
