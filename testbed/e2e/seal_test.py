#!/usr/bin/env python3
"""Encrypted shares end to end: shared and downloaded by terminal peers, and nothing readable anywhere between them.

Usage: seal_test.py BINARIES [PATTERN]

Where the package libtorrent (PyPI, 2.x) is there, it reads an encrypted share's `.ko` too. See suite.py for the rest.
"""

import json
import os
import signal
import urllib.request

from network import wait_for
from suite import FOLDER, KIB, MIB, Skipped, run_tests, same, write

PLAIN_BLOCK = 16 * KIB - 16
SIZES = [0, 1, PLAIN_BLOCK - 1, PLAIN_BLOCK, PLAIN_BLOCK + 1, 16 * KIB, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1]
NAME_OUTSIDE = "kollator-sealed-1"


def sealed(size):
    """Bytes of a file once it is sealed: 16 more for each block."""
    return size + 16 * -(-size // PLAIN_BLOCK)


def fields(link):
    """The info hash of a share link, and its other fields."""
    info_hash, *others = link.split("#")[1].split("&")
    return info_hash, dict(field.split("=", 1) for field in others)


def refused(net, room, why, target, *options):
    """Has a download fail for this reason, on both outputs, with nothing written."""
    before = sorted(path.name for path in room.iterdir())
    done = net.run("download", target, "--output", room / "refused", "--json", *options, expect=1)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert why in done.stderr, f"{target}: {done.stderr}"
    assert lines[-1]["event"] == "failed" and why in lines[-1]["reason"], lines
    assert all(line["event"] != "progress" or line["bytes_done"] == 0 for line in lines), lines
    assert sorted(path.name for path in room.iterdir()) == before, f"{target}: something was written"


def holding(folder, text):
    """What there is at the top of a folder in whose paths or contents a text is."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and (text in str(path) or text.encode() in path.read_bytes()):
            found.add(path.relative_to(folder).parts[0])
    return found


def test_sizes(net, room):
    for size in SIZES:
        source = write(room / f"source-{size}", size)
        done = net.download(net.share(source, "--encrypt"), room / f"output-{size}")
        assert done["bytes_total"] == sealed(size) and done["bytes_from_disk"] == 0, done
        same(source, room / f"output-{size}")


def test_folder(net, room):
    for name, size in FOLDER.items():
        write(room / "a folder" / name, size)
    link = net.share(room / "a folder", "--encrypt", "--piece-length", "64KiB")
    done = net.download(link, f"{room}/output/")
    about = next(line for line in done["lines"] if line["event"] == "metainfo")
    assert about["encrypted"] and about["name"] == "a folder" and about["files"] == len(FOLDER), about
    output = room / "output" / "a folder"
    found = {str(path.relative_to(output)): path.stat().st_size for path in output.rglob("*") if path.is_file()}
    assert found == FOLDER, found
    for name in FOLDER:
        same(room / "a folder" / name, output / name)
    again = net.download(link, f"{room}/output/")
    assert again["bytes_from_disk"] == again["bytes_total"], again
    for number in (1, 2, 3):
        worker = f"http://127.0.0.1:{net.base_port + 100 + number}"
        net.download(link, room / f"over http from {number}", "--http-only", "--from", worker)
        same(room / "a folder" / "same", room / f"over http from {number}" / "same")


def test_two_shares_of_the_same_have_nothing_in_common(net, room):
    source = write(room / "source", 100_000, seed="twice")
    (one, first), (other, second) = (fields(net.share(source, "--encrypt")) for _ in range(2))
    assert one != other and first["k"] != second["k"]


def test_link_and_ko_tell_what_they_may(net, room):
    source = write(room / "source.bin", 100_000, seed="told")
    link = net.share(source, "--encrypt", "--ko", room / "it.ko")
    info_hash, said = fields(link)
    assert set(said) == {"dn", "front", "k"} or set(said) == {"dn", "k"}, link
    assert len(said["k"]) == 43 and said["dn"] == "source.bin", link
    told = net.run("info", link)
    assert "encrypted     yes; the link has the key" in told.stdout and said["k"] not in told.stdout + told.stderr
    assert json.loads(net.run("info", link, "--json").stdout)["encrypted"] == "for_anyone_with_the_link"
    ko = json.loads(net.run("info", room / "it.ko", "--json").stdout)
    assert (ko["info_hash"], ko["name"], ko["encrypted"]) == (info_hash, NAME_OUTSIDE, "key_not_here"), ko
    assert [file["length"] for file in ko["files"]] == [sealed(100_000)] and not ko["single_file"], ko
    # A web seed has the ciphertext, as the `.ko` has it.
    url = f"{ko['web_seeds'][0]}{NAME_OUTSIDE}/{ko['files'][0]['path']}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        body = answer.read()
    assert len(body) == sealed(100_000) and source.read_bytes()[:64] not in body


def test_without_the_key(net, room):
    source = write(room / "source", 3 * MIB, seed="no key")
    link = net.share(source, "--encrypt", "--ko", room / "it.ko")
    info_hash, said = fields(link)
    why = "this share is encrypted and the link has no key: ask for the whole link, with everything after #"
    for target in (link.split("&")[0], info_hash, f"magnet:?xt=urn:btmh:1220{info_hash}", room / "it.ko"):
        refused(net, room, why, target)
    refused(net, room, why, info_hash, "--overwrite")
    key = said["k"]
    other = ("A" if key[0] != "A" else "B") + key[1:]
    refused(net, room, "the link's key does not open this share", link.replace(key, other))
    for wrong in (key[1:], key + "A", key[:-1] + "."):
        done = net.run("download", link.replace(key, wrong), "--output", room / "refused", expect=1)
        assert "the link's field k is not a key of 43 characters" in done.stderr, done.stderr
        assert wrong not in done.stderr, "the key is repeated"
    plain = net.share(source)
    refused(net, room, "the share is not encrypted, but its link has a key", f"{plain}&k={key}")
    done = net.run("share", source, "--name", NAME_OUTSIDE, expect=1)
    assert "marks encrypted shares" in done.stderr, done.stderr


def test_to_a_person(net, room):
    source = write(room / "source", 3 * MIB, seed="person")
    me, somebody = room / "deep" / "me", room / "somebody"
    made = net.run("key", "--identity", me)
    public = made.stdout.strip()
    assert len(public) == 43 and str(me) in made.stderr, made
    assert os.stat(me).st_mode & 0o777 == 0o600, oct(os.stat(me).st_mode)
    again = net.run("key", "--identity", me)
    assert again.stdout.strip() == public and not again.stderr, "it is made once"
    assert net.run("key", "--identity", somebody).stdout.strip() != public
    link = net.share(source, "--to", public)
    info_hash, said = fields(link)
    assert "k" not in said and len(said["to"]) == 107, link
    assert json.loads(net.run("info", link, "--json").stdout)["encrypted"] == "for_one_person"
    net.download(link, room / "output", "--identity", me)
    same(source, room / "output")
    refused(net, room, "not for this identity", link, "--identity", somebody)
    refused(net, room, "`kollator key` makes one", link, "--identity", room / "nobody")
    refused(net, room, "the link has no key", link.split("&")[0], "--identity", me)
    (room / "junk").write_text("junk")
    refused(net, room, "holds no identity", link, "--identity", room / "junk")
    # The usual place of an identity, and the environment's.
    for settings in ({"XDG_CONFIG_HOME": str(room / "config")}, {"KOLLATOR_IDENTITY": str(me)}):
        before = dict(net.env)
        net.env.update(settings)
        try:
            net.download(net.share(source, "--to", net.run("key").stdout.strip()), room / f"by {list(settings)[0]}")
        finally:
            net.env = before
    assert (room / "config" / "kollator" / "identity").exists()
    done = net.run("share", source, "--to", "A" * 43, expect=1)
    assert "the public key is none" in done.stderr, done.stderr


def test_resume_after_a_kill(net, room):
    source = write(room / "source", 128 * MIB, seed="resume sealed")
    link = net.share(source, "--encrypt")
    state = room / "output.part.state"

    def on_disk():
        """Blocks that the resume state says are written."""
        try:
            return sum(byte.bit_count() for byte in state.read_bytes()[44:])
        except FileNotFoundError:
            return 0

    blocks = -(-128 * MIB // PLAIN_BLOCK)
    with net.background("download", link, "--output", room / "output") as first:
        wait_for("half of the download", lambda: on_disk() >= blocks // 2 or first.poll() is not None)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL, "it was over before it was killed"
    left = (room / "output.part").stat()
    assert left.st_size == 128 * MIB, "what is written is plain"
    key = fields(link)[1]["k"]
    other = link.replace(key, ("A" if key[0] != "A" else "B") + key[1:])
    done = net.run("download", other, "--output", room / "output", expect=1)
    assert "does not open this share" in done.stderr, done.stderr
    assert (room / "output.part").stat().st_mtime_ns == left.st_mtime_ns, "a wrong key changes nothing"
    written = on_disk()
    done = net.download(link, room / "output")
    whole, rest = divmod(done["bytes_from_disk"], 16 * KIB)
    assert whole + (rest > 0) == written, f"{written} blocks were on disk: {done}"
    same(source, room / "output")
    assert not state.exists()


def test_nothing_readable_is_stored(net, room):
    for kind, options in (("open", []), ("hidden", ["--encrypt"])):
        words, name = f"{kind}-words-of-mine", f"{kind}-name-of-mine"
        source = room / f"{kind}-folder-of-mine"
        source.mkdir()
        (source / f"{name}.txt").write_text("".join(f"{words} {line}\n" for line in range(100_000)))
        link = net.share(source, *options, "--ko", room / f"{kind}.ko")
        with net.background("download", link, "--output", room / f"{kind}-output") as download:
            assert download.wait(timeout=300) == 0, download.stderr.read()
        same(source / f"{name}.txt", room / f"{kind}-output" / f"{name}.txt")
        texts = (words, name, source.name)
        found = {text: holding(net.run_dir, text) for text in texts}
        in_ko = [text for text in texts if text.encode() in (room / f"{kind}.ko").read_bytes()]
        if kind == "open":
            assert found[words] >= {"s3", "workers"} and found[name] >= {"s3"}, f"the search finds nothing: {found}"
            assert in_ko == [name, source.name], in_ko
        else:
            assert not any(found.values()) and not in_ko, (found, in_ko)
            key = fields(link)[1]["k"]
            assert not holding(net.run_dir, key), "a server knows the key"


def test_libtorrent_reads_a_sealed_ko(net, room):
    try:
        import libtorrent as lt
    except ImportError:
        raise Skipped("libtorrent is not installed") from None
    for name, size in FOLDER.items():
        write(room / "folder" / name, size)
    link = net.share(room / "folder", "--encrypt", "--ko", room / "it.ko", "--piece-length", "64KiB")
    torrent = lt.torrent_info(lt.bdecode((room / "it.ko").read_bytes()))
    assert str(torrent.info_hashes().v2) == fields(link)[0]
    assert torrent.name() == NAME_OUTSIDE
    files = torrent.files()
    lengths = sorted(files.file_size(n) for n in range(files.num_files()) if not files.file_flags(n) & files.flag_pad_file)
    assert lengths == sorted(sealed(size) for size in FOLDER.values()), lengths


if __name__ == "__main__":
    run_tests(globals(), __doc__)
