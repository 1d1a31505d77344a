#!/usr/bin/env python3
"""End-to-end tests with real processes: a network of its own, shared to and downloaded from by terminal peers.

Usage: e2e_test.py BINARIES [PATTERN]

BINARIES is the folder with kollator, kollator-front, kollator-worker, kollator-s3 and kollator-liar; PATTERN, a regular
expression, picks the tests in whose names it is found. KOLLATOR_E2E_LARGE=0 leaves out the file of 1 GiB. KOLLATOR_E2E_PORT is the
network's base port, a free one by default. Needs only the standard library; where the package libtorrent is there, its
torrents are tried too. Prints one line for each test and, last, `N passed, M failed`.
"""

import os
import random
import signal

from network import check_lines, wait_for
from suite import FOLDER, KIB, MIB, Skipped, run_tests, same, write

SIZES = [0, 1, 16383, 16384, 16385, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1]


def nothing_left(output):
    """A finished download leaves no `.part` behind."""
    left = [path.name for path in output.parent.iterdir() if path.name.startswith(output.name + ".part")]
    assert not left, f"left behind: {left}"


def bits_set(state):
    """Blocks that a resume state says are written."""
    try:
        return sum(byte.bit_count() for byte in state.read_bytes()[44:])
    except FileNotFoundError:
        return 0


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"


def test_sizes(net, room):
    for size in SIZES:
        source = write(room / f"source-{size}", size)
        done = net.download(net.share(source), room / f"output-{size}")
        assert done["bytes_total"] == size and done["bytes_from_disk"] == 0, done
        same(source, room / f"output-{size}")
        nothing_left(room / f"output-{size}")


def test_folder(net, room):
    for name, size in FOLDER.items():
        write(room / "source" / name, size)
    link = net.share(room / "source", "--piece-length", "64KiB")
    net.download(link, room / "output")
    found = {
        str(path.relative_to(room / "output")): path.stat().st_size
        for path in (room / "output").rglob("*")
        if path.is_file()
    }
    assert found == FOLDER, found
    for name in FOLDER:
        same(room / "source" / name, room / "output" / name)
    again = net.download(link, room / "output")
    assert again["bytes_from_disk"] == again["bytes_total"], again


def test_every_kind_of_link(net, room):
    source = write(room / "source", 100_000, seed="links")
    link = net.share(source, "--ko", room / "source.ko", "--name", "named")
    info_hash = link.split("#")[1].split("&")[0]
    kinds = {
        "share link": link,
        "magnet": f"magnet:?xt=urn:btmh:1220{info_hash}",
        "info hash": info_hash,
        "ko": room / "source.ko",
    }
    for kind, text in kinds.items():
        done = net.download(text, room / f"output of {kind}", "--sequential")
        assert done["info_hash"] == info_hash, done
        same(source, room / f"output of {kind}")


def test_sharer_killed_after_the_link(net, room):
    source = write(room / "source", 20 * MIB, seed="gone")
    with net.background("share", source, "--seed") as sharer:
        link = sharer.stdout.readline().strip()
        sharer.send_signal(signal.SIGKILL)
        sharer.wait()
    done = net.download(link, room / "output")
    assert done["bytes_from"]["worker"] == 20 * MIB, done
    same(source, room / "output")


def test_resume_after_a_kill(net, room):
    size = 256 * MIB
    source = write(room / "source", size, seed="resume")
    link = net.share(source)
    state = room / "output.part.state"
    blocks = size // (16 * KIB)
    with net.background("download", link, "--output", room / "output") as first:
        wait_for("half of the download", lambda: bits_set(state) >= blocks // 2 or first.poll() is not None)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL, "it was over before it was killed"
    assert not (room / "output").exists()
    on_disk = bits_set(state)
    done = net.download(link, room / "output")
    assert done["bytes_from_disk"] == on_disk * 16 * KIB, f"{on_disk} blocks were on disk: {done}"
    same(source, room / "output")
    nothing_left(room / "output")


def test_stopped_by_a_signal(net, room):
    source = write(room / "source", 128 * MIB, seed="signal")
    link = net.share(source)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        state = room / "output.part.state"
        before = bits_set(state)
        with net.background("download", link, "--output", room / "output") as download:
            wait_for("some of the download", lambda: bits_set(state) > before or download.poll() is not None)
            download.send_signal(number)
            assert download.wait(timeout=30) == code, f"exit {download.returncode}"
        assert (room / "output.part").exists()
    done = net.download(link, room / "output")
    assert done["bytes_from_disk"] > 0, done
    same(source, room / "output")


def test_finished_download_is_not_touched(net, room):
    source = write(room / "source", 5 * MIB, seed="again")
    link = net.share(source)
    net.download(link, room / "output")
    before = (room / "output").stat()
    done = net.download(link, room / "output")
    assert done["bytes_from_disk"] == 5 * MIB, done
    after = (room / "output").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    write(room / "output", 5 * MIB, seed="something else")
    refused = net.run("download", link, "--output", room / "output", expect=1)
    assert "exists" in refused.stderr, refused.stderr
    net.download(link, room / "output", "--overwrite")
    same(source, room / "output")


def test_two_sources(net, room):
    source = write(room / "source", 256 * MIB, seed="two")
    with net.background("share", source, "--seed") as sharer:
        link = sharer.stdout.readline().strip()
        done = net.download(link, room / "output")
        sharer.send_signal(signal.SIGINT)
        assert sharer.wait(timeout=30) == 0, "seeding ends well"
    from_each = [done["bytes_from"][kind] for kind in ("worker", "peer")]
    assert all(from_each), f"one source gave nothing: {done['bytes_from']}"
    same(source, room / "output")


def test_liar(net, room):
    source = write(room / "source", 128 * MIB, seed="liar")
    link = net.share(source)
    with net.background(source, "--front", net.front, binary="kollator-liar") as liar:
        name = liar.stdout.readline().strip()
        with net.background("download", link, "--output", room / "output", "--json") as download:
            out, said = download.communicate(timeout=300)
            assert download.returncode == 0, said
    done = check_lines(out)
    same(source, room / "output")
    events = [(line["event"], line.get("peer")) for line in done["lines"]]
    assert ("blamed", name) in events, f"the liar {name} was not found out"
    assert name in said, said
    after = events[events.index(("blamed", name)) :]
    assert ("source_up", name) not in after, "the liar came back"


def torrent(source, piece_size):
    """A v2 torrent that libtorrent makes beside a file or folder; piece size 0 leaves the choice to it."""
    try:
        import libtorrent as lt
    except ImportError as error:
        raise Skipped("libtorrent is not installed") from error
    files = lt.file_storage()
    lt.add_files(files, str(source))
    creator = lt.create_torrent(files, piece_size, lt.create_torrent.v2_only)
    lt.set_piece_hashes(creator, str(source.parent))
    path = source.with_name(f"{source.name}-{piece_size}.torrent")
    path.write_bytes(lt.bencode(creator.generate()))
    return path


def test_libtorrents_own_torrent(net, room):
    """Whatever pieces libtorrent cuts it into, and whatever ours are: the files are found by their roots."""
    source = write(room / "source.bin", 9 * MIB + 5, seed="libtorrent")
    net.share(source, "--name", "another name")
    for piece_size in (0, 16 * KIB, 1 * MIB, 4 * MIB, 16 * MIB):
        net.download(torrent(source, piece_size), room / f"output-{piece_size}")
        same(source, room / f"output-{piece_size}")
    fine = write(room / "fine.bin", 3 * MIB + 1, seed="fine pieces")
    net.share(fine, "--piece-length", 64 * KIB)
    for piece_size in (0, 4 * MIB):
        net.download(torrent(fine, piece_size), room / f"fine-{piece_size}")
        same(fine, room / f"fine-{piece_size}")
    lengths = {"small": 100, "one chunk": 2 * MIB, "sub/large": 9 * MIB, "empty": 0}
    for name, length in lengths.items():
        write(room / "folder" / name, length, seed=f"folder {name}")
    net.share(room / "folder", "--name", "another folder")
    net.download(torrent(room / "folder", 0), room / "folder-0")
    for name in lengths:
        same(room / "folder" / name, room / "folder-0" / name)


def test_resume_in_other_pieces(net, room):
    """What was written before a kill counts, though the torrent's pieces are not those it is fetched in."""
    size = 256 * MIB
    source = write(room / "source.bin", size, seed="resume in other pieces")
    net.share(source)
    other = torrent(source, 256 * KIB)
    state = room / "output.part.state"
    with net.background("download", other, "--output", room / "output") as first:
        wait_for("half of the download", lambda: bits_set(state) >= 8192 or first.poll() is not None)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL, "it was over before it was killed"
    on_disk = bits_set(state)
    done = net.download(other, room / "output")
    assert done["bytes_from_disk"] == on_disk * 16 * KIB, f"{on_disk} blocks were on disk: {done}"
    same(source, room / "output")


def test_nobody_there(net, room):
    unknown = "ab" * 32
    refused = net.run("download", unknown, "--timeout", 2, "--json", expect=1)
    assert unknown in refused.stderr, refused.stderr
    net.run("create", write(room / "unshared", 5 * MIB), "--ko", room / "unshared.ko")
    refused = net.run("download", room / "unshared.ko", "--output", room / "output", "--timeout", 7, expect=1)
    assert "nobody online has what is missing" in refused.stderr, refused.stderr
    source = write(room / "source", 1)
    for verb in (["share", source], ["download", unknown]):
        refused = net.run("--front", "http://127.0.0.1:1", *verb, "--timeout", 2, expect=1)
        assert "127.0.0.1:1" in refused.stderr, refused.stderr


def test_bad_input(net, room):
    def refused(why, *args, code=1):
        done = net.run(*args, expect=code)
        assert why in done.stderr, f"{args}: {done.stderr}"
        assert not done.stdout, f"{args} prints {done.stdout!r}"

    source = write(room / "source", 9 * MIB, seed="bad")
    net.run("create", source, "--ko", room / "good.ko")
    good = (room / "good.ko").read_bytes()
    entry = {b"": {b"length": 1, b"pieces root": b"x" * 32}}
    torrents = {
        "random": random.Random(1).randbytes(1000),
        "empty": b"",
        "truncated": good[: len(good) // 2],
        "oversized": b"x" * (33 * MIB),
        "deep": b"d" * 1_000_000,
        "traversal": bencode(
            {
                b"info": {
                    b"file tree": {b"..": {b"escaped": entry}},
                    b"meta version": 2,
                    b"name": b"x",
                    b"piece length": 16384,
                }
            }
        ),
    }
    (room / "here").mkdir()
    before = sorted(path.name for path in room.iterdir())
    for name, content in torrents.items():
        file = room / "here" / f"{name}.torrent"
        file.write_bytes(content)
        refused(str(file), "info", file)
        refused(str(file), "download", file, "--output", room / "output")
    for link in ("magnet:?xt=urn:btih:" + "a" * 40, "http://x/#zz", "http://x/", "ab" * 31, "ab" * 33):
        refused("kollator:", "download", link, "--output", room / "output")
    refused("--piece-length", "share", source, "--piece-length", "5000000", code=2)
    refused("ftp://x", "--front", "ftp://x", "info", source, code=2)
    refused("nowhere", "share", room / "nowhere")
    assert sorted(path.name for path in room.iterdir()) == before, "something was written"
    assert net.get("/health")["status"] == "ok"


def test_parts_tell_of_themselves(net, room):
    source = write(room / "source", 5 * MIB, seed="stats")
    net.download(net.share(source), room / "output")
    stats = [net.get("/stats", net.base_port + 100 + n) for n in (1, 2, 3)]
    assert [worker["name"] for worker in stats] == ["worker-1", "worker-2", "worker-3"]
    assert sum(worker["store"]["stored"] for worker in stats) >= 2
    assert all(worker["cache"]["bytes"] <= worker["cache"]["limit"] for worker in stats)


def test_start_and_check_again(net, _room):
    assert "already running" in net.script("start.sh")
    assert "round trip: right" in net.script("check.sh")


def test_a_file_of_1_gib(net, room):
    if os.environ.get("KOLLATOR_E2E_LARGE") == "0":
        raise Skipped("KOLLATOR_E2E_LARGE=0")
    source = write(room / "source", 1024 * MIB, seed="large")
    done = net.download(net.share(source), room / "output")
    print(f"  1 GiB in {done['seconds']:.1f} s", flush=True)
    same(source, room / "output")


if __name__ == "__main__":
    run_tests(globals(), __doc__)
