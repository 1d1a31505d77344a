"""What end-to-end tests have in common: files to share, and the run of all tests of a script.

A script is called with BINARIES [PATTERN]: the folder with the programs, and a regular expression that the
names of the tests to run contain.
KOLLATOR_E2E_PORT is the network's base port, a free one by default. Prints one line for each test and, last,
`N passed, M failed`.
"""

import filecmp
import os
import pathlib
import random
import re
import sys
import tempfile
import traceback

from network import Network, free_base_port

KIB = 1024
MIB = 1024 * KIB
FOLDER = {
    "empty": 0,
    "nested/deeper/one": 1,
    "nested/deeper/big.bin": 5 * MIB + 3,
    "nested/same": 70_000,
    "same": 70_000,
    "Привет.txt": 16385,
    "文件夹/文件 一.txt": 20_000,
    "مرحبا/ملف": 64 * KIB,
    "日本語.txt": 17,
    "emoji 🦀.md": 40_000,
    "with spaces & 'quotes' %41": 5,
}


class Skipped(Exception):
    """The test cannot run here."""


def write(path, size, seed=None):
    """A file of random bytes, the same for the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = random.Random(size if seed is None else seed)
    with path.open("wb") as file:
        for start in range(0, size, 16 * MIB):
            file.write(source.randbytes(min(16 * MIB, size - start)))
    return path


def same(one, other):
    assert filecmp.cmp(one, other, shallow=False), f"{one} and {other} differ"


def run_tests(names, usage):
    """Runs the functions among `names` that begin with `test_` on a network of their own; ends the process."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(usage)
    pattern = sys.argv[2] if len(sys.argv) == 3 else ""
    tests = {name: test for name, test in names.items() if name.startswith("test_") and re.search(pattern, name)}
    passed = failed = 0
    port = int(os.environ.get("KOLLATOR_E2E_PORT") or free_base_port())
    with tempfile.TemporaryDirectory(prefix="kollator-e2e-") as dir_name:
        top = pathlib.Path(dir_name)
        with Network(top / "run", port, pathlib.Path(sys.argv[1]).resolve()).running() as net:
            for name, test in tests.items():
                with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=top) as room:
                    try:
                        test(net, pathlib.Path(room))
                    except Skipped as why:
                        print(f"skipped {name}: {why}", flush=True)
                    except Exception:
                        failed += 1
                        print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
                    else:
                        passed += 1
                        print(f"ok {name}", flush=True)
            if failed:
                for log in sorted((top / "run" / "logs").iterdir()):
                    print(f"--- last lines of {log.name}")
                    print("\n".join(log.read_text(errors="replace").splitlines()[-20:]))
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if failed == 0 else 1)
