"""Measures what fronts bear, beside the simplest relay, and prints tables; docs/performance.md says how to read them.

Each round starts fresh fronts, loads them with kollator-load and ends them, then does the same with the plain relay.
Fails if something did not work; whether the bars are met is information, and decides the exit code with --strict only.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from pathlib import Path

from lib import bench, fronts, tools
from lib.front_results import Load, Results


def main() -> int:
    options = read_options()
    results = Results(options.sessions, options.fronts, options.exchanges)
    return bench.run(options, results, functools.partial(measure, options, results))


def read_options() -> argparse.Namespace:
    parser = bench.options("front.sh", __doc__, 18180, "the first front's port; the others' follow it")
    add = functools.partial(parser.add_argument, type=bench.positive)
    add("--sessions", default=10_000, metavar="N", help="in all (default %(default)s)")
    add("--fronts", default=1, metavar="N", help="that share the sessions (default %(default)s)")
    add("--exchanges", default=1000, metavar="N", help="offers a second (default %(default)s)")
    add("--rounds", default=5, metavar="N", help="default %(default)s")
    add("--hold", default=20, metavar="SECONDS", help="that sessions idle (default %(default)s)")
    add("--steady", default=10, metavar="SECONDS", help="of exchanges (default %(default)s)")
    add("--flood", default=10, metavar="SECONDS", help="of flood (default %(default)s)")
    parser.add_argument("--no-rival", action="store_true", help="leave the plain relay out")
    return bench.read(parser, lambda options: options.fronts - 1)


def measure(options: argparse.Namespace, results: Results) -> None:
    """Everything, round by round, another contender first in each."""
    fronts.raise_open_files(options.sessions)
    programs = fronts.programs("kollator-load", "kollator-plain-relay")
    tools.say_load()
    contenders = [fronts.KOLLATOR] if options.no_rival or options.fronts > 1 else [fronts.KOLLATOR, fronts.PLAIN]
    for number in range(options.rounds):
        first = number % len(contenders)
        measured = {}
        for name in contenders[first:] + contenders[:first]:
            with tempfile.TemporaryDirectory(prefix="kollator-bench-") as work:
                measured[name] = load(name, programs, Path(work), options)
        results.rounds.append(measured)


def load(name: str, programs: fronts.Programs, work: Path, options: argparse.Namespace) -> Load:
    """One contender under the whole load."""
    match name:
        case fronts.KOLLATOR:
            started = fronts.fronts(programs, work, options.base_port, options.fronts, options.sessions)
        case _:
            started = fronts.plain_relay(programs, work, options.base_port)
    with started as servers:
        report = fronts.load(programs, servers, [
            "--sessions", str(options.sessions), "--exchanges", str(options.exchanges), "--hold", str(options.hold),
            "--steady", str(options.steady), "--flood", str(options.flood),
        ], limit_seconds=120 + options.hold + options.steady + options.flood)
    measured = Load.of(report)
    tools.say(f"{name}: {measured.idle_bytes:.0f} bytes a session, {measured.per_core_second:.0f} a core-second")
    return measured


if __name__ == "__main__":
    sys.exit(main())
