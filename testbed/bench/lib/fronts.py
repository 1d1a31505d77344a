"""Fronts as they are measured under load, and the plain relay beside them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import tools
from lib.kollator import require_free, wait_for
from lib.processes import Service, run, service

KOLLATOR = "Kollator front"
PLAIN = "plain axum relay"

CONNECTIONS_ABOVE = 64
"""That a front allows beyond its sessions."""


@dataclass(frozen=True)
class Programs:
    """Release binaries."""

    front: Path
    load: Path
    plain_relay: Path


@dataclass(frozen=True)
class Server:
    """A front, or what stands in for one."""

    url: str
    process: Service


def programs() -> Programs:
    """The release binaries, built if one of them is missing."""
    names = {"kollator-front": "kollator-front", "kollator-load": "kollator-testbed",
             "kollator-plain-relay": "kollator-testbed"}
    return Programs(*tools.release_binaries(names))


@contextlib.contextmanager
def fronts(programs: Programs, work: Path, base_port: int, count: int, sessions: int) -> Iterator[list[Server]]:
    """So many fronts that know each other."""
    key = work / "worker.key"
    key.write_text(os.urandom(32).hex())
    urls = [f"http://127.0.0.1:{base_port + number}" for number in range(count)]
    shared = {
        "HOST": "127.0.0.1",
        "WORKER_SHARED_KEY_PATH": str(key),
        "MAX_CONNECTIONS": str(sessions + CONNECTIONS_ABOVE),
        "MAX_CONNECTIONS_PER_IP": str(sessions + CONNECTIONS_ABOVE),
        # The load generator opens all its sessions from two addresses.
        "RATE_LIMIT_RPS": "1000000",
    }
    with contextlib.ExitStack() as stack:
        servers = []
        for number, url in enumerate(urls):
            settings = shared | {"PORT": str(base_port + number)} | cluster_settings(work, number, urls)
            servers.append(start(stack, f"front-{number + 1}", [programs.front], work, settings, url))
        for server in servers:
            wait_for(f"{server.url}/health", server.process)
        yield servers


def cluster_settings(work: Path, number: int, urls: Sequence[str]) -> dict[str, str]:
    """What tells a front who it is among the others; nothing where it is alone."""
    if len(urls) == 1:
        return {}
    others = [f"front-{other + 1}={url}" for other, url in enumerate(urls) if other != number]
    return {
        "FRONT_ID": f"front-{number + 1}",
        "FRONT_PEERS": ",".join(others),
        "SQLITE_PATH": str(work / f"front-{number + 1}.sqlite"),
    }


@contextlib.contextmanager
def plain_relay(programs: Programs, work: Path, port: int) -> Iterator[list[Server]]:
    """The simplest relay."""
    with contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{port}"
        server = start(stack, "plain-relay", [programs.plain_relay], work, {"PORT": str(port)}, url)
        wait_for(f"{url}/health", server.process)
        yield [server]


def start(
    stack: contextlib.ExitStack, name: str, command: list[str | Path], work: Path, settings: dict[str, str], url: str
) -> Server:
    """A server that ends with the stack."""
    require_free(int(settings["PORT"]))
    process = stack.enter_context(service(name, command, log=work / f"{name}.log", settings=settings))
    return Server(url, process)


def load(programs: Programs, servers: list[Server], options: list[str], limit_seconds: float) -> dict[str, Any]:
    """What kollator-load says of the servers."""
    pids = [word for server in servers for word in ("--pid", str(server.process.pid))]
    urls = [server.url for server in servers]
    done = run([programs.load, "--json", *options, *pids, *urls], limit_seconds=limit_seconds)
    report: dict[str, Any] = json.loads(done.lines[-1])
    return report
