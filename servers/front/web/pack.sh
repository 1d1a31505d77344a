#!/usr/bin/env bash
# Bundles the page, the library and the peer's machine, which build.sh has built, into dist: what the front is compiled
# with. Does nothing if nothing has changed since the last time.
set -euo pipefail
# shellcheck source=testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../../testbed/lib.sh"

WEB=$ROOT/servers/front/web
DIST=$WEB/dist
MACHINE=dist-wasm/kollator_machine.wasm
cd "$WEB"
[[ -s $MACHINE ]] || die "$WEB/$MACHINE is missing; build.sh builds it"

# Names what goes into the bundle, to the byte.
sources() {
    find package.json package-lock.json pack.sh compress.mjs $MACHINE client app \
        -name node_modules -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
}

say "== the web app"
if [[ -s $DIST/index.html && $(sources) == "$(cat "$DIST/.sources" 2>/dev/null)" ]]; then
    say "$DIST is up to date"
    exit 0
fi
install_node_modules "$WEB"
PATH=$WEB/node_modules/.bin:$PATH
npm run build --workspace app
node compress.mjs "$DIST"
sources >"$DIST/.sources"
