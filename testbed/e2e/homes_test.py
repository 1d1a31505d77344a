#!/usr/bin/env python3
"""Workers together: who lacks a chunk asks its home before S3, and goes on without the home, and without S3.

Usage: homes_test.py BINARIES [PATTERN]

The ring of chunks is computed here by its definition in docs/protocol.md, from nothing but names. Needs only the
standard library. See suite.py for the rest.
"""

import hashlib
import hmac
import time
import urllib.error
import urllib.request

from network import wait_for
from parts import WORKERS, Part, port_of
from suite import MIB, run_tests, write

REPLICAS = 40


def home_of(chunk, names):
    """The worker whose point comes first, going round from where the chunk falls."""
    place = int(chunk[:16], 16)
    points = []
    for name in names:
        for number in range(REPLICAS):
            point = int.from_bytes(hashlib.sha256(f"{name}:{number}".encode()).digest()[:8], "big")
            points.append(((point - place) % 2**64, name))
    return min(points)[1]


def stats(net, worker):
    return net.get("/stats", port_of(worker, net.base_port))


def get(net, worker, path):
    """Status and body of what a worker answers, however long it takes."""
    url = f"http://127.0.0.1:{port_of(worker, net.base_port)}{path}"
    try:
        with urllib.request.urlopen(url, timeout=100) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def chunks(net, worker):
    return set(net.get("/chunks", port_of(worker, net.base_port))["chunks"])


def clear(net, worker):
    """Empties a worker's cache."""
    key = (net.run_dir / "network.key").read_bytes().strip()
    now = int(time.time() * 1000)
    proof = hmac.new(key, f"POST /cache/clear {worker} test:{now}".encode(), hashlib.sha256).hexdigest()
    url = f"http://127.0.0.1:{port_of(worker, net.base_port)}/cache/clear"
    request = urllib.request.Request(url, method="POST", headers={"Authorization": f"Kollator test:{now}:{proof}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    wait_for(f"{worker} has forgotten", lambda: not chunks(net, worker))


def together(net, count=len(WORKERS)):
    """Waits until every worker runs and knows so many."""

    def known():
        try:
            return all(stats(net, name)["homes"]["workers"] == count for name in WORKERS)
        except urllib.error.URLError:
            # One that was just started does not listen yet.
            return False

    wait_for("workers know each other", known)


def share(net, room, mib):
    """A share of chunks of 1 MiB; its path on a worker, its bytes, the chunks, in no order, and who holds them now."""
    before = {worker: chunks(net, worker) for worker in WORKERS}
    source = write(room / "source.bin", mib * MIB, seed=f"homes {mib}")
    link = net.share(source, "--piece-length", MIB)

    def holder():
        return next((worker for worker in WORKERS if len(chunks(net, worker) - before[worker]) == mib), None)

    taker = wait_for("its chunks are cached where they were taken", holder)
    path = f"/files/{link.split('#')[1].split('&')[0]}/source.bin"
    return path, source.read_bytes(), chunks(net, taker) - before[taker], taker


def fetched(net):
    return sum(stats(net, worker)["store"]["fetched"] for worker in WORKERS)


def test_s3_is_read_once(net, room):
    """A download through each worker: what one of them has, or should have, the others do not read from S3."""
    together(net)
    path, data, names, taker = share(net, room, 24)
    before = fetched(net)
    for worker in WORKERS:
        status, body = get(net, worker, path)
        assert (status, body == data) == (200, True), f"{worker}: {status}, {len(body)} bytes"
    # Its home has each chunk, or reads it for everybody; where that is the taker, S3 is not read at all.
    expected = sum(home_of(chunk, WORKERS) != taker for chunk in names)
    reads = fetched(net) - before
    print(f"  {len(names)} chunks, {reads} reads of S3 for three downloads; each for itself would take {2 * len(names)}")
    homes = [stats(net, worker)["homes"] for worker in WORKERS]
    asked, hits = (sum(home[count] for home in homes) for count in ("asked", "hits"))
    assert hits > 0 and not sum(home["lies"] for home in homes), homes
    if asked == hits:
        assert reads == expected, f"{reads} reads of S3, not {expected}"
    else:
        # A machine that is too busy lets patience end: those who asked went to S3.
        assert expected <= reads < 2 * len(names), f"{reads} reads of S3, not about {expected}: {homes}"


def test_reads_go_on_without_s3(net, room):
    """What another worker has in its cache is read there."""
    together(net)
    path, data, names, _ = share(net, room, 17)
    for worker in WORKERS:
        assert get(net, worker, path) == (200, data)
    homes = {chunk: home_of(chunk, WORKERS) for chunk in names}
    wait_for("homes hold their chunks", lambda: all(chunk in chunks(net, home) for chunk, home in homes.items()))
    s3 = Part("s3", net.run_dir)
    for asker in WORKERS[:2]:
        clear(net, asker)
        s3.kill()
        try:
            elsewhere = [chunk for chunk, home in homes.items() if home != asker]
            assert elsewhere, "every chunk is at home here"
            for chunk in elsewhere:
                status, body = get(net, asker, f"/chunks/{chunk}")
                if status == 503:
                    # A machine that is too busy lets patience end; a home is left alone for a second then.
                    time.sleep(1.5)
                    status, body = get(net, asker, f"/chunks/{chunk}")
                assert status == 200 and body in data, f"{chunk} of {homes[chunk]} at {asker}: {status}"
        finally:
            s3.start()
        # Its own come back with S3, for the next one.
        assert wait_for("reads work again", lambda: get(net, asker, path)[0] == 200)


def test_reads_go_on_without_a_home(net, room):
    """A worker is killed: whoever asked it goes on to S3 at once, and the ring closes."""
    together(net)
    path, data, _, taker = share(net, room, 21)
    victim = next(worker for worker in WORKERS if worker != taker)
    reader = next(worker for worker in WORKERS if worker not in (taker, victim))
    clear(net, reader)
    part = Part(victim, net.run_dir)
    part.kill()
    status, body = get(net, reader, path)
    assert (status, body == data) == (200, True), f"{reader}: {status}"
    left = [worker for worker in WORKERS if worker != victim]
    wait_for("the others know", lambda: all(stats(net, worker)["homes"]["workers"] == 2 for worker in left))
    clear(net, reader)
    failures = stats(net, reader)["homes"]["failures"]
    assert get(net, reader, path) == (200, data)
    assert stats(net, reader)["homes"]["failures"] == failures, "nobody asks one that is gone"
    part.start()
    together(net)


if __name__ == "__main__":
    run_tests(globals(), __doc__)
