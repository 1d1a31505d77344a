"""Medians, spreads, ratios, and whether they reach the bars."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Spread:
    """What one number was over all rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        seen = sorted(values)
        return cls(statistics.median(seen), seen[0], seen[-1])

    def words(self, show: Callable[[float], str]) -> str:
        """`median (least..most)`, each as `show` writes it."""
        return f"{show(self.median)} ({show(self.least)}..{show(self.most)})"


@dataclass(frozen=True)
class Bar:
    """What a number has to reach, and what it was."""

    what: str
    wanted: str
    measured: str
    met: bool


def at_least(what: str, value: float, least: float, unit: str = "") -> Bar:
    """A bar that is met at `least` and above."""
    return Bar(what, f"at least {least:g}{unit}", f"{value:.3g}{unit}", value >= least)


def at_most(what: str, value: float, most: float, unit: str = "") -> Bar:
    """A bar that is met at `most` and below."""
    return Bar(what, f"at most {most:g}{unit}", f"{value:.3g}{unit}", value <= most)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up in a terminal; the first column is words, the others numbers."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *others = (cell.ljust(width) if n == 0 else cell.rjust(width)
                          for n, (cell, width) in enumerate(zip(row, widths, strict=True)))
        return f"| {' | '.join([first, *others])} |"

    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])
