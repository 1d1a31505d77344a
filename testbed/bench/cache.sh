#!/bin/sh
# How often a worker's cache has what it is asked for, beside other policies; see docs/performance.md. It counts, so
# nothing else on the machine changes its numbers. Needs cargo where there is no binary yet. `cache.sh --help` lists
# the options.
set -eu
cd "$(dirname "$0")/../.."
exec cargo run --quiet --locked -p kollator-testbed --bin kollator-hits -- "$@"
