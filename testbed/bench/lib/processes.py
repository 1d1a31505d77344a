"""Processes that the benchmark starts, measures and ends: these and no others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STOP_SECONDS = 5.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

Command = Sequence["str | Path"]


class Failed(Exception):
    """A command failed, or took longer than it may."""


@dataclass(frozen=True)
class Finished:
    """One command that ran to its end."""

    seconds: float
    """Wall time from its start to its end, or to its last line of output if `until_last_line`."""
    cpu_seconds: float
    """User and system time, of the process and of its children."""
    peak_bytes: int
    """Largest resident set."""
    lines: list[str]
    """Its standard output."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Only what programs need to be found and run, and `settings`: the user's own must not change the measurement."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | dict(settings)


def run(
    command: Command,
    *,
    limit_seconds: float,
    settings: Mapping[str, str] = {},
    folder: Path | None = None,
    until_last_line: bool = False,
) -> Finished:
    """Runs a command that must succeed within `limit_seconds`, and measures it."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            env=environment(settings), cwd=folder,
        )
        assert process.stdout is not None
        killer = threading.Timer(limit_seconds, process.kill)
        killer.start()
        try:
            lines, ended = [], begun
            for line in process.stdout:
                ended = time.perf_counter()
                lines.append(line.rstrip("\n"))
            # The sum over the process is only in wait4's answer. Its peak begins at that of this small program, which
            # the child was for an instant.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if not until_last_line:
                ended = time.perf_counter()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            killer.cancel()
            process.stdout.close()
        if process.returncode != 0:
            raise Failed(_why(words, process.returncode, limit_seconds, errors))
    return Finished(ended - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, lines)


def _why(words: list[str], code: int, limit_seconds: float, errors: Any) -> str:
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip()[-2000:]
    end = f"was stopped after {limit_seconds:.0f} s" if code == -signal.SIGKILL else f"ended with code {code}"
    return f"{' '.join(words[:3])} … {end}{': ' if said else ''}{said}"


class Service:
    """A process that runs until the benchmark is over."""

    def __init__(self, name: str, process: subprocess.Popen[str], log: Path):
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def peak_bytes(self) -> int:
        """Largest resident set since it began, pages of mapped files included."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise self.gone()

    def cpu_seconds(self) -> float:
        """User and system time since it began."""
        # The second field is the program's name, which may hold spaces.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def first_line_with(self, word: str, limit_seconds: float) -> str:
        """The first line of its standard output that holds `word`."""
        assert self._process.stdout is not None
        killer = threading.Timer(limit_seconds, self._process.kill)
        killer.start()
        line = next((line for line in self._process.stdout if word in line), None)
        killer.cancel()
        if line is None:
            raise self.gone()
        return line.strip()

    def gone(self) -> Failed:
        """The error that it has ended, with the end of its log."""
        said = self.log.read_text(errors="replace").strip()[-2000:]
        return Failed(f"{self.name} ended or did not get ready: {said}")


@contextlib.contextmanager
def service(
    name: str, command: Command, *, log: Path, settings: Mapping[str, str] = {}, folder: Path | None = None
) -> Iterator[Service]:
    """Starts a process and ends it, whatever happens."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env=environment(settings), cwd=folder,
        )
    try:
        yield Service(name, process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
