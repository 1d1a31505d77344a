"""What one run found: tables to read, bars to reach, JSON to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lib import bench
from lib.report import GIB, MIB, Bar, Spread, at_least, at_most, table
from lib.rivals import LIBTORRENT_DEFAULT, LIBTORRENT_TUNED, SENDME, WEBTORRENT

KOLLATOR = "Kollator WebRTC"

LEAST_TIMES_RATE_OF = {LIBTORRENT_DEFAULT: 0.5, LIBTORRENT_TUNED: 0.5, WEBTORRENT: 5.0, SENDME: 1.0}
MOST_MEMORY_MB = 150.0
MOST_SMALL_SECONDS = 0.5
LEAST_OF_OPENSSL = 0.8


@dataclass(frozen=True)
class Transfer:
    """One fetch of the file by one contender."""

    seconds: float
    """From the start of the receiving command to the verified file on disk."""
    setup_seconds: float
    """The part of it before the first peer was connected; 0 where the program does not say."""
    cpu_seconds_receiver: float
    cpu_seconds_sender: float
    peak_mb_receiver: float
    peak_mb_sender: float
    """Since the sender began."""


@dataclass(frozen=True)
class Hashing:
    """One round of hashing, in MB/s."""

    kollator: float
    openssl_one_core: float
    openssl_all_cores: float
    """All at once, which may be less than one core times their number."""


@dataclass
class Results(bench.Results):
    """Everything measured in a run."""

    size: int
    """Bytes in the file."""
    cores: int
    rounds: list[dict[str, Transfer]] = field(default_factory=list)
    """By contender; one that failed in a round is not in it."""
    small_seconds: list[float] = field(default_factory=list)
    hashing: list[Hashing] = field(default_factory=list)
    peak_mb: dict[str, float] = field(default_factory=dict)
    """By process of Kollator, the largest of all rounds."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Contenders that are not there, and why."""

    def note_peak(self, process: str, peak_bytes: int) -> None:
        """Remembers the largest peak of a process of Kollator."""
        self.peak_mb[process] = max(self.peak_mb.get(process, 0.0), peak_bytes / 1e6)

    def text(self) -> str:
        """What was found, as Markdown."""
        parts = []
        if any(self.rounds):
            parts.append(self._transfers())
        if self.small_seconds:
            spread = Spread.of(self.small_seconds).words("{:.3f}".format)
            parts.append(f"16 KiB, connection set-up included, {len(self.small_seconds)} runs: {spread} s")
        if self.hashing:
            parts.append(self._hashing())
        parts += [f"Left out: {name}: {why}" for name, why in self.skipped.items()]
        if self.bars():
            parts.append(self.bars_text())
        return "\n\n".join(parts)

    def bars(self) -> list[Bar]:
        """Those that what was measured can be held to."""
        ratios = ((name, least, self._times(name)) for name, least in LEAST_TIMES_RATE_OF.items())
        found = [at_least(f"times the rate of {name}", ratio.median, least) for name, least, ratio in ratios if ratio]
        for process, peak in self.peak_mb.items():
            found.append(at_most(f"peak memory of the {process}", peak, MOST_MEMORY_MB, " MB"))
        if self.small_seconds:
            median = Spread.of(self.small_seconds).median
            found.append(at_most("16 KiB from command to file", median, MOST_SMALL_SECONDS, " s"))
        if self.hashing:
            shares = (hashed.kollator / (hashed.openssl_one_core * self.cores) for hashed in self.hashing)
            what = f"hashing over openssl on one core times {self.cores}"
            found.append(at_least(what, Spread.of(shares).median, LEAST_OF_OPENSSL))
        return found

    def _of(self, name: str) -> list[Transfer]:
        return [measured[name] for measured in self.rounds if name in measured]

    def _times(self, name: str, seconds: Callable[[Transfer], float] = lambda theirs: theirs.seconds) -> Spread | None:
        """How many times as fast as another Kollator was in the same round."""
        both = [measured for measured in self.rounds if name in measured and KOLLATOR in measured]
        if name == KOLLATOR or not both:
            return None
        return Spread.of(seconds(measured[name]) / measured[KOLLATOR].seconds for measured in both)

    def _transfers(self) -> str:
        names = dict.fromkeys(name for measured in self.rounds for name in measured)
        head = ["", "MB/s", "min..max", "Kollator is ×", "min..max", "CPU s/GiB receiver", "sender",
                "peak MB receiver", "sender"]
        text = f"{self.size // MIB} MiB, {len(self.rounds)} rounds\n\n{table(head, map(self._row, names))}"
        after_setup = self._times(WEBTORRENT, lambda theirs: theirs.seconds - theirs.setup_seconds)
        if after_setup:
            setup = Spread.of(theirs.setup_seconds for theirs in self._of(WEBTORRENT)).words("{:.1f}".format)
            times = after_setup.words("{:.2f}".format)
            text += f"\n\n{WEBTORRENT} took {setup} s to be connected; without them Kollator is × {times}"
        return text

    def _row(self, name: str) -> list[str]:
        fetched = self._of(name)
        rate = Spread.of(self.size / 1e6 / one.seconds for one in fetched)
        times = self._times(name)
        receiver, sender = (
            Spread.of(seconds * GIB / self.size for seconds in side).median
            for side in ([one.cpu_seconds_receiver for one in fetched], [one.cpu_seconds_sender for one in fetched])
        )
        return [
            name,
            f"{rate.median:.0f}",
            f"{rate.least:.0f}..{rate.most:.0f}",
            f"{times.median:.2f}" if times else "",
            f"{times.least:.2f}..{times.most:.2f}" if times else "",
            f"{receiver:.1f}",
            f"{sender:.1f}",
            f"{max(one.peak_mb_receiver for one in fetched):.0f}",
            f"{max(one.peak_mb_sender for one in fetched):.0f}",
        ]

    def _hashing(self) -> str:
        def row(what: str, rates: list[float]) -> list[str]:
            spread = Spread.of(rates)
            return [what, f"{spread.median:.0f}", f"{spread.least:.0f}..{spread.most:.0f}"]

        return table(["SHA-256", "MB/s", "min..max"], [
            row("kollator create", [one.kollator for one in self.hashing]),
            row("openssl speed, one core", [one.openssl_one_core for one in self.hashing]),
            row(f"openssl speed, {self.cores} at once", [one.openssl_all_cores for one in self.hashing]),
        ])
