#!/usr/bin/env python3
"""Fetches shares over a worker's HTTP with programs that know nothing of Kollator: curl, aria2 and libtorrent.

Usage: web_seed_test.py BINARIES [PATTERN]

libtorrent (PyPI `libtorrent`, 2.x) gets a `.ko` and nothing else: no DHT, no trackers, no peers. aria2 is tried where it
is installed. See suite.py for the rest.
"""

import hashlib
import hmac
import json
import os
import pathlib
import shutil
import subprocess
import time
import urllib.parse

from network import PATIENCE, wait_for
from suite import FOLDER, KIB, MIB, Skipped, run_tests, same, write


def curl(url, *options, into=None):
    """Status, headers by lower-case name, and body of what curl gets."""
    command = ["curl", "-sS", "--max-time", str(PATIENCE), "--path-as-is", "-D", "-", "-o", str(into or "/dev/stdout")]
    done = subprocess.run([*command, *options, url], capture_output=True, timeout=PATIENCE + 10, check=False)
    assert done.returncode == 0, f"curl {url}: exit {done.returncode}: {done.stderr.decode()}"
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(status.split()[1]), headers, body


def info_hash(link):
    return link.split("#")[1].split("&")[0]


def workers(net):
    return [f"http://127.0.0.1:{net.base_port + 100 + n}" for n in (1, 2, 3)]


def ko_of(net, ko):
    """What `kollator info` says of a `.ko`."""
    return json.loads(net.run("info", ko, "--json").stdout)


def seeded(torrent, output):
    """Downloads a `.ko` with libtorrent from nothing but its web seeds."""
    import libtorrent as lt

    quiet = {f"enable_{name}": False for name in ("dht", "lsd", "upnp", "natpmp")}
    session = lt.session({**quiet, "listen_interfaces": "127.0.0.1:0", "ssrf_mitigation": False})
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(lt.bdecode(torrent))
    params.save_path = str(output)
    assert not list(params.ti.trackers()), "there are trackers"
    handle = session.add_torrent(params)
    try:
        wait_for("libtorrent's download", lambda: handle.status().is_seeding, PATIENCE)
        status = handle.status()
        assert status.num_peers <= 1, f"{status.num_peers} peers besides the web seed"
    finally:
        session.remove_torrent(handle)


def test_ranges(net, room):
    source = write(room / "source.bin", 9 * MIB + 5, seed="ranges")
    data = source.read_bytes()
    link = net.share(source)
    for worker in workers(net):
        url = f"{worker}/files/{info_hash(link)}/source.bin"
        for text, expected in {
            "0-0": data[:1],
            "0-16384": data[:16385],
            f"{4 * MIB - 3}-{4 * MIB + 2}": data[4 * MIB - 3 : 4 * MIB + 3],
            f"{5 * MIB}-": data[5 * MIB :],
            "-100": data[-100:],
            f"{len(data) - 1}-{len(data) + 7}": data[-1:],
        }.items():
            status, headers, body = curl(url, "-r", text)
            assert (status, body) == (206, expected), f"{text}: {status}, {len(body)} bytes"
            assert int(headers["content-length"]) == len(expected), headers
            first, last = headers["content-range"].removeprefix("bytes ").split("/")[0].split("-")
            assert data[int(first) : int(last) + 1] == expected, headers
        status, headers, _ = curl(url, "-r", f"{len(data)}-")
        assert (status, headers["content-range"]) == (416, f"bytes */{len(data)}"), headers
        # curl waits for a body no more after HEAD, and writes the headers in its place.
        status, headers, _ = curl(url, "-I", into=os.devnull)
        assert (status, int(headers["content-length"])) == (200, len(data)), headers
        assert headers["accept-ranges"] == "bytes" and headers["access-control-allow-origin"] == "*", headers
        tag = headers["etag"]
        assert curl(url, "-H", f"If-None-Match: {tag}")[0] == 304
        assert curl(url, "-H", 'If-Range: "another"', "-r", "0-0")[0] == 200
        assert curl(url, "-H", f"If-Range: {tag}", "-r", "0-0")[0] == 206


def test_whole_files(net, room):
    source = write(room / "source.bin", 20 * MIB + 1, seed="whole")
    hash_of = info_hash(net.share(source))
    url = f"{workers(net)[0]}/files/{hash_of}/source.bin"
    assert curl(url, into=room / "by-curl")[0] == 200
    same(source, room / "by-curl")
    if shutil.which("aria2c") is None:
        print("  aria2 is not installed", flush=True)
        return
    command = ["aria2c", "-q", "-x4", "-s4", "-k1M", "-d", str(room), "-o", "by-aria2", url]
    subprocess.run(command, timeout=PATIENCE, check=True)
    same(source, room / "by-aria2")


def test_a_folder_and_what_is_not_in_it(net, room):
    for name, size in FOLDER.items():
        write(room / "source" / name, size)
    worker = workers(net)[1]
    base = f"{worker}/files/{info_hash(net.share(room / 'source'))}"
    for name in FOLDER:
        status, _, body = curl(f"{base}/source/{urllib.parse.quote(name)}")
        assert status == 200 and body == (room / "source" / name).read_bytes(), f"{name}: {status}"
    for path in ("source/nowhere", "source/nested", "source", "../../etc/passwd", "source/..%2f..%2fsame", "same"):
        assert curl(f"{base}/{path}")[0] == 404, path
    assert curl(f"{worker}/files/{'ab' * 32}/source/same")[0] == 404


def test_libtorrent_needs_nothing_but_the_web_seed(net, room):
    try:
        import libtorrent  # noqa: F401
    except ImportError:
        raise Skipped("libtorrent is not installed") from None
    single = write(room / "single file.bin", 9 * MIB + 5, seed="single")
    for name, size in FOLDER.items():
        write(room / "folder" / name, size)
    write(room / "of one" / "nested" / "file", 100_000, seed="one")
    for source in (single, room / "folder", room / "of one"):
        ko = room / f"{source.name}.ko"
        link = net.share(source, "--ko", ko, "--piece-length", "64KiB")
        urls = ko_of(net, ko)["web_seeds"]
        assert urls in [[f"{worker}/files/{info_hash(link)}/"] for worker in workers(net)], urls
        kos = [ko.read_bytes()]
        # One that somebody opens later, from another worker.
        for worker in workers(net):
            status, headers, body = curl(f"{worker}/torrents/{info_hash(link)}.ko")
            assert (status, headers["content-type"]) == (200, "application/x-bittorrent"), headers
            kos.append(body)
        assert len(set(kos[1:])) == 3 and kos[0] in kos[1:], "each worker names itself"
        for n, torrent in enumerate(kos[:3]):
            output = room / f"output-{source.name}-{n}"
            seeded(torrent, output)
            if source.is_file():
                same(source, output / source.name)
                continue
            for path in (path for path in source.rglob("*") if path.is_file()):
                same(path, output / path.relative_to(room))


def test_chunks(net, room):
    source = write(room / "source.bin", 300 * KIB, seed="chunks")
    data = source.read_bytes()
    link = net.share(source, "--piece-length", "64KiB")
    url = f"{workers(net)[0]}/files/{info_hash(link)}/source.bin"
    assert curl(url)[2] == data

    def listed(worker):
        names, after = [], ""
        while after is not None:
            page = json.loads(curl(f"{worker}/chunks?limit=7{after}")[2])
            names += page["chunks"]
            after = page["next"] and f"&after={page['next']}"
        assert names == sorted(names) and len(set(names)) == len(names), names
        return {name for name in names if curl(f"{worker}/chunks/{name}")[2] in data}

    # Each in the cache of its home, or of whoever took it.
    wait_for("the chunks in the caches", lambda: len(set().union(*map(listed, workers(net)))) >= 5)


def test_the_cache_is_cleared_by_whoever_has_the_key(net, room):
    source = write(room / "source.bin", 100 * KIB, seed="clear")
    worker = workers(net)[2]
    url = f"{worker}/files/{info_hash(net.share(source))}/source.bin"
    assert curl(url)[0] == 200
    key = (pathlib.Path(net.run_dir) / "network.key").read_bytes().strip()

    def clear(key):
        now = int(time.time() * 1000)
        mac = hmac.new(key, b"POST /cache/clear worker-3 tester:%d" % now, hashlib.sha256).hexdigest()
        return curl(f"{worker}/cache/clear", "-X", "POST", "-H", f"Authorization: Kollator tester:{now}:{mac}")

    assert curl(f"{worker}/cache/clear", "-X", "POST")[0] == 401
    assert clear(b"another key of sixteen bytes")[0] == 401
    status, _, body = clear(key)
    assert status == 200 and json.loads(body)["removed"] >= 1, body
    assert curl(url)[2] == source.read_bytes()


def test_statistics(net, _room):
    for worker in workers(net):
        stats = json.loads(curl(f"{worker}/stats")[2])
        for group, names in {
            "connections": ("active", "total"),
            "cache": ("hitRate", "size", "chunks", "evictions"),
            "storage": ("s3Requests", "s3Errors", "uploadedChunks"),
            "store": ("cache_corrupt", "backing_corrupt"),
        }.items():
            assert set(names) <= set(stats[group]), stats
        assert stats["uptime"] >= 0 and stats["storage"]["s3Requests"] > 0, stats
        status, headers, body = curl(f"{worker}/metrics")
        assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4"), headers
        assert b"\nkollator_worker_cache_corrupt_total 0\n" in body, body


if __name__ == "__main__":
    run_tests(globals(), __doc__)
