"""What one run of changes found: tables to read, bars to reach, JSON to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lib import bench
from lib.report import Bar, Spread, at_most, table
from lib.sockets import Link

MOST_MS = 100.0
MOST_IDLE_BYTES = 10_000.0

KINDS = {"joined": "peer joins a swarm", "left": "peer leaves it", "drained": "worker drains",
         "arrived": "worker arrives"}


@dataclass(frozen=True)
class Times:
    """One kind of change, until the last front showed it."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True)
class Traffic:
    """Bytes a second between fronts at rest."""

    links: dict[str, float]
    """By connection, both ways."""
    fronts: dict[str, float]
    """On all connections of one front, both ways."""
    total: float

    @classmethod
    def between(cls, before: Mapping[Link, int], after: Mapping[Link, int], seconds: float) -> Traffic:
        """From two counts so many seconds apart."""
        rates = {link: (after[link] - count) / seconds for link, count in before.items()}
        ends = sorted({end for link in rates for end in link})
        return cls(
            links={f"{opened + 1}-{accepted + 1}": rate for (opened, accepted), rate in sorted(rates.items())},
            fronts={f"{end + 1}": sum(rate for link, rate in rates.items() if end in link) for end in ends},
            total=sum(rates.values()),
        )

    def words(self) -> str:
        """The most that any link and any front has, and the sum."""
        return (f"at rest {max(self.links.values()):.0f} B/s on a connection, {max(self.fronts.values()):.0f} at a "
                f"front, {self.total:.0f} in all")


@dataclass(frozen=True)
class Round:
    """One set of fronts."""

    rows: int
    unshown: int
    times: dict[str, Times]
    traffic: Traffic

    @classmethod
    def of(cls, report: dict[str, Any], traffic: Traffic) -> Round:
        """From kollator-changes' JSON."""
        timed = {kind: report[kind] for kind in KINDS if report[kind]}
        times = {kind: Times(one["count"], one["p50_ms"], one["p99_ms"], one["max_ms"]) for kind, one in timed.items()}
        return cls(report["rows"], report["unshown"], times, traffic)

    def words(self) -> str:
        """What each kind took."""
        kinds = (f"{kind} {one.p50_ms:.1f}/{one.p99_ms:.1f}/{one.max_ms:.1f}" for kind, one in self.times.items())
        return f"p50/p99/max ms: {', '.join(kinds)}"


@dataclass
class Results(bench.Results):
    """Everything measured in a run."""

    rounds: list[Round] = field(default_factory=list)

    def text(self) -> str:
        """What was found, as Markdown."""
        if not self.rounds:
            return ""
        columns = ["change", "times", "p50 ms", "p99 ms", "min..max", "slowest"]
        changes = table(columns, (self._row(kind) for kind in self._kinds()))
        rests = table(["at rest", "bytes a second", "min..max"], [
            self._rest("a connection, the busiest", lambda traffic: max(traffic.links.values())),
            self._rest("all connections of a front, the busiest", lambda traffic: max(traffic.fronts.values())),
            self._rest("all connections", lambda traffic: traffic.total),
        ])
        head = f"{self.rounds[0].rows} rows, {len(self.rounds)} rounds"
        return "\n\n".join([head, changes, rests, self.bars_text()])

    def bars(self) -> list[Bar]:
        """The medians, held against what they have to reach."""
        if not self.rounds:
            return []
        found = [
            at_most(f"{KINDS[kind]}, p99", self._spread(kind, lambda one: one.p99_ms).median, MOST_MS, " ms")
            for kind in self._kinds()
        ]
        found.append(at_most("changes that were not shown", sum(one.unshown for one in self.rounds), 0))
        total = Spread.of(one.traffic.total for one in self.rounds).median
        found.append(at_most("bytes a second between all fronts at rest", total, MOST_IDLE_BYTES))
        return found

    def _kinds(self) -> list[str]:
        return [kind for kind in KINDS if all(kind in one.times for one in self.rounds)]

    def _spread(self, kind: str, value: Callable[[Times], float]) -> Spread:
        return Spread.of(value(one.times[kind]) for one in self.rounds)

    def _row(self, kind: str) -> list[str]:
        p50, p99 = self._spread(kind, lambda one: one.p50_ms), self._spread(kind, lambda one: one.p99_ms)
        return [
            KINDS[kind],
            str(sum(one.times[kind].count for one in self.rounds)),
            f"{p50.median:.1f}",
            f"{p99.median:.1f}",
            f"{p99.least:.1f}..{p99.most:.1f}",
            f"{self._spread(kind, lambda one: one.max_ms).most:.1f}",
        ]

    def _rest(self, what: str, value: Callable[[Traffic], float]) -> list[str]:
        spread = Spread.of(value(one.traffic) for one in self.rounds)
        return [what, f"{spread.median:.0f}", f"{spread.least:.0f}..{spread.most:.0f}"]
