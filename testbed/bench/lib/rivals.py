"""The programs that Kollator is measured beside. Each seeds one file from the page cache and fetches it again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lib import tools
from lib.processes import Command, Failed, Finished, Service, run, service

START_SECONDS = 120.0

LIBTORRENT_DEFAULT = "libtorrent TCP, default"
LIBTORRENT_TUNED = "libtorrent TCP, tuned"
WEBTORRENT = "webtorrent WebRTC"
SENDME = "sendme QUIC"


class Contender(Protocol):
    """One program, ready to be measured."""

    @property
    def name(self) -> str:
        """Its row in the table."""

    @property
    def seed(self) -> Service:
        """The process that sends."""

    def fetch(self, folder: Path, limit_seconds: float) -> Finished:
        """Gets the file into the folder."""


@dataclass(frozen=True)
class Rival:
    """A contender that is a command and a seed."""

    name: str
    seed: Service
    command: Command
    """`{folder}` in a word of it stands for the folder to fetch into."""
    in_folder: bool = False
    """Whether the command runs in that folder."""
    until_last_line: bool = True
    """Whether it is done when it says so, rather than when it ends."""

    def fetch(self, folder: Path, limit_seconds: float) -> Finished:
        """Gets the file into the folder."""
        return run(
            [str(word).replace("{folder}", str(folder)) for word in self.command],
            limit_seconds=limit_seconds,
            folder=folder if self.in_folder else None,
            until_last_line=self.until_last_line,
        )


@contextlib.contextmanager
def libtorrent(profile: str, file: Path, work: Path, cache: Path) -> Iterator[Rival]:
    """libtorrent over plain TCP, with its `default` settings or `tuned` ones."""
    python = tools.libtorrent_python(cache)
    script = tools.RIVALS / "libtorrent_peer.py"
    torrent = work / f"libtorrent-{profile}.torrent"
    name = {"default": LIBTORRENT_DEFAULT, "tuned": LIBTORRENT_TUNED}[profile]
    quiet: list[str | Path] = [python, "-W", "ignore"]
    with service(name, [*quiet, script, "seed", profile, file, torrent], log=work / f"{name}.log") as seed:
        port = json.loads(seed.first_line_with("port", START_SECONDS))["port"]
        yield Rival(name, seed, [*quiet, script, "fetch", profile, torrent, "{folder}", str(port)])


@contextlib.contextmanager
def webtorrent(file: Path, work: Path, cache: Path) -> Iterator[Rival]:
    """webtorrent over its WebRTC data channels, with a tracker of its own."""
    installed = tools.webtorrent(cache)
    torrent = work / "webtorrent.torrent"
    command = [installed.node, installed.script]
    with service(WEBTORRENT, [*command, "seed", file, torrent], log=work / f"{WEBTORRENT}.log") as seed:
        seed.first_line_with("ready", START_SECONDS)
        yield Rival(WEBTORRENT, seed, [*command, "fetch", torrent, "{folder}"])


def setup_seconds(name: str, fetched: Finished) -> float:
    """How long a fetch took to have its first peer, as far as the program says so."""
    return float(json.loads(fetched.lines[-1])["setup_seconds"]) if name == WEBTORRENT else 0.0


@contextlib.contextmanager
def sendme(program: Path, file: Path, work: Path) -> Iterator[Rival]:
    """sendme over QUIC."""
    # It keeps its store in the folder where it runs.
    folder = work / "sendme"
    folder.mkdir()
    loopback = ["--magic-ipv4-addr", "127.0.0.1:0", "--relay", "disabled", "--no-progress"]
    command: list[str | Path] = [program, "send", "--ticket-type", "addresses", *loopback, file]
    with service(SENDME, command, log=work / f"{SENDME}.log", folder=folder) as seed:
        said = seed.first_line_with("sendme receive", START_SECONDS)
        ticket = said.split()[-1]
        if not ticket.startswith("blob"):
            raise Failed(f"{SENDME} printed no ticket but: {said}")
        command = [program, "receive", *loopback, ticket]
        yield Rival(SENDME, seed, command, in_folder=True, until_last_line=False)
