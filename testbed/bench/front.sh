#!/bin/sh
# Measures what a front bears: memory a session, relay latency, messages a core-second; see docs/performance.md.
# Needs python3, and cargo where there are no release binaries yet. `front.sh --help` lists the options.
set -eu
# -B: leave no compiled files in the source tree.
exec python3 -B "$(dirname "$0")/front.py" "$@"
