"""Measures what fronts bear, beside the simplest relay, and prints tables; docs/performance.md says how to read them.

Each round starts fresh fronts, loads them with kollator-load and ends them, then does the same with the plain relay.
Fails if something did not work; whether the bars are met is information, and decides the exit code with --strict only.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
import tempfile
from pathlib import Path

from lib import fronts, tools
from lib.front_results import Load, Results
from lib.processes import Failed

OTHER_FILES = 128
"""Open files of a process beside its sessions."""


def main() -> int:
    options = read_options()
    # A signal ends the run as an error does: everything that was started is ended.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    results = Results(options.sessions, options.fronts, options.exchanges)
    try:
        raise_open_files(options.sessions + OTHER_FILES)
        measure(options, results)
    except (Failed, tools.Missing, OSError) as error:
        results.failures.append(str(error))
    except KeyboardInterrupt:
        return 130
    print(results.text())
    for failure in results.failures:
        tools.say(f"FAILED: {failure}")
    if options.json:
        options.json.write_text(json.dumps(results.as_json(), indent=2) + "\n")
    missed = options.strict and not all(bar.met for bar in results.bars())
    return 1 if results.failures or missed else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="front.sh", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--sessions", type=positive, default=10_000, metavar="N", help="in all (default %(default)s)")
    add("--fronts", type=positive, default=1, metavar="N", help="that share the sessions (default %(default)s)")
    add("--exchanges", type=positive, default=1000, metavar="N", help="offers a second (default %(default)s)")
    add("--rounds", type=positive, default=5, metavar="N", help="default %(default)s")
    add("--hold", type=positive, default=20, metavar="SECONDS", help="that sessions idle (default %(default)s)")
    add("--steady", type=positive, default=10, metavar="SECONDS", help="of exchanges (default %(default)s)")
    add("--flood", type=positive, default=10, metavar="SECONDS", help="of flood (default %(default)s)")
    add("--no-rival", action="store_true", help="leave the plain relay out")
    add("--json", type=Path, metavar="FILE", help="also write every measurement to FILE")
    add("--strict", action="store_true", help="exit with 1 if a bar is missed")
    add("--base-port", type=positive, default=18180, metavar="PORT",
        help="the first front's port; the others' follow it (default %(default)s)")
    options = parser.parse_args()
    if options.base_port + options.fronts > 65535:
        parser.error(f"--base-port {options.base_port}: there are not so many ports above it")
    return options


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


def raise_open_files(needed: int) -> None:
    """Lets the processes that are started have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
        except (ValueError, OSError) as error:
            raise Failed(f"{needed} open files are needed, {hard} are allowed (ulimit -Hn): {error}") from error


def measure(options: argparse.Namespace, results: Results) -> None:
    """Everything, round by round, another contender first in each."""
    programs = fronts.programs()
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
