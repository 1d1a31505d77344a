#!/usr/bin/env python3
"""What a worker acknowledged is there for good: while it is killed, while files rot, while S3 fails.

Usage: store_test.py BINARIES [PATTERN] [--rounds N] [--uploads N] [--faulty-mib N] [--seed N]

BINARIES is the folder with kollator, kollator-front, kollator-worker and kollator-s3; PATTERN picks the tests whose
names contain it. `--rounds` kills during `--uploads` (5 and 20; in full 50 and 200), and `--faulty-mib` MiB through an
S3 that fails (256; in full 1024). KOLLATOR_E2E_PORT is the network's base port, a free one by default. With
KOLLATOR_S3_URL, workers use the S3 server at that local port, and tests that need to see its files are skipped. Needs
only the standard library. Prints one line for each test and, last, `N passed, M failed`.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.parse

from network import Network, free_base_port, wait_for
from parts import WORKERS, Part, port_of
from s3_faults import KINDS, S3Faults
from suite import KIB, MIB, Skipped, same, write

CACHE_MB = 20
SIZES = [1, 70_000, 1 * MIB, 4 * MIB, 5 * MIB + 3, 9 * MIB]
FAULTY = 0.2
BLOCK = 16 * KIB


class Scene:
    """A network of which one worker is left."""

    def __init__(self, net, options):
        self.net = net
        self.options = options
        self.random = random.Random(options.seed)
        self.worker = Part(WORKERS[0], net.run_dir)
        self.port = port_of(self.worker.name, net.base_port)
        self.cache = net.run_dir / "workers" / "1" / "cache"
        self.objects = net.run_dir / "s3" / "kollator-chunks" / "chunks"
        for name in WORKERS[1:]:
            Part(name, net.run_dir).kill()
        wait_for("the others are known to be gone", lambda: self.alive() == [self.worker.name])

    def alive(self):
        return [worker["name"] for worker in self.net.get("/workers") if worker["alive"]]

    def stats(self):
        return self.net.get("/stats", self.port)

    def start(self):
        """Starts the worker again and waits until the fronts count on it."""
        self.worker.start()
        wait_for(f"{self.worker.name} is online", self.is_online)
        wait_for("the fronts count on it", lambda: self.alive() == [self.worker.name])

    def is_online(self):
        assert self.worker.runs(), f"{self.worker.name} ended"
        with contextlib.suppress(OSError, urllib.error.URLError):
            return self.net.get("/health", self.port)["online"]
        return False

    def forget_cache(self):
        """Has the worker start with an empty cache."""
        self.worker.kill()
        shutil.rmtree(self.cache)
        self.start()

    def verify(self, expect):
        """Runs `kollator-worker verify` with the worker's own settings."""
        command = self.net.command("verify", "--json", binary="kollator-worker")
        done = subprocess.run(command, env=self.worker.env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == expect, f"verify: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def cached(self):
        return {path for path in self.cache.glob("??/*") if path.suffix != ".tmp"}

    def stored(self):
        if os.environ.get("KOLLATOR_S3_URL"):
            raise Skipped("the files of KOLLATOR_S3_URL are out of sight")
        return set(self.objects.iterdir()) if self.objects.exists() else set()


class Sampler:
    """Watches how many bytes the cache takes. What it finds was there at one moment: files that it saw twice were
    there all the time between, and never shrink."""

    def __init__(self, cache, limit):
        self.cache = cache
        self.limit = limit
        self.samples = 0
        self.most = 0
        self.faults = []

    @contextlib.contextmanager
    def running(self):
        stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(stop,))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
        assert not self.faults, self.faults[:3]

    def _watch(self, stop):
        while not stop.wait(0.005):
            first, second = self._files(), self._files()
            taken = sum(size for file, size in first.items() if file in second)
            self.samples += 1
            self.most = max(self.most, taken)
            if taken > self.limit:
                self.faults.append(f"the cache took {taken} bytes where {self.limit} may be")

    def _files(self):
        """Every file by what it is, whatever its name says of how far it is."""
        found = {}
        for folder in self.cache.glob("??"):
            with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        stat = entry.stat()
                        found[entry.name.removesuffix(".tmp"), stat.st_ino] = stat.st_size
        return found


def test_killed_while_it_uploads(scene, room):
    """Every share whose link was printed is there, whatever moment the worker was killed at."""
    rounds, uploads = scene.options.rounds, scene.options.uploads
    limit = scene.stats()["cache"]["limit"]
    assert limit == CACHE_MB * 1_000_000, limit
    shares = []
    # How long the uploads of a round take.
    takes = 1.0
    with Sampler(scene.cache, limit).running() as sampler:
        for number in range(rounds):
            count = uploads * (number + 1) // rounds - uploads * number // rounds
            sources = []
            for n in range(count):
                size = scene.random.choice(SIZES)
                sources.append(write(room / f"source-{number}-{n}", size, seed=f"{scene.options.seed} {number} {n}"))
            begun = time.monotonic()
            with contextlib.ExitStack() as stack:
                sharing = [stack.enter_context(scene.net.background("share", "--timeout", 60, path)) for path in sources]
                time.sleep(scene.random.uniform(0, takes))
                unfinished = sum(share.poll() is None for share in sharing)
                scene.worker.kill()
                time.sleep(scene.random.uniform(0, 0.3))
                scene.start()
                for source, share in zip(sources, sharing, strict=True):
                    out, said = share.communicate(timeout=120)
                    assert share.returncode == 0, f"{source.name}: exit {share.returncode}: {said}"
                    shares.append((source, out.strip()))
            if number == 0:
                takes = time.monotonic() - begun
            print(f"  round {number + 1}: killed with {unfinished} of {count} uploads under way", flush=True)
            for source, link in shares[-count:]:
                read_back(scene, source, link, room / "output")
        for source, link in shares:
            read_back(scene, source, link, room / "output")
    panics = scene.worker.panics()
    assert not panics, panics
    assert sampler.most > limit / 2, f"the cache was never used: {sampler.most} bytes"
    print(f"  {len(shares)} shares read back equal twice; cache at most {sampler.most} of {limit} bytes", end=" ")
    print(f"in {sampler.samples} samples", flush=True)


def read_back(scene, source, link, output):
    done = scene.net.download(link, output, "--timeout", 60)
    assert not [line for line in done["lines"] if line["event"] == "blamed"], done["lines"]
    same(source, output)
    output.unlink()


def flip(path, rng):
    """One bit of the file, somewhere in its first half."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content) // 2)] ^= 1 << rng.randrange(8)
    with path.open("r+b") as file:
        file.write(content)


def truncate(path, rng):
    os.truncate(path, rng.randrange(path.stat().st_size // 2))


def lengthen(path, _rng):
    with path.open("ab") as file:
        file.write(b"more")


def test_rot_in_the_cache(scene, room):
    """It is never served, and the file is right again afterwards."""
    for damage in (flip, truncate):
        source = write(room / damage.__name__, 9 * MIB, seed=f"cached {damage.__name__}")
        before = scene.cached()
        link = scene.net.share(source)
        fresh = wait_for("its three chunks are cached", lambda: news(scene.cached(), before, 3))
        victim = scene.random.choice(fresh)
        right = victim.read_bytes()
        damage(victim, scene.random)
        counted = scene.stats()["store"]["cache_corrupt"]
        read_back(scene, source, link, room / "output")
        wait_for("the file is right again", lambda: victim.exists() and victim.read_bytes() == right)
        assert scene.stats()["store"]["cache_corrupt"] > counted, f"{damage.__name__} was not counted"


def news(now, before, count):
    """What is new, once it is as many."""
    fresh = sorted(now - before)
    return fresh if len(fresh) == count else None


def test_rot_in_s3(scene, room):
    """It is never served, and the next upload repairs it."""
    for damage in (flip, truncate, lengthen):
        source = write(room / damage.__name__, 9 * MIB, seed=f"stored {damage.__name__}")
        before = scene.stored()
        link = scene.net.share(source)
        fresh = news(scene.stored(), before, 3)
        assert fresh, "three objects are new"
        victim = scene.random.choice(fresh)
        right = victim.read_bytes()
        damage(victim, scene.random)
        scene.forget_cache()
        counted = scene.stats()["store"]["backing_corrupt"]
        output = room / "output"
        refused = scene.net.run("download", link, "--output", output, "--timeout", 7, expect=1)
        said = ("nobody online has what is missing", "the sources stopped giving data")
        assert any(words in refused.stderr for words in said), refused.stderr
        assert not output.exists()
        received_is_right(source, output.with_name("output.part"))
        assert scene.stats()["store"]["backing_corrupt"] > counted, f"{damage.__name__} was not counted"
        assert scene.net.share(source) == link
        assert victim.read_bytes() == right, f"{damage.__name__} was not repaired"
        scene.forget_cache()
        read_back(scene, source, link, output)


def received_is_right(source, part):
    """Every block that was received is the source's; one that was not is a hole."""
    with source.open("rb") as one, part.open("rb") as other:
        while wanted := one.read(BLOCK):
            got = other.read(BLOCK)
            assert got in (wanted, bytes(len(wanted))), "a wrong block was received"


def test_verify(scene, room):
    """It finds nothing in a store that is right, and in one that is not exactly what is wrong."""
    objects, files = scene.stored(), scene.cached()
    scene.net.share(write(room / "source", 9 * MIB, seed="verify"))
    objects = news(scene.stored(), objects, 3)
    files = wait_for("its chunks are cached", lambda: news(scene.cached(), files, 3))
    assert "another process uses it" in scene.verify(1).stderr
    scene.worker.kill()
    right = {path: path.read_bytes() for path in (files[0], *objects)}
    done = json.loads(scene.verify(0).stdout)
    assert done["store"]["right"] > len(scene.stored()) and done["cache"]["right"] == len(scene.cached()), done
    for path, damage in zip(right, (flip, flip, truncate, lengthen), strict=True):
        damage(path, scene.random)
    foreign = write(scene.objects / "foreign", 10)
    *found, done = map(json.loads, scene.verify(1).stdout.splitlines())
    wrong = [line for line in found if line["event"] == "wrong"]
    named = {(line["in"], line["name"].rsplit("/")[-1]) for line in wrong}
    assert named == {("cache", files[0].name), *(("store", path.name) for path in (*objects, foreign))}, wrong
    assert (done["cache"]["wrong"], done["store"]["wrong"]) == (1, 4), done
    # The share lacks the three that are damaged, and so does the share of its file.
    missing = {line["name"].rsplit("/")[-1] for line in found if line["event"] == "missing"}
    assert missing == {path.name for path in objects} and done["store"]["missing"] >= 3, found
    foreign.unlink()
    for path, content in right.items():
        path.write_bytes(content)
    scene.verify(0)
    scene.start()


@contextlib.contextmanager
def network(top, name, options, port=None, **settings):
    """A network that ends with the test; last lines of its logs if that failed."""
    settings = {"CACHE_SIZE_MB": str(CACHE_MB), **settings}
    net = Network(top / name, port or free_base_port(), options.binaries.resolve(), settings)
    try:
        with net.running():
            yield net
    except Exception:
        for log in sorted((net.run_dir / "logs").glob("worker-*")):
            print(f"--- last lines of {log.name}")
            print("\n".join(log.read_text(errors="replace").splitlines()[-20:]))
        raise


def test_s3_that_fails(top, options):
    """A file goes there and comes back through faults of every kind."""
    base_port = free_base_port()
    server = os.environ.get("KOLLATOR_S3_URL")
    upstream = urllib.parse.urlsplit(server).port if server else base_port + 200
    with S3Faults(upstream, options.seed).running() as faults:
        url = f"http://127.0.0.1:{faults.port}"
        with network(top, "faulty", options, base_port, KOLLATOR_S3_URL=url) as net:
            faults.rate = FAULTY
            source = write(top / "source", options.faulty_mib * MIB, seed="faulty")
            begun = time.monotonic()
            link = net.share(source, "--timeout", 60)
            shared = time.monotonic()
            done = net.download(link, top / "output", "--timeout", 60)
            ended = time.monotonic()
            assert not [line for line in done["lines"] if line["event"] == "blamed"], done["lines"]
            same(source, top / "output")
            faults.rate = 0.0
    fired = sum(faults.fired.values())
    print(f"  {options.faulty_mib} MiB up in {shared - begun:.1f} s, down in {ended - shared:.1f} s;", end=" ")
    print(f"{fired} of {faults.requests} requests failed: {dict(faults.fired)}", flush=True)
    assert set(faults.fired) == set(KINDS), f"not every kind of fault happened: {faults.fired}"


SCENES = (test_killed_while_it_uploads, test_rot_in_the_cache, test_rot_in_s3, test_verify)
WORLDS = (test_s3_that_fails,)


def run(tests, results, act):
    """Runs tests and says how each ended."""
    for test in tests:
        try:
            act(test)
        except Skipped as why:
            print(f"skipped {test.__name__}: {why}", flush=True)
        except Exception:
            results.append(False)
            print(f"FAILED {test.__name__}\n{traceback.format_exc()}", flush=True)
        else:
            results.append(True)
            print(f"ok {test.__name__}", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uploads", type=int, default=20)
    parser.add_argument("--faulty-mib", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results = []
    scenes = [test for test in SCENES if options.pattern in test.__name__]
    with tempfile.TemporaryDirectory(prefix="kollator-store-") as dir_name:
        top = pathlib.Path(dir_name)

        def in_scene(test):
            with tempfile.TemporaryDirectory(prefix=f"{test.__name__}-", dir=top) as room:
                test(scene, pathlib.Path(room))

        if scenes:
            port = int(os.environ.get("KOLLATOR_E2E_PORT") or free_base_port())
            with network(top, "run", options, port) as net:
                scene = Scene(net, options)
                run(scenes, results, in_scene)
        run(
            [test for test in WORLDS if options.pattern in test.__name__],
            results,
            lambda test: test(top, options),
        )
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
