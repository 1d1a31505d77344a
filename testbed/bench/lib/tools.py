"""What the benchmark needs on the machine: Kollator's release binaries, and the other programs in a cache folder.

Says what it is about to install or build. Writes only to the cache folder and to Cargo's target folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent.parent
RIVALS = BENCH / "rivals"
BINARIES = ("kollator", "kollator-front", "kollator-worker")
LIBTORRENT = "libtorrent==2.1.1"
NODE = "node@24.21.0"
"""Used where the `node` on the path is older than webtorrent can run on."""
LEAST_NODE = 22


class Missing(Exception):
    """Something is not there and cannot be installed here."""


def say(words: str) -> None:
    """A word to whoever waits; results alone go to standard output."""
    print(words, file=sys.stderr, flush=True)


def say_load() -> None:
    """Warns when others use the machine."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 4:
        say(f"the machine is busy (load {load:.1f} on {cores} cores): rates are low and ratios uncertain")


def cache_folder() -> Path:
    """Where the other programs are kept from run to run."""
    named = os.environ.get("KOLLATOR_BENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "kollator-bench"


@dataclass(frozen=True)
class Kollator:
    """Kollator's binaries."""

    peer: Path
    front: Path
    worker: Path


def kollator() -> Kollator:
    """The release binaries, built if one of them is missing."""
    return Kollator(*release_binaries({name: name for name in BINARIES}))


def release_binaries(packages: dict[str, str]) -> list[Path]:
    """Where these binaries are, each given with the package that it is part of; built if one of them is missing."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    paths = [ROOT / target / "release" / name for name in packages]
    if not all(path.exists() for path in paths):
        say(f"building release binaries in {target}")
        chosen = [word for name in sorted(set(packages.values())) for word in ("-p", name)]
        _call(["cargo", "build", "--release", "--locked", *chosen], ROOT)
    return paths


def libtorrent_python(cache: Path) -> Path:
    """A Python that has libtorrent."""
    python = cache / "venv" / "bin" / "python"
    if not python.exists() or _fails([python, "-c", "import libtorrent"]):
        say(f"installing {LIBTORRENT} (PyPI) in {cache / 'venv'}")
        _call([sys.executable, "-m", "venv", cache / "venv"], cache)
        _call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", LIBTORRENT], cache)
    return python


@dataclass(frozen=True)
class Webtorrent:
    """What runs the webtorrent peer."""

    node: Path
    script: Path


def webtorrent(cache: Path) -> Webtorrent:
    """Node, and the webtorrent peer beside the packages it imports."""
    folder = cache / "node"
    folder.mkdir(parents=True, exist_ok=True)
    node = _recent_node() or folder / "node_modules" / "node" / "bin" / "node"
    wanted = (RIVALS / "package.json").read_text()
    manifest = folder / "installed.json"
    if not node.exists() or not manifest.exists() or manifest.read_text() != wanted:
        if shutil.which("npm") is None:
            raise Missing("npm is not installed")
        say(f"installing webtorrent and its tracker (npm) in {folder}")
        shutil.copy(RIVALS / "package.json", folder)
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        # Of the packages' scripts only the one that fetches Node is of use; one of the others refuses npm itself.
        _call(["npm", "install", "--ignore-scripts", *quiet, *([] if _recent_node() else [NODE])], folder)
        if not _recent_node():
            _call(["npm", "rebuild", *quiet, "node"], folder)
        manifest.write_text(wanted)
    return Webtorrent(node, Path(shutil.copy(RIVALS / "webtorrent_peer.mjs", folder)))


def sendme(cache: Path, *, install: bool) -> Path:
    """The `sendme` on the path, or the one in the cache folder, which is installed if `install`."""
    own = cache / "sendme" / "bin" / "sendme"
    found = shutil.which("sendme")
    if found:
        return Path(found)
    if not own.exists():
        if not install:
            raise Missing("sendme is not installed; --install-sendme builds it, which takes minutes")
        say(f"building sendme (crates.io) in {cache / 'sendme'}")
        _call(["cargo", "install", "--locked", "--root", cache / "sendme", "sendme"], cache)
    return own


def _recent_node() -> Path | None:
    found = shutil.which("node")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    major = re.match(r"v(\d+)\.", version)
    return Path(found) if major and int(major[1]) >= LEAST_NODE else None


def _call(command: list[str | Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    try:
        # Standard output is for the results.
        subprocess.run(words, cwd=folder, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"{' '.join(words[:3])}: {error}") from error


def _fails(command: list[str | Path]) -> bool:
    return subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode != 0
