"""One libtorrent peer on loopback, for the comparison in transfer.py.

    libtorrent_peer.py seed  PROFILE FILE TORRENT          makes TORRENT (v2 only) and seeds FILE
    libtorrent_peer.py fetch PROFILE TORRENT FOLDER PORT   gets it from the seed on PORT into FOLDER

Prints one JSON line when it seeds (`{"port": ...}`) or has the verified file (`{"done": true}`); a seed stays until
its standard input ends. PROFILE is `default` or `tuned`; both are confined to TCP on 127.0.0.1, without DHT, local
discovery or port mapping.
"""

import json
import os
import sys
import time

import libtorrent as lt

PIECE_LENGTH = 4 * 1024 * 1024
LOOPBACK_ONLY = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True,
}
PROFILES = {
    "default": {},
    "tuned": {
        # It connects at its next tick, 500 ms apart by default: most of the time that a small file takes.
        "tick_interval": 20,
        # In blocks of 16 KiB; the default of 500 is 8 MB on their way or waiting.
        "max_out_request_queue": 4000,
        "max_allowed_in_request_queue": 8000,
        # Bytes read ahead for the socket; the default of 500 KiB is less than loopback takes at once.
        "send_buffer_watermark": 16 * 1024 * 1024,
        "send_buffer_low_watermark": 1024 * 1024,
        "send_socket_buffer_size": 4 * 1024 * 1024,
        "recv_socket_buffer_size": 4 * 1024 * 1024,
    },
}


def main():
    role, profile, *rest = sys.argv[1:]
    session = lt.session(LOOPBACK_ONLY | PROFILES[profile])
    {"seed": seed, "fetch": fetch}[role](session, *rest)


def seed(session, file, torrent):
    folder = os.path.dirname(file)
    storage = lt.file_storage()
    lt.add_files(storage, file)
    made = lt.create_torrent(storage, PIECE_LENGTH, lt.create_torrent.v2_only)
    lt.set_piece_hashes(made, folder)
    with open(torrent, "wb") as out:
        out.write(lt.bencode(made.generate()))
    handle = add(session, torrent, folder, lt.torrent_flags.seed_mode)
    wait_until_seeding(handle)
    say(port=session.listen_port())
    sys.stdin.read()


def fetch(session, torrent, folder, port):
    handle = add(session, torrent, folder, lt.torrent_flags.default_flags)
    handle.connect_peer(("127.0.0.1", int(port)))
    wait_until_seeding(handle)
    say(done=True)


def add(session, torrent, folder, flags):
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    params.flags = (params.flags | flags) & ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused
    return session.add_torrent(params)


def wait_until_seeding(handle):
    while not handle.status().is_seeding:
        time.sleep(0.002)


def say(**words):
    print(json.dumps(words), flush=True)


main()
