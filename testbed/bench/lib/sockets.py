"""What TCP connections carried, as the kernel counts it: payload both ways, headers left out."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping

from lib.processes import Failed
from lib.tools import Missing

Link = tuple[int, int]
"""The front that opened a connection, and the one that accepted it."""


def require() -> None:
    """Fails if the kernel's counts cannot be read here."""
    if shutil.which("ss") is None:
        raise Missing("ss is not installed: it is part of iproute2")


def carried(links: Mapping[tuple[int, int], Link]) -> dict[Link, int]:
    """Bytes so far, by link. `links` are given by the process that opened the connection and the port that it leads
    to; each must have exactly one.
    """
    ports = " or ".join(f"dport = :{port}" for port in sorted({port for _, port in links}))
    command = ["ss", "-tinpHO", "state", "established", f"( {ports} )"]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    found: dict[Link, int] = {}
    for line in lines:
        owner = re.search(r"pid=(\d+)", line)
        local_and_remote = re.findall(r"[\d.]+:(\d+)", line)
        link = links.get((int(owner[1]), int(local_and_remote[1]))) if owner else None
        if link is None:
            continue
        if link in found:
            raise Failed(f"front {link[0] + 1} has two connections to front {link[1] + 1}")
        counts = dict(re.findall(r"(bytes_acked|bytes_received):(\d+)", line))
        found[link] = sum(int(count) for count in counts.values())
    missing = set(links.values()) - set(found)
    if missing:
        raise Failed(f"these fronts (from 0) are not connected, or ss does not say to whom: {sorted(missing)}")
    return found
