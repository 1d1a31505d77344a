"""Measures what a worker bears, and prints tables; docs/performance.md says how to read them.

Each round starts a fresh network with the testbed's S3 server and shares a random file. Readers then ask a worker that
has everything in its cache, and another whose cache has no room for a chunk, so that each of them is fetched from S3.
Fails if something did not work; whether the bars are met is information, and decides the exit code with --strict only.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from lib import bench, fronts, kollator, tools
from lib.files import write_random
from lib.processes import Failed, run
from lib.report import MIB
from lib.worker_results import Results, Round

S3_PORT_ABOVE = 200
SMALL_CACHE_MB = 1
"""Less than a chunk of the file."""

ALONE_WITHIN = 60.0
STEADY_ASKS = 1000
"""Requests a second for 64 KiB each, of all data channels together: 65.5 MB/s."""


def main() -> int:
    options = read_options()
    results = Results(options.readers, options.channels, options.size_mb)
    return bench.run(options, results, functools.partial(measure, options, results))


def read_options() -> argparse.Namespace:
    parser = bench.options("worker.sh", __doc__, 18680, f"the front's port; S3's is {S3_PORT_ABOVE} above")
    add = functools.partial(parser.add_argument, type=bench.positive)
    add("--size-mb", default=256, metavar="N", help="MiB in the file (default %(default)s)")
    add("--readers", default=100, metavar="N", help="that ask for first frames (default %(default)s)")
    add("--asks", default=200, metavar="N", help="requests a second from the cache (default %(default)s)")
    add("--misses", default=10, metavar="N", help="requests a second from S3 (default %(default)s)")
    add("--channels", default=1000, metavar="N", help="data channels open at once (default %(default)s)")
    add("--rounds", default=3, metavar="N", help="default %(default)s")
    add("--seconds", default=10, metavar="N", help="of each phase (default %(default)s)")
    return bench.read(parser, lambda _: S3_PORT_ABOVE)


def measure(options: argparse.Namespace, results: Results) -> None:
    """Everything, round by round."""
    # A reader has a WebSocket and some UDP sockets, the worker as many of the latter.
    fronts.raise_open_files(8 * max(options.channels, options.readers))
    programs = tools.kollator()
    s3, readers = tools.release_binaries(dict.fromkeys(("kollator-s3", "kollator-readers"), "kollator-testbed"))
    tools.say_load()
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="kollator-bench-") as folder:
            work = Path(folder)
            write_random(work / "payload", options.size_mb * MIB)
            with kollator.s3(s3, work, options.base_port + S3_PORT_ABOVE) as has_s3:
                results.rounds.append(one_round(options, programs, readers, has_s3, work))
        tools.say(json.dumps(results.rounds[-1].as_words()))


def one_round(
    options: argparse.Namespace, programs: tools.Kollator, readers: Path, has_s3: dict[str, str], work: Path
) -> Round:
    """All of it with fresh servers."""
    room = {"MAX_CONNECTIONS_PER_IP": str(options.channels + 64)}
    start = functools.partial(kollator.network, programs, base_port=options.base_port, front_has=room)
    ko = work / "payload.ko"
    ask = functools.partial(read, readers, ko, options.seconds)
    with start(work=work, cache_mb=kollator.cache_megabytes(options.size_mb), worker_has=has_s3) as network:
        command: list[str | Path] = [programs.peer, "share", work / "payload", "--ko", ko]
        run(command, limit_seconds=60 + options.size_mb / 4, settings=network.settings)
        cached = ask(network, ["--readers", str(options.readers), "--asks", str(options.asks), "--flood", "0"])
        all_at_once = ["--readers", str(options.channels)]
        steady = ask(network, [*all_at_once, "--asks", str(STEADY_ASKS), "--blocks", "4", "--flood", "0"])
        flooded = ask(network, [*all_at_once, "--paced", "0", "--flood", str(options.seconds)])
    with start(work=work, cache_mb=SMALL_CACHE_MB, worker_has=has_s3) as network:
        missed = ask(network, ["--readers", str(options.readers), "--asks", str(options.misses), "--flood", "0"])
    return Round.of(cached, missed, steady, flooded)


def wait_until_alone(network: kollator.Network) -> None:
    """Waits until the worker has noticed that earlier readers are gone."""
    until = time.monotonic() + ALONE_WITHIN
    while time.monotonic() < until:
        with urllib.request.urlopen(f"{network.worker_url}/stats", timeout=5) as answer:
            if json.load(answer)["connections"]["open"] == 0:
                return
        time.sleep(0.2)
    raise Failed("the worker still has data channels to readers that are gone")


def read(readers: Path, ko: Path, seconds: int, network: kollator.Network, words: list[str]) -> dict[str, Any]:
    """What kollator-readers says."""
    wait_until_alone(network)
    front = network.settings["KOLLATOR_FRONT"]
    command: list[str | Path] = [readers, front, "--pid", str(network.worker.pid), "--ko", ko, "--json"]
    paced = [] if "--paced" in words else ["--paced", str(seconds)]
    done = run([*command, *paced, *words], limit_seconds=120 + 4 * seconds)
    report: dict[str, Any] = json.loads(done.lines[-1])
    return report


if __name__ == "__main__":
    sys.exit(main())
