# Shared by start.sh, check.sh, stop.sh and test.sh: where things are, and how parts are told apart from strangers.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BASE_PORT=${KOLLATOR_BASE_PORT:-8080}
RUN_DIR=${KOLLATOR_TESTBED_DIR:-$ROOT/run}
FRONTS=3
WORKERS=3
PARTS=(s3 dht)
for n in $(seq "$FRONTS"); do PARTS+=("front-$n"); done
for n in $(seq "$WORKERS"); do PARTS+=("worker-$n"); done

S3_PORT=$((BASE_PORT + 200))
# UDP ports of the local DHT: its first node, and above it the workers' own nodes.
DHT_BASE_PORT=$((BASE_PORT + 300))
# Where workers find S3: the network's own server, or a proxy before it, or another server.
S3_URL=${KOLLATOR_S3_URL:-http://127.0.0.1:$S3_PORT}

TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
case $TARGET_DIR in /*) ;; *) TARGET_DIR=$ROOT/$TARGET_DIR ;; esac
BIN=$TARGET_DIR/release
# What the front serves as its page.
WEB_DIST=$ROOT/servers/front/web/dist
BINARIES=(kollator-s3 kollator-dht kollator-front kollator-worker kollator)

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

check_base_port() {
    [[ $BASE_PORT =~ ^[0-9]+$ ]] && ((BASE_PORT >= 1024 && BASE_PORT <= 65232)) ||
        die "KOLLATOR_BASE_PORT must be a port from 1024 to 65232, got '$BASE_PORT'"
}

front_port() { echo $((BASE_PORT + $1 - 1)); }
worker_port() { echo $((BASE_PORT + 100 + $1)); }

# URL at which one part (clients count as one) reaches front N. With KOLLATOR_PROXY_PORT, that is a proxy, which
# chaos.sh has on a port of its own for each pair, so that it can cut them apart.
front_url() {
    local part=$1 n=$2 row
    if [[ -z ${KOLLATOR_PROXY_PORT:-} ]]; then
        echo "http://127.0.0.1:$(front_port "$n")"
        return
    fi
    case $part in
    front-*) row=${part#front-} ;;
    worker-*) row=$((FRONTS + ${part#worker-})) ;;
    clients) row=0 ;;
    esac
    echo "http://127.0.0.1:$((KOLLATOR_PROXY_PORT + row * FRONTS + n - 1))"
}

# URLs of all fronts for one part, comma-separated: those from N on first.
front_urls() {
    local part=$1 first=$2 urls=() i
    for ((i = 0; i < FRONTS; i++)); do urls+=("$(front_url "$part" $(((first - 1 + i) % FRONTS + 1)))"); done
    (IFS=, && echo "${urls[*]}")
}

# What front N is told of all fronts: NAME=URL, comma-separated.
front_peers() {
    local peers=() i
    for i in $(seq "$FRONTS"); do peers+=("front-$i=$(front_url "front-$1" "$i")"); done
    (IFS=, && echo "${peers[*]}")
}

# The moment a process began, in ticks since the machine did: tells a process from a later one with its id.
# Nothing for one that ended and that nobody waited for yet.
began() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name in parentheses may hold spaces; the fields after it do not.
    stat=${stat##*) }
    awk '$1 != "Z" {print $20}' <<<"$stat"
}

# The id of a part that start.sh started and that still runs; fails if there is none.
pid_of() {
    local pid ticks
    read -r pid 2>/dev/null <"$RUN_DIR/pids/$1.pid" || return 1
    read -r ticks 2>/dev/null <"$RUN_DIR/pids/$1.began" || return 1
    [[ $pid =~ ^[0-9]+$ && -n $ticks && $(began "$pid") == "$ticks" ]] && echo "$pid"
}

# Ends a part: SIGTERM, and SIGKILL if it is still there after the seconds given.
end_part() {
    local pid
    if pid=$(pid_of "$1"); then
        kill -TERM "$pid" 2>/dev/null || true
        # A stopped process hears SIGTERM only once it goes on.
        kill -CONT "$pid" 2>/dev/null || true
        for _ in $(seq $(($2 * 10))); do
            pid_of "$1" >/dev/null || break
            sleep 0.1
        done
        if pid_of "$1" >/dev/null; then
            say "$1 did not end within $2 s; killing it"
            kill -KILL "$pid" 2>/dev/null || true
        fi
    fi
    rm -f "$RUN_DIR/pids/$1.pid" "$RUN_DIR/pids/$1.began"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# Whether a node of a DHT answers a ping at a UDP port. The ping's number has the four bytes that the node insists on.
pings() {
    (
        exec 3<>"/dev/udp/127.0.0.1/$1"
        printf 'd1:ad2:id20:testbed-looks-for-ite1:q4:ping1:t4:look1:y1:qe' >&3
        timeout 1 dd bs=2048 count=1 status=none <&3 | LC_ALL=C grep -aq '4:look.*1:y1:r'
    ) 2>/dev/null
}
answers() { curl -fsS --max-time 2 -o /dev/null "$1" 2>/dev/null; }

# Whether a part does what it is there for.
healthy() {
    case $1 in
    s3) listens "$S3_PORT" ;;
    dht) pings "$DHT_BASE_PORT" ;;
    front-*) answers "http://127.0.0.1:$(front_port "${1#front-}")/health" ;;
    worker-*)
        curl -fsS --max-time 2 "http://127.0.0.1:$(worker_port "${1#worker-}")/health" 2>/dev/null |
            grep -q '"online":true'
        ;;
    esac
}

# Whether the fronts agree on one leader, each is in touch with a majority, and each knows every worker as alive.
# Sets DISAGREEMENT to what is wrong.
agreed() {
    local n health leaders=() alive
    for n in $(seq "$FRONTS"); do
        health=$(curl -fsS --max-time 2 "http://127.0.0.1:$(front_port "$n")/health" 2>/dev/null) || health=
        DISAGREEMENT="front-$n is out of touch with the others: ${health:-no answer}"
        grep -q '"quorum":true' <<<"$health" || return 1
        leaders+=("$(grep -oE '"leader":"[^"]*"' <<<"$health")")
        alive=$(curl -fsS --max-time 2 "http://127.0.0.1:$(front_port "$n")/workers" 2>/dev/null |
            grep -o '"alive":true' | wc -l)
        DISAGREEMENT="front-$n knows $alive of $WORKERS workers as alive"
        ((alive == WORKERS)) || return 1
    done
    DISAGREEMENT="the fronts name several leaders: ${leaders[*]}"
    (($(printf '%s\n' "${leaders[@]}" | sort -u | wc -l) == 1)) && [[ -n ${leaders[0]} ]]
}

# Shares a fresh file with one peer, gets it with another, compares. Sets LINK.
round_trip() {
    local dir=$1 bytes=$2 fronts
    fronts=$(front_urls clients 1)
    rm -rf "$dir"
    mkdir -p "$dir"
    head -c "$bytes" /dev/urandom >"$dir/sample.bin"
    LINK=$("$BIN/kollator" --front "$fronts" share "$dir/sample.bin") || return 1
    "$BIN/kollator" --front "$fronts" download "$LINK" --output "$dir/received.bin" || return 1
    cmp "$dir/sample.bin" "$dir/received.bin"
}

# Builds the web app and the binaries, those that are missing. KOLLATOR_WEB=0 leaves the app out.
build_missing() {
    local missing=() binary packages=() stale=
    if [[ ${KOLLATOR_WEB:-1} != 0 && ! -s $WEB_DIST/index.html ]]; then
        CARGO_TARGET_DIR=$TARGET_DIR "$ROOT/servers/front/web/build.sh"
        # One that is there was built without.
        stale=kollator-front
    fi
    for binary in "${BINARIES[@]}"; do
        [[ -x $BIN/$binary && $binary != "$stale" ]] || missing+=("$binary")
    done
    ((${#missing[@]})) || return 0
    command -v cargo >/dev/null || die "cargo is needed to build ${missing[*]}: see https://rustup.rs"
    install_missing cc build-essential
    say "building ${missing[*]} (the first time takes several minutes)"
    for binary in "${missing[@]}"; do
        case $binary in
        kollator-s3 | kollator-dht) packages+=(-p kollator-testbed) ;;
        *) packages+=(-p "$binary") ;;
        esac
    done
    (cd "$ROOT" && CARGO_TARGET_DIR=$TARGET_DIR cargo build --release --locked "${packages[@]}")
}

# Installs Debian packages whose commands are missing; arguments: command package, in pairs.
install_missing() {
    local packages=()
    while (($#)); do
        command -v "$1" >/dev/null || packages+=("$2")
        shift 2
    done
    ((${#packages[@]} == 0)) || install_packages "${packages[@]}"
}

# Installs what DIR/package-lock.json names, if DIR has something else. Its package `node` brings a Node.js that is new
# enough for everything else; npm itself is content with an older one.
install_node_modules() {
    local dir=$1
    cmp -s "$dir/package-lock.json" "$dir/node_modules/.kollator-installed" && return
    install_missing npm npm
    say "installing what ${dir#"$ROOT/"}/package-lock.json names into its node_modules"
    (cd "$dir" && npm ci --no-audit --no-fund --loglevel=error)
    cp "$dir/package-lock.json" "$dir/node_modules/.kollator-installed"
}

# Brings what tests in browsers need, and builds what they test. Sets BROWSER_TESTS, the folder they are in, and NODE.
prepare_browsers() {
    BROWSER_TESTS=$ROOT/testbed/browser
    install_missing chromium chromium firefox-esr firefox-esr ffmpeg ffmpeg ps procps ip iproute2 unshare util-linux \
        curl curl
    build_missing
    install_node_modules "$BROWSER_TESTS"
    NODE=$BROWSER_TESTS/node_modules/.bin/node
    export KOLLATOR_BIN=$BIN
}

install_packages() {
    say "installing $* with apt-get"
    local sudo=()
    ((EUID == 0)) || sudo=(sudo)
    { "${sudo[@]}" apt-get update -qq && "${sudo[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null; } ||
        die "could not install $*; install them and try again"
}
