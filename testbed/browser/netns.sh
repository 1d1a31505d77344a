#!/usr/bin/env bash
# Runs a command in a network namespace of its own, with loopback and one more address (10.77.0.1, on a pair of virtual
# Ethernet cards) that looks like the way to the world and leads nowhere. Root is needed only in the namespace.
set -euo pipefail
if [[ ${1:-} != --inside ]]; then
    own_user=()
    ((EUID == 0)) || own_user=(--map-root-user)
    unshare --net "${own_user[@]}" true 2>/dev/null || {
        echo "netns.sh: $(id -un) may not make a network namespace here; root may, or anyone where user namespaces are on" >&2
        exit 1
    }
    exec unshare --net "${own_user[@]}" -- "${BASH_SOURCE[0]}" --inside "$@"
fi
shift
ip link set lo up
ip link add card type veth peer name socket
ip address add 10.77.0.1/24 dev card
ip link set card up
ip link set socket up
ip route add default dev card
exec "$@"
