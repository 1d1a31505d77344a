"""What one run against a worker found: a table to read, bars to reach, JSON to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from lib import bench
from lib.report import Bar, Spread, at_least, at_most, table

MOST_CACHED_MS = 10.0
MOST_MISSED_MS = 500.0
LEAST_RATE_MB = 50.0
MOST_CHANNEL_KB = 600.0


@dataclass(frozen=True)
class Round:
    """One round."""

    cached_p50_ms: float
    cached_p99_ms: float
    """From a request to its first frame, from the cache."""
    missed_p50_ms: float
    missed_p99_ms: float
    """The same where the chunk has to be fetched from S3."""
    opening_seconds: float
    empty_mb: float
    """Resident memory of the worker after it had stored the file and served the first readers."""
    held_kb: float
    """Resident memory of the worker for each of many data channels."""
    steady_kb: float
    """The same at the worst moment while all of them ask now and then."""
    steady_mb: float
    """MB/s through all of them meanwhile."""
    steady_p99_ms: float
    """From a request to its first frame meanwhile."""
    peak_kb: float
    """Memory of a channel at the worst moment of the flood."""
    rate_mb: float
    """MB/s through all of them at once."""
    cores: float
    """Share of a core that the worker used for it."""

    @classmethod
    def of(
        cls, cached: dict[str, Any], missed: dict[str, Any], steady: dict[str, Any], many: dict[str, Any]
    ) -> Round:
        """From the JSON of kollator-readers."""
        return cls(
            cached_p50_ms=cached["first_frame"]["p50_ms"],
            cached_p99_ms=cached["first_frame"]["p99_ms"],
            missed_p50_ms=missed["first_frame"]["p50_ms"],
            missed_p99_ms=missed["first_frame"]["p99_ms"],
            opening_seconds=steady["opening_seconds"],
            empty_mb=steady["empty_bytes"] / 1e6,
            held_kb=steady["held_bytes_per_reader"] / 1e3,
            steady_kb=steady["peak_bytes_per_reader"] / 1e3,
            steady_mb=steady["paced_bytes_a_second"] / 1e6,
            steady_p99_ms=steady["first_frame"]["p99_ms"],
            peak_kb=many["peak_bytes_per_reader"] / 1e3,
            rate_mb=many["flood_bytes_a_second"] / 1e6,
            cores=many["flood_cores"],
        )

    def as_words(self) -> dict[str, float]:
        """Every number, rounded."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


@dataclass
class Results(bench.Results):
    """Everything measured in a run."""

    readers: int
    channels: int
    size_mb: int
    rounds: list[Round] = field(default_factory=list)

    def text(self) -> str:
        """What was found, as Markdown."""
        if not self.rounds:
            return ""
        head = (f"{self.readers} readers for first frames, {self.channels} data channels for memory and rate, a file of "
                f"{self.size_mb} MiB, {len(self.rounds)} rounds")
        rows = [
            self._row("first frame from the cache, p50, ms", lambda one: one.cached_p50_ms),
            self._row("first frame from the cache, p99, ms", lambda one: one.cached_p99_ms),
            self._row("first frame from S3, p50, ms", lambda one: one.missed_p50_ms),
            self._row("first frame from S3, p99, ms", lambda one: one.missed_p99_ms),
            self._row("memory before the channels, MB", lambda one: one.empty_mb),
            self._row("memory of a channel, held, KB", lambda one: one.held_kb),
            self._row("rate while all ask now and then, MB/s", lambda one: one.steady_mb),
            self._row("first frame then, p99, ms", lambda one: one.steady_p99_ms),
            self._row("memory of a channel then, at most, KB", lambda one: one.steady_kb),
            self._row("rate while all ask without end, MB/s", lambda one: one.rate_mb),
            self._row("memory of a channel then, at most, KB", lambda one: one.peak_kb),
            self._row("cores that the worker used for it", lambda one: one.cores),
            self._row("time to open all channels, s", lambda one: one.opening_seconds),
        ]
        return "\n\n".join([head, table(["", "median", "min..max"], rows), self.bars_text()])

    def bars(self) -> list[Bar]:
        """The medians, held against what they have to reach."""
        if not self.rounds:
            return []
        cached = self._spread(lambda one: one.cached_p99_ms).median
        missed = self._spread(lambda one: one.missed_p99_ms).median
        rate = self._spread(lambda one: one.steady_mb).median
        memory = self._spread(lambda one: one.steady_kb).median
        return [
            at_most("first frame from the cache, p99", cached, MOST_CACHED_MS, " ms"),
            at_most("first frame from S3, p99", missed, MOST_MISSED_MS, " ms"),
            at_least(f"through {self.channels} channels at once", rate, LEAST_RATE_MB, " MB/s"),
            at_most("memory of a channel at that rate", memory, MOST_CHANNEL_KB, " KB"),
        ]

    def _spread(self, value: Callable[[Round], float]) -> Spread:
        return Spread.of(value(one) for one in self.rounds)

    def _row(self, name: str, value: Callable[[Round], float]) -> list[str]:
        spread = self._spread(value)
        return [name, f"{spread.median:.2f}", f"{spread.least:.2f}..{spread.most:.2f}"]
