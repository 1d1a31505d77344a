#!/bin/sh
# Measures how fast Kollator moves and hashes files, beside other programs that do; see docs/performance.md.
# Needs python3, and cargo where there are no release binaries yet. `transfer.sh --help` lists the options.
set -eu
exec python3 "$(dirname "$0")/transfer.py" "$@"
