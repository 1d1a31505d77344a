"""What one run of loads found: a table to read, bars to reach, JSON to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lib import bench
from lib.fronts import KOLLATOR, PLAIN
from lib.report import Bar, Spread, at_least, at_most, table

MOST_SESSION_BYTES = 8 * 1024.0
MOST_INSIDE_MS = 1.0
MOST_ACROSS_MS = 5.0
LEAST_PER_CORE_SECOND = 50_000.0


@dataclass(frozen=True)
class Load:
    """One contender under one load."""

    idle_bytes: float
    """Resident memory for each session, in the front that needs most."""
    after_bytes: float
    """The same some seconds after the last traffic."""
    inside_p50_ms: float
    inside_p99_ms: float
    across_p50_ms: float | None
    across_p99_ms: float | None
    cores: float
    """Share of a core that the steady exchanges took."""
    per_second: float
    """Messages relayed under the flood."""
    per_core_second: float
    undelivered: int

    @classmethod
    def of(cls, report: dict[str, Any]) -> Load:
        """From kollator-load's JSON."""
        steady, flood = report["steady"], report["flood"]
        across = steady["across"] or {}
        return cls(
            idle_bytes=max(front["idle_bytes_per_session"] for front in report["memory"]),
            after_bytes=max(front["after_traffic_bytes_per_session"] for front in report["memory"]),
            inside_p50_ms=steady["inside"]["p50_ms"],
            inside_p99_ms=steady["inside"]["p99_ms"],
            across_p50_ms=across.get("p50_ms"),
            across_p99_ms=across.get("p99_ms"),
            cores=steady["cores"],
            per_second=flood["relayed_a_second"],
            per_core_second=flood["relayed_a_core_second"],
            undelivered=sum(phase[fate] for phase in (steady, flood) for fate in ("unreachable", "lost")),
        )


@dataclass
class Results(bench.Results):
    """Everything measured in a run."""

    sessions: int
    fronts: int
    exchanges_a_second: int
    rounds: list[dict[str, Load]] = field(default_factory=list)
    """By contender."""

    def text(self) -> str:
        """What was found, as Markdown."""
        if not self.rounds:
            return ""
        head = (f"{self.sessions} sessions on {self.fronts} front(s), {self.exchanges_a_second} exchanges a second, "
                f"{len(self.rounds)} rounds")
        columns = ["", "bytes a session idle", "after traffic", "p50 ms", "p99 ms", "min..max", "a core-second",
                   "min..max"]
        parts = [f"{head}\n\n{table(columns, map(self._row, self.rounds[0]))}"]
        times = self._times_plain()
        if times:
            parts.append(f"Messages a core-second over those of the {PLAIN}: {times.words('{:.2f}'.format)}")
        parts.append(self.bars_text())
        return "\n\n".join(parts)

    def bars(self) -> list[Bar]:
        """The medians, held against what they have to reach."""
        if not self.rounds:
            return []

        def median(value: Callable[[Load], float]) -> float:
            return self._spread(KOLLATOR, value).median

        found = [
            at_most("memory of an idle session", median(lambda one: one.idle_bytes), MOST_SESSION_BYTES, " bytes"),
            at_most("memory of a session after traffic", median(lambda one: one.after_bytes), MOST_SESSION_BYTES,
                    " bytes"),
            at_most("relay inside a front, p99", median(lambda one: one.inside_p99_ms), MOST_INSIDE_MS, " ms"),
            at_most("messages that did not arrive", sum(one[KOLLATOR].undelivered for one in self.rounds), 0),
        ]
        if self.fronts == 1:
            rate = median(lambda one: one.per_core_second)
            found.append(at_least("messages a core-second", rate, LEAST_PER_CORE_SECOND))
        else:
            # Two fronts work for a message from one to the other, which counts once.
            across = median(lambda one: float("inf") if one.across_p99_ms is None else one.across_p99_ms)
            found.append(at_most("relay across fronts, p99", across, MOST_ACROSS_MS, " ms"))
        return found

    def _spread(self, name: str, value: Callable[[Load], float]) -> Spread:
        return Spread.of(value(measured[name]) for measured in self.rounds)

    def _times_plain(self) -> Spread | None:
        """How many times as many messages a core-second as the plain relay's in the same round."""
        both = [measured for measured in self.rounds if PLAIN in measured]
        ratios = [one[KOLLATOR].per_core_second / one[PLAIN].per_core_second for one in both]
        return Spread.of(ratios) if ratios else None

    def _row(self, name: str) -> list[str]:
        idle = self._spread(name, lambda one: one.idle_bytes)
        after = self._spread(name, lambda one: one.after_bytes)
        p50 = self._spread(name, lambda one: one.inside_p50_ms)
        p99 = self._spread(name, lambda one: one.inside_p99_ms)
        rate = self._spread(name, lambda one: one.per_core_second)
        return [
            name,
            f"{idle.median:.0f}",
            f"{after.median:.0f}",
            f"{p50.median:.2f}",
            f"{p99.median:.2f}",
            f"{p99.least:.2f}..{p99.most:.2f}",
            f"{rate.median:.0f}",
            f"{rate.least:.0f}..{rate.most:.0f}",
        ]
