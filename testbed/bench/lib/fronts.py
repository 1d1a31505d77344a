"""Fronts as they are measured under load, and the plain relay beside them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import tools
from lib.kollator import require_free, wait_for
from lib.processes import Failed, Service, run, service

KOLLATOR = "Kollator front"
PLAIN = "plain axum relay"
KEY = "worker.key"
"""The file with the key of a network, in its folder."""

CONNECTIONS_ABOVE = 64
"""That a front allows beyond its sessions."""


OTHER_FILES = 128
"""Open files of a process beside its sessions."""

Programs = dict[str, Path]
"""Release binaries by name."""


@dataclass(frozen=True)
class Server:
    """A front, or what stands in for one."""

    url: str
    port: int
    process: Service


def programs(*of_testbed: str) -> Programs:
    """The front and those of the testbed, built if one of them is missing."""
    names = {"kollator-front": "kollator-front"} | dict.fromkeys(of_testbed, "kollator-testbed")
    return dict(zip(names, tools.release_binaries(names), strict=True))


def raise_open_files(sessions: int) -> None:
    """Lets the processes that are started have a file open for each session."""
    needed = sessions + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
        except (ValueError, OSError) as error:
            raise Failed(f"{needed} open files are needed, {hard} are allowed (ulimit -Hn): {error}") from error


@contextlib.contextmanager
def fronts(programs: Programs, work: Path, base_port: int, count: int, sessions: int) -> Iterator[list[Server]]:
    """So many fronts that know each other."""
    key = work / KEY
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
            servers.append(start(stack, f"front-{number + 1}", [programs["kollator-front"]], work, settings, url))
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
        server = start(stack, "plain-relay", [programs["kollator-plain-relay"]], work, {"PORT": str(port)}, url)
        wait_for(f"{url}/health", server.process)
        yield [server]


def start(
    stack: contextlib.ExitStack, name: str, command: list[str | Path], work: Path, settings: dict[str, str], url: str
) -> Server:
    """A server that ends with the stack."""
    port = int(settings["PORT"])
    require_free(port)
    process = stack.enter_context(service(name, command, log=work / f"{name}.log", settings=settings))
    return Server(url, port, process)


def load(programs: Programs, servers: list[Server], options: list[str], limit_seconds: float) -> dict[str, Any]:
    """What kollator-load says of the servers."""
    pids = [word for server in servers for word in ("--pid", str(server.process.pid))]
    urls = [server.url for server in servers]
    done = run([programs["kollator-load"], "--json", *options, *pids, *urls], limit_seconds=limit_seconds)
    report: dict[str, Any] = json.loads(done.lines[-1])
    return report
