#!/usr/bin/env python3
"""Finds shares on the local DHT and downloads them with no front at all.

Usage: dht_test.py BINARIES [PATTERN]

BINARIES is also to hold kollator-dht. The fronts are there while files are shared; for the downloads of the last test they
are stopped, every one. See suite.py for the rest.
"""

import hashlib
import hmac
import json
import pathlib
import subprocess
import time
import urllib.request

from network import PATIENCE, check_lines, wait_for
from parts import FRONTS, Part
from suite import FOLDER, MIB, run_tests, same, write

WORKERS = (1, 2, 3)


def info_hash(link):
    return link.split("#")[1].split("&")[0]


def stats(net, worker):
    return net.get("/stats", net.base_port + 100 + worker)["dht"]


def total(net, name):
    return sum(stats(net, worker)[name] for worker in WORKERS)


def alone(net, *args, expect=0):
    """Runs `kollator download` as somebody who knows of no front, but of a node of the DHT."""
    env = {name: value for name, value in net.env.items() if name != "KOLLATOR_FRONT"}
    command = net.command("download", *args)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == expect, f"{command}: exit {done.returncode}: {done.stderr}"
    assert "panicked" not in done.stderr, done.stderr
    return done


def on_the_dht(net):
    return ("--dht", "--dht-bootstrap", net.dht)


def announce(net, body):
    """What worker 1 says to an operator who has things announced."""
    key = (pathlib.Path(net.run_dir) / "network.key").read_bytes().strip()
    now = int(time.time() * 1000)
    mac = hmac.new(key, b"POST /dht/announce worker-1 tester:%d" % now, hashlib.sha256).hexdigest()
    request = urllib.request.Request(
        f"http://127.0.0.1:{net.base_port + 101}/dht/announce",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Kollator tester:{now}:{mac}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_what_is_shared_is_announced(net, room):
    before = total(net, "announcements")
    link = net.share(write(room / "source.bin", 9 * MIB, seed="announced"))
    # The share, the share of its file, and three chunks.
    wait_for("announcements", lambda: total(net, "announcements") >= before + 5)
    unknown = "ab" * 32
    # Every worker has what is in S3, and announces it if it is told to.
    done = announce(net, {"shares": [info_hash(link), unknown]})
    assert done["not_held"] == [unknown] and done["queued"] + done["announced"] == [info_hash(link)], done
    wait_for(
        "the announcement", lambda: announce(net, {"shares": [info_hash(link)]})["announced"] == [info_hash(link)]
    )


def test_what_cannot_be_found_is_said(net, room):
    begun = time.monotonic()
    done = alone(net, "ab" * 32, *on_the_dht(net), "--timeout", "4", "--output", room / "output", expect=1)
    assert "nobody" in done.stderr and "DHT" in done.stderr and "ab" * 32 in done.stderr, done.stderr
    assert time.monotonic() - begun < 30, "it waited too long"
    assert not list(room.iterdir()), list(room.iterdir())
    for wrong in ("ab" * 20, "not a hash", ""):
        done = alone(net, wrong, *on_the_dht(net), "--output", room / "output", expect=1)
        assert done.stderr.count("\n") == 1 and (wrong in done.stderr), done.stderr
    done = alone(net, "ab" * 32, "--dht", "--output", room / "output", expect=2)
    assert "--dht-bootstrap" in done.stderr, done.stderr
    done = alone(net, "ab" * 32, "--dht", "--dht-bootstrap", "localhost", "--output", room / "output", expect=2)
    assert "host:port" in done.stderr, done.stderr
    # Nobody listens there.
    nowhere = ("--dht", "--dht-bootstrap", "127.0.0.1:9")
    done = alone(net, "ab" * 32, *nowhere, "--timeout", "4", "--output", room / "output", expect=1)
    assert "no node of the DHT answers" in done.stderr, done.stderr


def test_without_any_front(net, room):
    file = write(room / "file.bin", 20 * MIB + 7, seed="no front")
    for name, size in FOLDER.items():
        write(room / "folder" / name, size)
    hashes = [info_hash(net.share(source)) for source in (file, room / "folder")]
    for name in FRONTS:
        Part(name, net.run_dir).kill()
    for n, (source, share) in enumerate(zip((file, room / "folder"), hashes)):
        output = room / f"output-{n}"
        last = check_lines(alone(net, share, *on_the_dht(net), "--json", "--output", output).stdout)
        assert last["bytes_from"]["http"] == last["bytes_total"] > 0, last
        kinds = {line["kind"] for line in last["lines"] if line["event"] == "source_up"}
        assert kinds == {"http"}, kinds
        if source.is_file():
            same(source, output)
            continue
        for path in (path for path in source.rglob("*") if path.is_file()):
            same(path, output / path.relative_to(source))


if __name__ == "__main__":
    run_tests(globals(), __doc__)
