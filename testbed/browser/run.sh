#!/usr/bin/env bash
# Runs the tests in real browsers: a network of its own, Chromium and Firefox ESR, all of it in a network namespace from
# which nothing outside can be reached. Installs what is missing and says what. Ends with a line `N passed, M failed`.
#
#   run.sh [PATTERN]   only the tests whose names the regular expression is found in
#
# Browsers hide loopback from WebRTC, so the namespace has a pair of virtual Ethernet cards; nothing else about the
# browsers is changed. Screenshots and logs of a failure are left in KOLLATOR_ARTEFACTS (default: testbed-browser in
# cargo's target folder).
set -euo pipefail
# shellcheck source=testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

prepare_browsers
"$NODE" "$BROWSER_TESTS/node_modules/typescript/bin/tsc" --noEmit --project "$BROWSER_TESTS"
export KOLLATOR_ARTEFACTS=${KOLLATOR_ARTEFACTS:-$TARGET_DIR/testbed-browser}
mkdir -p "$KOLLATOR_ARTEFACTS"
exec "$BROWSER_TESTS/netns.sh" "$NODE" "$BROWSER_TESTS/main.ts" "$@"
