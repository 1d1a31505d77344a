#!/bin/sh
# Measures how fast fronts show each other's changes, and what they say when nothing changes; see docs/performance.md.
# Needs python3, ss (iproute2), and cargo where there are no release binaries yet. `cluster.sh --help` lists options.
set -eu
# -B: leave no compiled files in the source tree.
exec python3 -B "$(dirname "$0")/cluster.py" "$@"
