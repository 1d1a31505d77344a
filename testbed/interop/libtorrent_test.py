#!/usr/bin/env python3
"""Compares Kollator's `.ko` files with what libtorrent (PyPI `libtorrent`, 2.x) makes of the same files.

Usage: python libtorrent_test.py KOLLATOR_BINARY

For files of every size at which a Merkle tree changes its shape, and for a folder with nested folders, an empty
file and names in several scripts:

- `kollator create PATH --ko FILE [--piece-length N]` writes a `.ko` that libtorrent parses, with the info hash,
  the files and the roots that libtorrent itself computes of the same data (`set_piece_hashes`, v2 only);
- `kollator info FILE --json` says of the `.ko`, and of libtorrent's own v2 and hybrid `.torrent` files, what
  libtorrent says of them.

Then `kollator info` must refuse what is no v2 metainfo, with exit code 1 and the reason. Prints one line for each
failure and, last, `N passed, M failed`; the exit code is 0 if none failed. Touches no network.
"""

import contextlib
import hashlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

import libtorrent as lt

KIB = 1024
MIB = 1024 * KIB
DEFAULT_PIECE_LENGTH = 4 * MIB
PIECE_LENGTHS = [16 * KIB, 64 * KIB, 1 * MIB, 16 * MIB]
SIZES = [1, 16383, 16384, 16385, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 5]
FOLDER = {
    "empty": 0,
    "nested/deeper/deepest/one": 1,
    "nested/deeper/big.bin": 5 * MIB + 3,
    "nested/same": 70_000,
    "same": 70_000,
    "Приве́т.txt": 16385,
    "文件夹/文件 一.txt": 20_000,
    "مرحبا/ملف": 64 * KIB,
    "日本語.txt": 17,
    "emoji 🦀.md": 40_000,
    "with spaces & 'quotes' \"double\" %41": 5,
    "-dash": 3,
    "...dots": 4,
}


class Refused(Exception):
    """A command that should have succeeded did not."""


def run(*command):
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=300, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")
        raise Refused(f"{' '.join(map(str, command))}: exit {done.returncode}: {said}")
    return done.stdout


def write(path, length):
    """Bytes that depend on the length alone, so that equal lengths are equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(length).randbytes(length))


def make_torrent(path, piece_length, flags):
    """libtorrent's own torrent of `path`, as a decoded dictionary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        files = lt.file_storage()
        lt.add_files(files, str(path))
        creator = lt.create_torrent(files, piece_length, flags)
        lt.set_piece_hashes(creator, str(path.parent))
        return creator.generate()


def info_hash(torrent):
    return hashlib.sha256(lt.bencode(torrent[b"info"])).hexdigest()


def flatten(tree, path=()):
    """(path, length, root) of each file in a file tree, in its order."""
    for key in sorted(tree):
        if key == b"":
            yield list(path), tree[key][b"length"], tree[key].get(b"pieces root", b"").hex()
        else:
            yield from flatten(tree[key], (*path, key.decode()))


def description(torrent):
    """What `kollator info --json` must say of a torrent."""
    info = torrent[b"info"]
    piece_length = info[b"piece length"]
    files = list(flatten(info[b"file tree"]))
    return {
        "info_hash": info_hash(torrent),
        "name": info[b"name"].decode(),
        "piece_length": piece_length,
        "total_length": sum(length for _, length, _ in files),
        "chunks": sum(-(-length // piece_length) for _, length, _ in files),
        "files": [{"path": path, "length": length} for path, length, _ in files],
    }


class Checks:
    """Runs checks and counts them."""

    def __init__(self, binary):
        self.binary = binary
        self.passed = 0
        self.failed = 0

    @contextlib.contextmanager
    def check(self, what):
        try:
            yield
        except (AssertionError, Refused, ValueError, KeyError, RuntimeError, subprocess.TimeoutExpired) as error:
            self.failed += 1
            print(f"FAILED {what}: {type(error).__name__}: {error}", flush=True)
        else:
            self.passed += 1

    def info(self, path):
        """What `kollator info --json` says, with each file's path as a list of components."""
        said = json.loads(run(self.binary, "info", path, "--json"))
        for file in said["files"]:
            if isinstance(file["path"], str):
                file["path"] = file["path"].split("/")
        return said

    def same(self, path, torrent):
        """`kollator info` says of the metainfo in `path` what libtorrent's `torrent` says."""
        expected = description(torrent)
        said = self.info(path)
        said = {key: said[key] for key in expected}
        said["files"] = [{key: file[key] for key in ("path", "length")} for file in said["files"]]
        assert said == expected, f"kollator info says {said}, libtorrent {expected}"

    def created(self, path, ko, piece_length):
        """Kollator's `.ko` of `path` is libtorrent's own torrent of it."""
        option = [] if piece_length == DEFAULT_PIECE_LENGTH else ["--piece-length", piece_length]
        run(self.binary, "create", path, "--ko", ko, *option)
        raw = ko.read_bytes()
        ours = lt.bdecode(raw)
        theirs = make_torrent(path, piece_length, lt.create_torrent.v2_only)
        assert ours[b"info"] == theirs[b"info"], f"info is {ours[b'info']}, libtorrent's {theirs[b'info']}"
        assert ours[b"piece layers"] == theirs[b"piece layers"], "the piece layers differ"
        parsed = lt.torrent_info(ours)
        assert parsed.info_hashes().has_v2(), "libtorrent sees no v2 info hash"
        assert not parsed.info_hashes().has_v1(), "libtorrent sees a v1 info hash"
        assert str(parsed.info_hashes().v2) == info_hash(theirs), f"libtorrent reads {parsed.info_hashes().v2}"
        self.same(ko, theirs)

    def refused(self, path, reason):
        """`kollator info` refuses `path` with exit code 1, the reason on standard error and nothing on output."""
        command = [str(self.binary), "info", str(path), "--json"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        said = done.stderr.decode(errors="replace")
        assert done.returncode == 1, f"exit {done.returncode}: {said}"
        assert reason in said, f"it says {said!r}"
        assert not done.stdout, f"it prints {done.stdout!r}"


def check_files(checks, room, shares):
    for name, path in shares.items():
        with checks.check(f"create {name}"):
            checks.created(path, room / f"{name}.ko", DEFAULT_PIECE_LENGTH)
        for piece_length in PIECE_LENGTHS:
            with checks.check(f"create {name} in pieces of {piece_length}"):
                checks.created(path, room / f"{name}.{piece_length}.ko", piece_length)
    empty = room / "empty-file"
    write(empty, 0)
    with checks.check("an empty file alone, of which libtorrent makes no torrent"):
        ko = room / "empty-file.ko"
        run(checks.binary, "create", empty, "--ko", ko)
        info = lt.bdecode(ko.read_bytes())[b"info"]
        assert info[b"file tree"] == {b"empty-file": {b"": {b"length": 0}}}, f"the tree is {info[b'file tree']}"
        checks.same(ko, {b"info": info})


def check_torrents(checks, room, shares):
    kinds = {"v2": lt.create_torrent.v2_only, "hybrid": 0}
    for name, path in shares.items():
        for kind, flags in kinds.items():
            for piece_length in PIECE_LENGTHS:
                with checks.check(f"info of libtorrent's {kind} torrent of {name} in pieces of {piece_length}"):
                    torrent = make_torrent(path, piece_length, flags)
                    file = room / f"{name}.{kind}.{piece_length}.torrent"
                    file.write_bytes(lt.bencode(torrent))
                    checks.same(file, torrent)


def check_refusals(checks, room, path):
    good = make_torrent(path, 16 * KIB, lt.create_torrent.v2_only)

    def refused(what, torrent, reason):
        file = room / "refused.torrent"
        file.write_bytes(torrent if isinstance(torrent, bytes) else lt.bencode(torrent))
        with checks.check(f"refuse {what}"):
            checks.refused(file, reason)

    def changed(key, value):
        return {**good, b"info": {**good[b"info"], key: value}}

    entry = next(iter(good[b"info"][b"file tree"].values()))
    raw = lt.bencode(good)
    layers = {root: layer[::-1] for root, layer in good[b"piece layers"].items()}
    refused("a v1 torrent", make_torrent(path, 16 * KIB, lt.create_torrent.v1_only), "v1")
    refused("a truncated torrent", raw[: len(raw) // 2], "malformed")
    refused("bytes after the end", raw + b"x", "after the end")
    refused("a torrent without piece layers", {b"info": good[b"info"]}, "piece layers")
    refused("wrong piece layers", {**good, b"piece layers": layers}, "does not fold")
    refused("a path out of the share", changed(b"file tree", {b"..": entry}), "not a safe file name")
    refused("a name out of the share", changed(b"name", b"../x"), "info.name")
    refused("an odd piece length", changed(b"piece length", 20_000), "info.piece length")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    binary = pathlib.Path(sys.argv[1]).resolve()
    checks = Checks(binary)
    with tempfile.TemporaryDirectory(prefix="kollator-interop-") as room:
        room = pathlib.Path(room)
        shares = {}
        for size in SIZES:
            shares[f"file-{size}"] = room / "data" / f"file-{size}"
            write(shares[f"file-{size}"], size)
        for name, length in FOLDER.items():
            write(room / "data" / "folder" / name, length)
        shares["folder"] = room / "data" / "folder"
        check_files(checks, room, shares)
        check_torrents(checks, room, shares)
        check_refusals(checks, room, shares[f"file-{9 * MIB + 5}"])
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(0 if checks.failed == 0 else 1)


if __name__ == "__main__":
    main()
