#!/bin/sh
# Measures how fast Kollator moves and hashes files, beside other programs that do; see docs/performance.md.
# Needs python3, and cargo where there are no release binaries yet. `transfer.sh --help` lists the options.
set -eu
# -B: leave no compiled files in the source tree.
exec python3 -B "$(dirname "$0")/transfer.py" "$@"
