#!/usr/bin/env python3
"""Downloads over HTTP: without any front, where no datagram gets through, and past somebody who alters a byte.

Usage: http_source_test.py BINARIES [PATTERN]

Needs a C compiler, for a library that keeps a process from having UDP sockets. See suite.py for the rest.
"""

import asyncio
import contextlib
import copy
import json
import subprocess
import threading

from network import check_lines
from suite import FOLDER, KIB, MIB, run_tests, same, write

NO_UDP = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

int socket(int domain, int type, int protocol) {
    int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
    if ((domain == AF_INET || domain == AF_INET6) && (type & 0xf) == SOCK_DGRAM) {
        errno = EPERM;
        return -1;
    }
    return real(domain, type, protocol);
}
"""


def info_hash(link):
    return link.split("#")[1].split("&")[0]


def worker(net, n):
    return f"http://127.0.0.1:{net.base_port + 100 + n}"


def with_env(net, without=(), **more):
    """The same network for programs with other variables."""
    other = copy.copy(net)
    other.env = {name: value for name, value in net.env.items() if name not in without} | more
    return other


def frontless(net):
    return with_env(net, without=["KOLLATOR_FRONT"])


class Tamperer:
    """Listens on a port of its own, hands requests to a worker, and alters one byte of the first long answer."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.altered = 0
        self.url = None

    @contextlib.contextmanager
    def running(self):
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="tamperer", daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._attend, "127.0.0.1", 0), loop).result()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(server.close)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    async def _attend(self, reader, writer):
        from_worker, to_worker = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            await asyncio.gather(self._carry(reader, to_worker, False), self._carry(from_worker, writer, True))
        except OSError:
            # Either side is gone: so is the other.
            pass
        finally:
            writer.transport.abort()
            to_worker.transport.abort()

    async def _carry(self, reader, writer, is_answer):
        # After so many bytes of answers, whatever passes is of a block.
        passed = 0
        while data := await reader.read(64 * KIB):
            passed += len(data)
            if is_answer and not self.altered and passed > 64 * KIB:
                data = data[:-1] + bytes([data[-1] ^ 1])
                self.altered += 1
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def test_without_any_front(net, room):
    source = write(room / "source.bin", 20 * MIB + 5, seed="alone")
    link = net.share(source)
    alone = frontless(net)
    # One that names no front.
    alone.run("create", source, "--ko", room / "source.ko")
    # By any worker, whichever keeps it; by two at once; with the `.ko` at hand.
    for n, (target, workers) in enumerate(
        [
            (info_hash(link), [worker(net, 1)]),
            (info_hash(link), [worker(net, 3) + "/", worker(net, 2)]),
            (room / "source.ko", [worker(net, 2)]),
        ]
    ):
        named = [word for url in workers for word in ("--from", url)]
        done = alone.download(target, room / f"output-{n}", *named)
        assert done["bytes_from"] == {"worker": 0, "peer": 0, "http": 20 * MIB + 5}, done
        up = {line["peer"] for line in done["lines"] if line["event"] == "source_up"}
        # A `.ko` from a worker names that worker.
        assert up <= {url.rstrip("/") for url in workers} and up, up
        assert not any(line["event"] in ("online", "offline") for line in done["lines"]), done["lines"]
        same(source, room / f"output-{n}")


def test_a_folder_without_any_front(net, room):
    for name, size in FOLDER.items():
        write(room / "source" / name, size)
    link = net.share(room / "source", "--piece-length", "64KiB")
    frontless(net).download(info_hash(link), room / "output", "--from", worker(net, 2))
    for name in FOLDER:
        same(room / "source" / name, room / "output" / name)


def test_http_only(net, room):
    source = write(room / "source.bin", 6 * MIB, seed="only")
    done = net.download(net.share(source), room / "output", "--http-only")
    assert done["bytes_from"] == {"worker": 0, "peer": 0, "http": 6 * MIB}, done
    same(source, room / "output")


def test_where_no_datagram_gets_through(net, room):
    source = write(room / "source.bin", 12 * MIB + 1, seed="walled")
    link = net.share(source)
    (room / "no_udp.c").write_text(NO_UDP)
    library = room / "no_udp.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(room / "no_udp.c"), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    walled = with_env(net, LD_PRELOAD=str(library))
    done = walled.download(link, room / "output")
    assert done["bytes_from"] == {"worker": 0, "peer": 0, "http": 12 * MIB + 1}, done
    assert done["seconds"] >= 5, f"data channels were not waited for: {done}"
    same(source, room / "output")
    refused = with_env(walled, KOLLATOR_TIMEOUT="8").run("download", link, "-o", room / "none", "--no-http", expect=1)
    assert "can be reached" in refused.stderr, refused.stderr


def test_a_byte_altered_on_the_way(net, room):
    source = write(room / "source.bin", 30 * MIB, seed="altered")
    link = net.share(source)
    with Tamperer(net.base_port + 101).running() as tamperer:
        done = frontless(net).download(
            info_hash(link), room / "output", "--from", tamperer.url, "--from", worker(net, 2)
        )
        blamed = [line["peer"] for line in done["lines"] if line["event"] == "blamed"]
        assert (tamperer.altered, blamed) == (1, [tamperer.url]), f"{tamperer.altered} altered, {blamed} blamed"
        same(source, room / "output")
        # Nobody else is named, but the `.ko` that it handed on names the worker behind it.
        tamperer.altered = 0
        done = frontless(net).download(info_hash(link), room / "alone", "--from", tamperer.url)
        told = [(line["event"], line["peer"]) for line in done["lines"] if line["event"] in ("blamed", "source_up")]
        assert ("blamed", tamperer.url) in told and ("source_up", worker(net, 1)) in told, told
        same(source, room / "alone")


def test_what_cannot_be_had_is_said(net, room):
    alone = with_env(frontless(net), KOLLATOR_TIMEOUT="2")
    nobody = "http://127.0.0.1:1"
    refused = alone.run("download", "ab" * 32, "-o", room / "x", "--from", nobody, "--json", expect=1)
    failed = json.loads(refused.stdout.splitlines()[-1])
    assert failed["event"] == "failed" and nobody in failed["reason"], failed
    assert nobody in refused.stderr, refused.stderr
    refused = alone.run("download", "ab" * 32, "-o", room / "x", "--from", worker(net, 1), expect=1)
    assert "nobody online knows this share" in refused.stderr, refused.stderr
    for wrong in ("ftp://127.0.0.1", "127.0.0.1:8181", "http://", "http://127.0.0.1/?x"):
        refused = alone.run("download", "ab" * 32, "-o", room / "x", "--from", wrong, expect=2)
        assert "--from" in refused.stderr, refused.stderr


def test_what_is_there_is_not_fetched_again(net, room):
    source = write(room / "source.bin", 9 * MIB, seed="there")
    link = net.share(source)
    alone = frontless(net)
    done = alone.run("download", info_hash(link), "-o", room / "whole", "--from", worker(net, 1), "--json")
    check_lines(done.stdout)
    again = alone.download(info_hash(link), room / "whole", "--from", worker(net, 2))
    assert again["bytes_from_disk"] == 9 * MIB and again["bytes_from"]["http"] == 0, again
    same(source, room / "whole")


if __name__ == "__main__":
    run_tests(globals(), __doc__)
