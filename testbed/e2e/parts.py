"""The processes that start.sh started: killed, stopped and started again, each by its own id."""

import os
import pathlib
import signal
import subprocess
import time

FRONTS = [f"front-{n}" for n in (1, 2, 3)]
WORKERS = [f"worker-{n}" for n in (1, 2, 3)]


def port_of(name, base_port):
    """Where a front or worker listens; lib.sh says the same."""
    kind, number = name.rsplit("-", 1)
    return base_port + (int(number) - 1 if kind == "front" else 100 + int(number))


class Part:
    """One process. What it was started with is how it is started again."""

    def __init__(self, name, run_dir):
        self.name = name
        self.run_dir = pathlib.Path(run_dir)
        self.log = self.run_dir / "logs" / f"{name}.log"
        self.pid = int(self._file("pid").read_text())
        self.began = self._file("began").read_text().strip()
        self.child = None
        proc = pathlib.Path("/proc", str(self.pid))
        self.command = proc.joinpath("cmdline").read_bytes().split(b"\0")[:-1]
        pairs = proc.joinpath("environ").read_bytes().split(b"\0")[:-1]
        self.env = dict(pair.split(b"=", 1) for pair in pairs)
        self.cwd = os.readlink(proc / "cwd")

    def _file(self, suffix):
        return self.run_dir / "pids" / f"{self.name}.{suffix}"

    def runs(self):
        """Whether it has not ended; a stopped one runs."""
        if self.child is not None and self.child.poll() is not None:
            return False
        return began(self.pid) == self.began

    def send(self, number):
        if self.runs():
            os.kill(self.pid, number)

    def kill(self):
        """Ends it as a power cut would; returns once it is gone."""
        self.send(signal.SIGKILL)
        while self.runs():
            time.sleep(0.001)

    def start(self):
        """Starts it again, as it was started first."""
        assert not self.runs(), f"{self.name} runs"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self.child.pid
        self.began = began(self.pid) or ""
        # stop.sh finds it by these.
        self._file("began").write_text(f"{self.began}\n")
        self._file("pid").write_text(f"{self.pid}\n")

    def panics(self):
        """Lines of its log that tell of a panic."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "panicked" in line]


def began(pid):
    """The moment a process began, in ticks since the machine did; nothing for one that ended."""
    try:
        stat = pathlib.Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold spaces; the fields after it do not.
    fields = stat.rsplit(") ", 1)[1].split()
    return None if fields[0] in "ZX" else fields[19]
