"""Files that are measured with."""

from __future__ import annotations

import os
from pathlib import Path

from lib.report import MIB


def write_random(path: Path, size: int) -> None:
    """A file of random bytes."""
    with path.open("wb") as out:
        for begin in range(0, size, 4 * MIB):
            out.write(os.urandom(min(4 * MIB, size - begin)))
