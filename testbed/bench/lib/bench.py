"""What every benchmark does around what it measures: common options, signals, words at the end, the exit code."""

from __future__ import annotations

import abc
import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lib import tools
from lib.processes import Failed
from lib.report import Bar, table


@dataclass
class Results(abc.ABC):
    """What a benchmark found: a table to read, bars to reach, JSON to keep."""

    failures: list[str] = field(default_factory=list, kw_only=True)
    """What did not work, in words."""

    @abc.abstractmethod
    def text(self) -> str:
        """What was found, as Markdown; empty if nothing was."""

    @abc.abstractmethod
    def bars(self) -> Sequence[Bar]:
        """What had to be reached, and whether it was."""

    def bars_text(self) -> str:
        """The bars, as Markdown."""
        rows = [[bar.what, bar.wanted, bar.measured, "met" if bar.met else "MISSED"] for bar in self.bars()]
        return table(["bar", "wanted", "measured", ""], rows)

    def as_json(self) -> dict[str, object]:
        """Every measurement."""
        machine = {"system": platform.platform(), "load": os.getloadavg()}
        return {"machine": machine, **asdict(self), "bars": [asdict(bar) for bar in self.bars()]}


def options(name: str, words: str | None, base_port: int, ports: str) -> argparse.ArgumentParser:
    """A command line with what all benchmarks have."""
    parser = argparse.ArgumentParser(prog=name, description=(words or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement to FILE")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a bar is missed")
    parser.add_argument("--base-port", type=positive, default=base_port, metavar="PORT",
                        help=f"{ports} (default %(default)s)")
    return parser


def read(parser: argparse.ArgumentParser, ports_above: Callable[[argparse.Namespace], int]) -> argparse.Namespace:
    """The options chosen, if there are as many ports above the first as are needed."""
    chosen = parser.parse_args()
    if chosen.base_port + ports_above(chosen) > 65535:
        parser.error(f"--base-port {chosen.base_port}: there is no port {ports_above(chosen)} above it")
    return chosen


def positive(text: str) -> int:
    """The number in an argument that must be 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


def run(chosen: argparse.Namespace, results: Results, measure: Callable[[], None]) -> int:
    """Measures, prints what was found, and gives the exit code. Whatever ends it, what `measure` started ends too."""
    # A signal ends the run as an error does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        measure()
    except (Failed, tools.Missing, OSError) as error:
        results.failures.append(str(error))
    except KeyboardInterrupt:
        return 130
    print(results.text())
    for failure in results.failures:
        tools.say(f"FAILED: {failure}")
    if chosen.json:
        chosen.json.write_text(json.dumps(results.as_json(), indent=2) + "\n")
    missed = chosen.strict and not all(bar.met for bar in results.bars())
    return 1 if results.failures or missed else 0
