"""Measures Kollator beside other programs in one run and prints tables; docs/performance.md says how to read them.

Starts a network of its own and the others' seeds, fetches the same random file from each in turn, round after round,
and ends everything that it started. Fails if something did not work; whether the bars are met is information, and
decides the exit code with --strict only.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lib import bench, kollator, rivals, tools
from lib.files import write_random
from lib.processes import Failed, run
from lib.report import MIB, Spread
from lib.results import KOLLATOR, Hashing, Results, Transfer

PARTS = ("transfer", "small", "hash")
RIVALS = ("libtorrent", "libtorrent-tuned", "webtorrent", "sendme")
SMALL_BYTES = 16 * 1024
COPIES = 7
"""Of the file, at most at once: itself, the worker's store and cache, the fetched one, sendme's three."""


def main() -> int:
    options = read_options()
    measured = Bench(options)

    def measure() -> None:
        with contextlib.ExitStack() as stack:
            work = stack.enter_context(tempfile.TemporaryDirectory(prefix="kollator-bench-", dir=options.dir))
            measured.measure(Path(work), stack)

    return bench.run(options, measured.results, measure)


def read_options() -> argparse.Namespace:
    above = kollator.WORKER_PORT_ABOVE
    parser = bench.options("transfer.sh", __doc__, 18080, f"the front's port; the worker's is {above} above")
    add = parser.add_argument
    add("--size-mb", type=bench.positive, default=os.environ.get("KOLLATOR_BENCH_SIZE_MB", "1024"), metavar="N",
        help="MiB in the file (default %(default)s; environment KOLLATOR_BENCH_SIZE_MB)")
    add("--rounds", type=bench.positive, default=5, metavar="N",
        help="of all but the small file (default %(default)s)")
    add("--small-runs", type=bench.positive, default=11, metavar="N",
        help="downloads of a 16 KiB file (default %(default)s)")
    add("--only", action="append", choices=[*PARTS, *RIVALS], default=[], metavar="WHAT",
        help=f"measure only this; repeated for several. WHAT is a part ({', '.join(PARTS)}), or who stands beside "
             f"Kollator in the transfer ({', '.join(RIVALS)})")
    add("--install-sendme", action="store_true", help="build sendme if it is not installed")
    add("--dir", type=Path, help="where the files go (default: the system's temporary folder)")
    return bench.read(parser, lambda _: above)


class Bench:
    """One run."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.size = options.size_mb * MIB
        self.results = Results(self.size, os.cpu_count() or 1)
        # What is slower than 4 MiB/s has failed.
        self.limit_seconds = 60 + options.size_mb / 4
        wanted = set(options.only) or {"small", "hash", *RIVALS}
        if wanted & set(RIVALS):
            wanted.add("transfer")
        elif "transfer" in wanted:
            wanted.update(RIVALS)
        self.wanted = wanted

    def measure(self, work: Path, stack: contextlib.ExitStack) -> None:
        """Everything that is wanted."""
        programs = tools.kollator()
        tools.say_load()
        free = shutil.disk_usage(work).free
        if free < COPIES * self.size:
            needed = COPIES * self.size // MIB
            raise Failed(f"{work} has {free // MIB} MiB free, {needed} are needed; choose another --dir")
        file = work / "payload"
        write_random(file, self.size)
        if self.wanted & {"transfer", "small"}:
            cache_mb = kollator.cache_megabytes(self.options.size_mb)
            network = stack.enter_context(kollator.network(programs, work, self.options.base_port, cache_mb))
            if "transfer" in self.wanted:
                self.measure_transfers(network, file, work, stack)
            if "small" in self.wanted:
                self.measure_small(network, work)
            self.results.note_peak("worker", network.worker.peak_bytes())
            self.results.note_peak("front", network.front.peak_bytes())
        if "hash" in self.wanted:
            self.measure_hashing(programs, file, work)

    def measure_transfers(
        self, network: kollator.Network, file: Path, work: Path, stack: contextlib.ExitStack
    ) -> None:
        """The file from each contender in turn, another one first in each round."""
        link, shared = network.share(file, self.limit_seconds)
        self.results.note_peak("sharer", shared.peak_bytes)
        tools.say(f"shared with the worker in {shared.seconds:.2f} s: {link}")
        contenders: list[rivals.Contender] = [kollator.Download(KOLLATOR, network, link)]
        for name in RIVALS:
            if name in self.wanted:
                try:
                    contenders.append(stack.enter_context(self.rival(name, file, work)))
                except tools.Missing as error:
                    self.results.skipped[name] = str(error)
                except Failed as error:
                    self.fail(name, error)
        for number in range(self.options.rounds):
            first = number % len(contenders)
            measured = {}
            for contender in contenders[first:] + contenders[:first]:
                try:
                    measured[contender.name] = self.measure_transfer(contender, file, work / "fetched")
                except Failed as error:
                    self.fail(contender.name, error)
            self.results.rounds.append(measured)

    def fail(self, name: str, error: Failed) -> None:
        """One that failed does not keep the others from being measured."""
        self.results.failures.append(f"{name}: {error}")
        tools.say(self.results.failures[-1])

    def rival(self, name: str, file: Path, work: Path) -> contextlib.AbstractContextManager[rivals.Rival]:
        """One of `RIVALS`, installed if need be."""
        cache = tools.cache_folder()
        match name:
            case "libtorrent":
                return rivals.libtorrent("default", file, work, cache)
            case "libtorrent-tuned":
                return rivals.libtorrent("tuned", file, work, cache)
            case "webtorrent":
                return rivals.webtorrent(file, work, cache)
            case _:
                return rivals.sendme(tools.sendme(cache, install=self.options.install_sendme), file, work)

    def measure_transfer(self, contender: rivals.Contender, file: Path, folder: Path) -> Transfer:
        """One fetch, its bytes compared afterwards."""
        folder.mkdir()
        try:
            # What was written before must not go to the disk while this is measured.
            os.sync()
            cpu_before = contender.seed.cpu_seconds()
            fetched = contender.fetch(folder, self.limit_seconds)
            cpu_seconds_sender = contender.seed.cpu_seconds() - cpu_before
            if not filecmp.cmp(file, folder / file.name, shallow=False):
                raise Failed("the file that was fetched is not the file that was shared")
        finally:
            shutil.rmtree(folder)
        tools.say(f"{contender.name}: {self.size / 1e6 / fetched.seconds:.0f} MB/s")
        if contender.name == KOLLATOR:
            self.results.note_peak("downloader", fetched.peak_bytes)
        return Transfer(
            seconds=fetched.seconds,
            setup_seconds=rivals.setup_seconds(contender.name, fetched),
            cpu_seconds_receiver=fetched.cpu_seconds,
            cpu_seconds_sender=cpu_seconds_sender,
            peak_mb_receiver=fetched.peak_bytes / 1e6,
            peak_mb_sender=contender.seed.peak_bytes() / 1e6,
        )

    def measure_small(self, network: kollator.Network, work: Path) -> None:
        """A file of one block: what it takes to be connected."""
        file, output = work / "small", work / "small.fetched"
        write_random(file, SMALL_BYTES)
        link, _ = network.share(file, self.limit_seconds)
        for _ in range(self.options.small_runs):
            got = network.download(link, output, self.limit_seconds)
            if not filecmp.cmp(file, output, shallow=False):
                raise Failed("the small file that was fetched is not the one that was shared")
            output.unlink()
            self.results.small_seconds.append(got.seconds)
        tools.say(f"16 KiB: {Spread.of(self.results.small_seconds).words('{:.3f}'.format)} s")

    def measure_hashing(self, programs: tools.Kollator, file: Path, work: Path) -> None:
        """Hashing a share from the page cache, beside OpenSSL's SHA-256."""
        if shutil.which("openssl") is None:
            raise Failed("openssl is not installed, and hashing is measured beside it")
        run(["cksum", file], limit_seconds=self.limit_seconds)
        for _ in range(self.options.rounds):
            one_core = openssl_mb_per_second(1)
            created = kollator.create(programs, file, work / "payload.ko", self.limit_seconds)
            self.results.note_peak("hasher", created.peak_bytes)
            hashed = Hashing(
                self.size / 1e6 / created.seconds, one_core, openssl_mb_per_second(self.results.cores)
            )
            tools.say(f"hashing: {hashed.kollator:.0f} MB/s, openssl on one core: {one_core:.0f} MB/s")
            self.results.hashing.append(hashed)


def openssl_mb_per_second(cores: int) -> float:
    """What `openssl speed` says of SHA-256 in blocks of 16 KiB on so many cores at once."""
    several = ["-multi", str(cores)] if cores > 1 else []
    command = ["openssl", "speed", "-mr", *several, "-evp", "sha256", "-bytes", "16384", "-seconds", "1"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    sums = re.findall(r"^\+F:\d+:[^:]*:([\d.]+)$", said, re.MULTILINE)
    if not sums:
        raise Failed(f"openssl speed said no rate but: {said}")
    return float(sums[-1]) / 1e6


if __name__ == "__main__":
    sys.exit(main())
