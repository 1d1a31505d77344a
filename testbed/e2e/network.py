"""A network of its own for end-to-end tests, and the terminal program as a test sees it."""

import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.request

TESTBED = pathlib.Path(__file__).resolve().parent.parent
# Long enough for a loaded machine; nothing waits for it when all goes well.
PATIENCE = 300


class Network:
    """What start.sh starts, in a directory and on ports of its own."""

    def __init__(self, run_dir, base_port, bin_dir, settings=None):
        self.run_dir = pathlib.Path(run_dir)
        self.base_port = base_port
        self.bin = pathlib.Path(bin_dir)
        self.front = f"http://127.0.0.1:{base_port}"
        self.dht = f"127.0.0.1:{base_port + 300}"
        self.env = {
            **os.environ,
            "KOLLATOR_TESTBED_DIR": str(self.run_dir),
            "KOLLATOR_BASE_PORT": str(base_port),
            # start.sh takes its binaries from the folder `release` in there.
            "CARGO_TARGET_DIR": str(self.bin.parent),
            "KOLLATOR_FRONT": ",".join(f"http://127.0.0.1:{base_port + n}" for n in range(3)),
            **(settings or {}),
        }
        # A test that is to use the DHT says so.
        for name in ("DHT_BOOTSTRAP_NODES", "RUST_LOG", "KOLLATOR_TIMEOUT", "KOLLATOR_LOG_FORMAT"):
            self.env.pop(name, None)

    def script(self, name, expect=0):
        done = subprocess.run(
            [str(TESTBED / name)], env=self.env, capture_output=True, text=True, timeout=3600, check=False
        )
        assert done.returncode == expect, f"{name}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def running(self):
        try:
            print(self.script("start.sh"), end="", flush=True)
            yield self
        finally:
            self.script("stop.sh")

    def get(self, path, port=None):
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.base_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def command(self, *args, binary="kollator"):
        return [str(self.bin / binary), *map(str, args)]

    def run(self, *args, expect=0, timeout=PATIENCE):
        """Runs `kollator` to its end; what it wrote."""
        done = subprocess.run(
            self.command(*args), env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )
        said = f"kollator {' '.join(map(str, args))}: exit {done.returncode}: {done.stderr}"
        assert done.returncode == expect, said
        assert "panicked" not in done.stderr, said
        return done

    def share(self, path, *options):
        """The link of a share, which must be all that is printed."""
        out = self.run("share", path, *options).stdout
        assert out.count("\n") == 1 and out.startswith(self.front + "/#"), f"share prints {out!r}"
        return out.strip()

    def download(self, link, output, *options):
        """The last line of `download --json`, after every line was parsed."""
        done = self.run("download", link, "--output", output, "--json", *options)
        return check_lines(done.stdout)

    @contextlib.contextmanager
    def background(self, *args, binary="kollator"):
        """A process that runs meanwhile; killed at the end if it is still there."""
        process = subprocess.Popen(
            self.command(*args, binary=binary),
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()


# Where parts listen above the base port; lib.sh says the same.
OFFSETS = (0, 1, 2, 101, 102, 103, 200, 300, 301, 302, 303)


def free_base_port(offsets=OFFSETS):
    """A base port at which no part of a network would meet another process."""
    while True:
        base = random.randrange(20_000, 30_000)
        try:
            for offset in offsets:
                with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
                    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    for probe in (tcp, udp):
                        probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        return base


def check_lines(out):
    """All JSON lines of a download that was completed; the last one, whose sums must be right."""
    lines = [json.loads(line) for line in out.splitlines()]
    last = lines[-1]
    assert last["event"] == "done", f"the last line is {last}"
    assert set(last) == {"event", "info_hash", "bytes_total", "bytes_from_disk", "bytes_from", "seconds"}, last
    assert set(last["bytes_from"]) == {"worker", "peer", "http"}, last
    fetched = sum(last["bytes_from"].values())
    assert last["bytes_from_disk"] + fetched == last["bytes_total"], f"the sums are wrong: {last}"
    last["lines"] = lines
    return last


def wait_for(what, condition, seconds=60):
    """Waits until `condition()` is true."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        # Slower than the requests that a front allows one address.
        time.sleep(0.02)
    return result
