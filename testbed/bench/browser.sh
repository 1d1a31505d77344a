#!/usr/bin/env bash
# Measures what the web app makes of a browser: a raw data channel between two tabs, then Kollator from tab to tab and
# from worker to tab, stored and verified; and what loading the page costs. See docs/performance.md. Chromium, in a
# network namespace of its own. Wants a machine that does nothing else.
#
#   browser.sh [MIB] [ROUNDS]   file of so many MiB (200), each measured so often (3)
set -euo pipefail
# shellcheck source=testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

prepare_browsers
exec "$BROWSER_TESTS/netns.sh" "$NODE" "$BROWSER_TESTS/bench.ts" "$@"
