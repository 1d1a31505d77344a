#!/bin/sh
# Measures what a worker bears: first frames from its cache and from S3, memory and rate of many data channels; see
# docs/performance.md. Needs python3, and cargo where there are no release binaries yet. `worker.sh --help` lists the
# options.
set -eu
# -B: leave no compiled files in the source tree.
exec python3 -B "$(dirname "$0")/worker.py" "$@"
