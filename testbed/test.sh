#!/usr/bin/env bash
# Runs every test: cargo's (unit, property, simulation) and the web app's; then the released binaries against libtorrent,
# end to end, and while fronts and workers are killed, files rot and S3 fails; the web app in Chromium and Firefox ESR;
# what has to do with S3 against moto too, an S3 server that is not the testbed's own. Installs what that needs and says
# what. Ends with a line `N passed, M failed`.
#
# KOLLATOR_E2E_LARGE=0 leaves out the file of 1 GiB, and has browsers share smaller ones.
set -euo pipefail
# shellcheck source=testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

passed=0
failed=0
output=$(mktemp)
moto_pid=
trap 'rm -f "$output"; [[ -z $moto_pid ]] || kill "$moto_pid"' EXIT

# Adds the `N passed` and `M failed` of every result line that the last command printed; Node.js's test runner says
# `pass N` and `fail M`.
count() {
    local pass fail
    read -r pass fail < <(grep -oE '[0-9]+ (passed|failed)|^(#|ℹ) (pass|fail) [0-9]+' "$output" |
        awk '$2 == "passed" {p += $1} $2 == "failed" {f += $1} $2 == "pass" {p += $3} $2 == "fail" {f += $3}
            END {print p + 0, f + 0}')
    passed=$((passed + pass))
    failed=$((failed + fail))
}

# Runs a command, shows what it prints, counts its results; one that fails without counting counts as one failure.
run() {
    local before=$failed
    say "== $*"
    if "$@" 2>&1 | tee "$output"; then
        count
    else
        count
        ((failed > before)) || failed=$((failed + 1))
    fi
}

install_missing curl curl python3 python3 cc build-essential chromium chromium firefox-esr firefox-esr ip iproute2 \
    unshare util-linux
export CARGO_TARGET_DIR=$TARGET_DIR
cd "$ROOT"
run cargo test --workspace --locked --no-fail-fast
say "== building the web app"
servers/front/web/build.sh
web() { (cd "$ROOT/servers/front/web" && PATH=$PWD/node_modules/.bin:$PATH "$@"); }
run web npm run check --workspaces --if-present
run web npm test --workspaces --if-present
# Browsers reach nothing but what the test starts.
run web "$ROOT/testbed/browser/netns.sh" npm run test:browser --workspaces --if-present
say "== building release binaries"
cargo build --release --locked -p kollator-front -p kollator-worker -p kollator -p kollator-testbed

# Starts moto on a port of its own. Sets MOTO_URL.
start_moto() {
    local log=$TARGET_DIR/testbed-moto.log
    "$venv/bin/moto_server" -H 127.0.0.1 -p 0 >"$log" 2>&1 &
    moto_pid=$!
    for _ in $(seq 300); do
        MOTO_URL=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$log" | head -n 1) && return
        sleep 0.1
    done
    cat "$log" >&2
    die "moto does not start"
}

venv=$TARGET_DIR/testbed-venv
if ! "$venv/bin/python" -c 'import libtorrent, moto.server' 2>/dev/null; then
    say "installing libtorrent and moto from PyPI into $venv"
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        # Debian keeps venv's bootstrap in a package of its own.
        install_packages python3-venv
    fi
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet 'libtorrent>=2.0,<3' 'moto[server,s3]>=5,<6'
fi
run "$venv/bin/python" testbed/interop/libtorrent_test.py "$BIN/kollator"
run "$venv/bin/python" testbed/e2e/e2e_test.py "$BIN"
run "$venv/bin/python" testbed/e2e/seal_test.py "$BIN"
run "$venv/bin/python" testbed/e2e/web_seed_test.py "$BIN"
run "$venv/bin/python" testbed/e2e/http_source_test.py "$BIN"
run "$venv/bin/python" testbed/e2e/dht_test.py "$BIN"
run "$venv/bin/python" testbed/e2e/failover_test.py "$BIN"
run "$venv/bin/python" testbed/e2e/homes_test.py "$BIN"
run "$venv/bin/python" testbed/e2e/store_test.py "$BIN"
run testbed/browser/run.sh
start_moto
say "== against moto at $MOTO_URL"
KOLLATOR_TEST_S3=$MOTO_URL run cargo test --workspace --locked --test s3
KOLLATOR_S3_URL=$MOTO_URL run "$venv/bin/python" testbed/e2e/e2e_test.py "$BIN" 'sizes|folder|link'
KOLLATOR_S3_URL=$MOTO_URL run "$venv/bin/python" testbed/e2e/store_test.py "$BIN" --rounds 2 --uploads 8

say
say "$passed passed, $failed failed"
((failed == 0))
