"""Measures how long changes take from one front to all others, and what fronts say to each other at rest.

docs/performance.md says how to read the tables. Each round starts fresh fronts, fills and changes their table with
kollator-changes, counts the bytes between them once nothing changes any more, and ends everything. Fails if something
did not work; whether the bars are met is information, and decides the exit code with --strict only.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from pathlib import Path

from lib import bench, fronts, sockets, tools
from lib.cluster_results import Results, Round, Traffic
from lib.processes import service

SETTLE_SECONDS = 2
"""From the last change to the first count of bytes, and from the last count to the end."""


def main() -> int:
    options = read_options()
    results = Results()
    return bench.run(options, results, functools.partial(measure, options, results))


def read_options() -> argparse.Namespace:
    parser = bench.options("cluster.sh", __doc__, 18280, "the first front's port; the others' follow it")
    add = functools.partial(parser.add_argument, type=bench.positive)
    add("--fronts", default=3, metavar="N", help="default %(default)s")
    add("--workers", default=1000, metavar="N", help="in all (default %(default)s)")
    add("--peers", default=2000, metavar="N", help="that are in swarms (default %(default)s)")
    add("--memberships", default=10_000, metavar="N", help="of these peers in all (default %(default)s)")
    add("--groups", default=128, metavar="N", help="of clients that watch, one at each front (default %(default)s)")
    add("--member-changes", default=100, metavar="N", help="a second (default %(default)s)")
    add("--worker-changes", default=10, metavar="N", help="a second (default %(default)s)")
    add("--length", default=30, metavar="SECONDS", help="of changes (default %(default)s)")
    add("--idle", default=20, metavar="SECONDS", help="without a change (default %(default)s)")
    add("--rounds", default=3, metavar="N", help="default %(default)s")
    options = bench.read(parser, lambda options: options.fronts - 1)
    if options.fronts < 2:
        parser.error("--fronts: one front has nobody to tell")
    return options


def measure(options: argparse.Namespace, results: Results) -> None:
    """Everything, round by round."""
    sessions = options.workers + options.peers + options.groups * options.fronts
    fronts.raise_open_files(sessions)
    programs = fronts.programs("kollator-changes")
    sockets.require()
    tools.say_load()
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="kollator-bench-") as work:
            measured = load(programs, Path(work), options, sessions)
        results.rounds.append(measured)
        tools.say(f"{measured.words()}; {measured.traffic.words()}")


def load(programs: fronts.Programs, work: Path, options: argparse.Namespace, sessions: int) -> Round:
    """One set of fronts, with changes and then without."""
    with fronts.fronts(programs, work, options.base_port, options.fronts, sessions) as servers:
        idle = options.idle + 2 * SETTLE_SECONDS
        command: list[str | Path] = [
            programs["kollator-changes"], "--json", "--key", work / fronts.KEY,
            "--workers", str(options.workers), "--peers", str(options.peers), "--groups", str(options.groups),
            "--memberships", str(options.memberships), "--member-changes", str(options.member_changes),
            "--worker-changes", str(options.worker_changes), "--length", str(options.length), "--idle", str(idle),
            *(server.url for server in servers),
        ]
        with service("kollator-changes", command, log=work / "changes.log") as changes:
            changes.first_line_with('"phase":"idle"', 300 + options.length)
            time.sleep(SETTLE_SECONDS)
            links = {(server.process.pid, other.port): (number, other_number)
                     for number, server in enumerate(servers) for other_number, other in enumerate(servers)
                     if other is not server}
            before, began = sockets.carried(links), time.monotonic()
            time.sleep(options.idle)
            after, seconds = sockets.carried(links), time.monotonic() - began
            report = json.loads(changes.first_line_with('"unshown"', 120))
    return Round.of(report, Traffic.between(before, after, seconds))


if __name__ == "__main__":
    sys.exit(main())
