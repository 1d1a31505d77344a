"""Kollator as it is measured: a network of one front and one worker, and the commands that use it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.processes import Failed, Finished, Service, run, service
from lib.report import MIB
from lib.tools import Kollator

HEALTHY_SECONDS = 30.0
WORKER_PORT_ABOVE = 101
"""How far the worker's port is from the front's."""


@dataclass(frozen=True)
class Network:
    """A running front and worker, and the program that talks to them."""

    programs: Kollator
    front: Service
    worker: Service
    worker_url: str
    settings: dict[str, str]

    def share(self, file: Path, limit_seconds: float) -> tuple[str, Finished]:
        """Shares a file; its link, once the worker has all of it."""
        shared = run([self.programs.peer, "share", file], limit_seconds=limit_seconds, settings=self.settings)
        return shared.lines[-1], shared

    def download(self, link: str, output: Path, limit_seconds: float) -> Finished:
        """Downloads from the worker alone."""
        command: list[str | Path] = [self.programs.peer, "download", link, "--output", output, "--json"]
        got = run(command, limit_seconds=limit_seconds, settings=self.settings)
        done = json.loads(got.lines[-1])
        if done["event"] != "done" or done["bytes_from"]["worker"] != done["bytes_total"]:
            raise Failed(f"the download ended with {done}")
        return got


@dataclass(frozen=True)
class Download:
    """A contender of `lib.rivals`: one share, fetched from the worker."""

    name: str
    network: Network
    link: str

    @property
    def seed(self) -> Service:
        """The worker."""
        return self.network.worker

    def fetch(self, folder: Path, limit_seconds: float) -> Finished:
        """Gets the file into the folder."""
        return self.network.download(self.link, folder / "payload", limit_seconds)


def create(programs: Kollator, file: Path, ko: Path, limit_seconds: float) -> Finished:
    """Hashes a file, as `share` does first."""
    return run([programs.peer, "create", file, "--ko", ko], limit_seconds=limit_seconds)


@contextlib.contextmanager
def network(
    programs: Kollator,
    work: Path,
    base_port: int,
    cache_mb: int,
    *,
    front_has: Mapping[str, str] = {},
    worker_has: Mapping[str, str] = {},
) -> Iterator[Network]:
    """One front, and one worker whose cache holds `cache_mb`, and which stores in a folder if its further settings do
    not say where else."""
    front_port, worker_port = base_port, base_port + WORKER_PORT_ABOVE
    for port in (front_port, worker_port):
        require_free(port)
    key = work / "worker.key"
    key.write_text(os.urandom(32).hex())
    front_url = f"http://127.0.0.1:{front_port}"
    shared = {"HOST": "127.0.0.1", "WORKER_SHARED_KEY_PATH": str(key)}
    front_settings = shared | {"PORT": str(front_port)} | dict(front_has)
    worker_settings = shared | {
        "PORT": str(worker_port),
        "WORKER_ID": "bench",
        "FRONTS": front_url,
        "CACHE_SIZE_MB": str(cache_mb),
        "CACHE_PATH": str(work / "cache"),
        "DATA_PATH": str(work / "store"),
    } | dict(worker_has)
    with (
        service("front", [programs.front], log=work / "front.log", settings=front_settings) as front,
        service("worker", [programs.worker], log=work / "worker.log", settings=worker_settings) as worker,
    ):
        wait_for(f"{front_url}/health", front)
        worker_url = f"http://127.0.0.1:{worker_port}"
        wait_for(f"{worker_url}/health", worker)
        yield Network(programs, front, worker, worker_url, {"KOLLATOR_FRONT": front_url})


@contextlib.contextmanager
def s3(program: Path, work: Path, port: int) -> Iterator[dict[str, str]]:
    """The testbed's S3 server; what a worker has to be told of it."""
    require_free(port)
    keys = {"S3_ACCESS_KEY": "bench", "S3_SECRET_KEY": "bench-secret"}
    command: list[str | Path] = [program, "--host", "127.0.0.1", "--port", str(port), "--root", work / "s3"]
    with service("s3", command, log=work / "s3.log", settings=keys) as server:
        wait_until_it_listens(port, server)
        yield keys | {"S3_ENDPOINT": f"http://127.0.0.1:{port}"}


def wait_until_it_listens(port: int, server: Service) -> None:
    """Waits until something listens on the port."""
    until = time.monotonic() + HEALTHY_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise server.gone()


def require_free(port: int) -> None:
    """Fails if something listens on the port already."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise Failed(f"port {port}: {error}; choose another --base-port") from error


def wait_for(url: str, server: Service) -> None:
    """Waits until a server answers that it is well."""
    until = time.monotonic() + HEALTHY_SECONDS
    while time.monotonic() < until:
        refused = contextlib.suppress(urllib.error.URLError, ConnectionError)
        with refused, urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise server.gone()


def cache_megabytes(size_mb: int) -> int:
    """A cache that holds the file, so that the worker sends from the page cache as the others do."""
    return max(64, size_mb + size_mb // 4) * MIB // 1_000_000 + 1
