#!/usr/bin/env bash
# Starts a whole Kollator network on this machine and shows that it works: three fronts, three workers, an
# S3-compatible server and a DHT of a few nodes, on 127.0.0.1. Builds what is missing, the web app too (KOLLATOR_WEB=0
# leaves it out). Started twice, it says that the network runs; a part that has ended is started again.
#
# KOLLATOR_TESTBED_DIR (default ./run) and KOLLATOR_BASE_PORT (default 8080) move it: front N listens at
# base + N - 1, worker N at base + 100 + N, S3 at base + 200, the DHT at UDP port base + 300, worker N in it at
# base + 300 + N. KOLLATOR_S3_URL has workers use another S3 server than
# that one. KOLLATOR_SAMPLE_KIB (default 8192) is how much it shares to show that it works: less for slow workers.
# Settings of workers, such as CACHE_SIZE_MB, are passed on to them. End it with stop.sh.
set -euo pipefail
# shellcheck source=testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sample_kib=${KOLLATOR_SAMPLE_KIB:-8192}
[[ $sample_kib =~ ^[1-9][0-9]{0,6}$ ]] || die "KOLLATOR_SAMPLE_KIB must be 1 to 9999999, not \"$sample_kib\""
check_base_port
install_missing curl curl
build_missing
mkdir -p "$RUN_DIR"/{logs,pids,s3,workers}
RUN_DIR=$(cd "$RUN_DIR" && pwd)

# Two starts at once would be two networks in one place.
exec 9>"$RUN_DIR/lock"
flock -n 9 || die "another start.sh works on $RUN_DIR"

running=()
for part in "${PARTS[@]}"; do
    if pid_of "$part" >/dev/null; then running+=("$part"); fi
done
if ((${#running[@]} == ${#PARTS[@]})); then
    say "already running in $RUN_DIR, fronts at $(front_urls clients 1)"
    say "./testbed/check.sh looks closer, ./testbed/stop.sh ends it"
    exit 0
fi

# Starts one part: its name, its TCP port or `udp`, its command.
start() {
    local part=$1 port=$2
    shift 2
    if pid_of "$part" >/dev/null; then return; fi
    [[ $port == udp ]] || ! listens "$port" || die "port $port, where $part is to listen, is taken; set KOLLATOR_BASE_PORT"
    # Its own session: it outlives this shell and hears none of its signals. The lock is not its own.
    setsid "$@" >>"$RUN_DIR/logs/$part.log" 2>&1 </dev/null 9>&- &
    local pid=$!
    began "$pid" >"$RUN_DIR/pids/$part.began"
    echo "$pid" >"$RUN_DIR/pids/$part.pid"
}

# Waits until a part is healthy.
await() {
    for _ in $(seq 150); do
        pid_of "$1" >/dev/null || fail "$1 ended"
        healthy "$1" && return
        sleep 0.1
    done
    fail "$1 is not healthy after 15 s"
}

fail() {
    local part=${1%% *}
    say "last lines of $RUN_DIR/logs/$part.log:" >&2
    tail -n 15 "$RUN_DIR/logs/$part.log" >&2 || true
    die "$1; what was started goes on running until ./testbed/stop.sh"
}

KEY=$RUN_DIR/network.key
if [[ ! -s $KEY ]]; then
    (umask 077 && head -c 32 /dev/urandom | base64 >"$KEY")
fi
export WORKER_SHARED_KEY_PATH=$KEY
# Known only to this network, which listens on 127.0.0.1 alone.
export S3_ACCESS_KEY=testbed S3_SECRET_KEY=testbed-secret
export HOST=127.0.0.1

start s3 "$S3_PORT" "$BIN/kollator-s3" --host 127.0.0.1 --port "$S3_PORT" --root "$RUN_DIR/s3"
start dht udp "$BIN/kollator-dht" --host 127.0.0.1 --port "$DHT_BASE_PORT"
for n in $(seq "$FRONTS"); do
    mkdir -p "$RUN_DIR/fronts/$n"
    port=$(front_port "$n")
    start "front-$n" "$port" env PORT="$port" FRONT_ID="front-$n" FRONT_PEERS="$(front_peers "$n")" \
        PUBLIC_URL="$(front_urls clients 1)" SQLITE_PATH="$RUN_DIR/fronts/$n/front.db" "$BIN/kollator-front"
done
await s3
await dht
for n in $(seq "$FRONTS"); do await "front-$n"; done
for n in $(seq "$WORKERS"); do
    port=$(worker_port "$n")
    start "worker-$n" "$port" env PORT="$port" WORKER_ID="worker-$n" \
        FRONTS="$(front_urls "worker-$n" "$n")" \
        PUBLIC_URL="http://127.0.0.1:$port" S3_ENDPOINT="$S3_URL" S3_BUCKET=kollator-chunks \
        DHT_BOOTSTRAP_NODES="127.0.0.1:$DHT_BASE_PORT" DHT_PORT=$((DHT_BASE_PORT + n)) \
        CACHE_PATH="$RUN_DIR/workers/$n/cache" "$BIN/kollator-worker"
done
for n in $(seq "$WORKERS"); do await "worker-$n"; done
for _ in $(seq 150); do
    agreed && break
    sleep 0.1
done
agreed || fail "front-1 and the others do not agree: $DISAGREEMENT"

say "all parts are up; sharing a sample of $sample_kib KiB with one peer and getting it with another"
round_trip "$RUN_DIR/sample" $((sample_kib * 1024)) || die "the sample did not arrive; see $RUN_DIR/logs"
say "the sample arrived as it was sent"
say
[[ ! -s $WEB_DIST/index.html ]] || say "web app    http://127.0.0.1:$(front_port 1)"
for n in $(seq "$FRONTS"); do say "front-$n    http://127.0.0.1:$(front_port "$n")"; done
for n in $(seq "$WORKERS"); do say "worker-$n   http://127.0.0.1:$(worker_port "$n")/stats"; done
say "S3         $S3_URL"
say "DHT        127.0.0.1:$DHT_BASE_PORT (UDP)"
say "logs       $RUN_DIR/logs"
say
say "Try:"
say "  $BIN/kollator --front $(front_urls clients 1) share README.md"
say "  $BIN/kollator download '$LINK' --output sample.bin"
say "  ./testbed/check.sh; ./testbed/stop.sh"
