#!/usr/bin/env python3
"""Kills a leader, a follower and a worker, each alone and in turn, while 20 downloads are in progress.

Usage: failover_test.py BINARIES

BINARIES is the folder with kollator, kollator-front, kollator-worker and kollator-s3. KOLLATOR_E2E_PORT is the
network's base port, a free one by default. Every download must end equal to what was shared; how long it takes until a
new leader is there and until the dead worker's clients have another is printed, and must be within LIMIT_SECONDS: the
design promises 2 s, the rest is for a busy machine. Needs only the standard library. Prints one line for each test
and, last, `N passed, M failed`.
"""

import asyncio
import os
import pathlib
import sys
import tempfile
import time
import traceback

from e2e_test import bits_set
from network import Network, free_base_port
from parts import FRONTS, WORKERS, Part, port_of
from suite import MIB, write
from watch import Client, Watch, get

DOWNLOADS = 20
SHARES = 4
SIZE = 96 * MIB
LIMIT_SECONDS = 5.0
POLL_SECONDS = 0.02
# Fresh from 127.0.N.1: fronts assign by network, so that these are spread over the workers.
SOURCES = [f"127.0.{n}.1" for n in range(8)]
PATIENCE = 120


class Scene:
    """The network, its processes and what is downloaded."""

    def __init__(self, net, room, shares, watch):
        self.net = net
        self.room = room
        self.shares = shares
        self.watch = watch
        self.parts = {name: Part(name, net.run_dir) for name in FRONTS + WORKERS}

    async def downloads(self, during):
        """Starts all downloads, does `during` once each is in progress, and waits until each has ended equal."""
        outputs = [self.room / f"output-{n}" for n in range(DOWNLOADS)]
        running = []
        try:
            for n, output in enumerate(outputs):
                said = (self.room / f"said-{n}").open("wb")
                command = self.net.command("download", self.shares[n % SHARES][1], "--output", output)
                running.append(
                    await asyncio.create_subprocess_exec(*command, env=self.net.env, stdout=said, stderr=said)
                )
                said.close()
            states = [output.with_name(output.name + ".part.state") for output in outputs]
            begun = set()
            while len(begun) < DOWNLOADS:
                begun |= {n for n, state in enumerate(states) if n not in begun and bits_set(state)}
                over = [n for n, process in enumerate(running) if process.returncode is not None]
                assert not over, f"over too soon, at {len(begun)} begun: {[self.said(n) for n in over]}"
                await asyncio.sleep(0.01)
            share = sum(map(bits_set, states)) * 16 * 1024 / (DOWNLOADS * SIZE)
            begun = time.monotonic()
            report = await during()
            async with asyncio.timeout(PATIENCE):
                codes = [await process.wait() for process in running]
            took = time.monotonic() - begun
            wrong = [f"exit {code}: {self.said(n)}" for n, code in enumerate(codes) if code]
            assert not wrong, f"{len(wrong)} of {DOWNLOADS} downloads failed: {wrong}"
            for n, output in enumerate(outputs):
                same = await asyncio.create_subprocess_exec("cmp", self.shares[n % SHARES][0], output)
                assert await same.wait() == 0, f"{output} is not what was shared"
            print(f"  {DOWNLOADS} downloads, {share:.0%} done at the kill, ended equal {took:.1f} s later")
            print(f"  {report}", flush=True)
        finally:
            for process in running:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            for output in outputs:
                for path in self.room.glob(output.name + "*"):
                    path.unlink()

    def said(self, n):
        return (self.room / f"said-{n}").read_text(errors="replace").strip()

    async def restart(self, name):
        """Starts a killed part again and waits until all is as before."""
        begun = time.monotonic()
        self.parts[name].start()
        await self.settled()
        print(f"  {name} is back {time.monotonic() - begun:.2f} s after its start", flush=True)

    async def settled(self):
        async with asyncio.timeout(PATIENCE):
            while True:
                workers = await get(port_of(FRONTS[0], self.net.base_port), "/workers") or []
                alive = [worker["name"] for worker in workers if worker["alive"]]
                if self.watch.agreed(FRONTS) and alive == WORKERS:
                    return
                await asyncio.sleep(POLL_SECONDS)


async def test_leader(scene):
    leader = scene.watch.leader()

    async def during():
        since = time.monotonic()
        scene.parts[leader].kill()
        took = await scene.watch.new_leader(since, leader, LIMIT_SECONDS)
        assert took is not None, f"{leader} led, and no other {LIMIT_SECONDS} s after it was killed"
        return f"killed the leader {leader}: {scene.watch.leader()} leads {took * 1000:.0f} ms later"

    await scene.downloads(during)
    await scene.restart(leader)


async def test_follower(scene):
    leader = scene.watch.leader()
    follower = next(name for name in FRONTS if name != leader)
    term = scene.watch.said[leader].health["term"]

    async def during():
        scene.parts[follower].kill()
        await asyncio.sleep(2)
        now = scene.watch.said[leader].health
        kept = "keeps" if (now["role"], now["term"]) == ("leader", term) else "does not keep"
        assert scene.watch.unled() < LIMIT_SECONDS, f"nobody leads after {follower}, a follower, was killed"
        return f"killed the follower {follower}: {leader} {kept} leading term {term}"

    await scene.downloads(during)
    await scene.restart(follower)


async def test_worker(scene):
    base = scene.net.base_port
    clients = [Client(port_of(front, base), source) for front in FRONTS for source in SOURCES]
    listening = [asyncio.create_task(client.run()) for client in clients]
    try:
        async with asyncio.timeout(PATIENCE):
            while not all(client.worker for client in clients):
                assert not any(client.ended for client in clients), [client.ended for client in clients]
                await asyncio.sleep(POLL_SECONDS)
        # That of the downloads, which all come from 127.0.0.1.
        victim = clients[0].worker
        moved = [client for client in clients if client.worker == victim]

        async def during():
            since = time.monotonic()
            scene.parts[victim].kill()
            while any(client.worker in (victim, None) for client in moved):
                await asyncio.sleep(POLL_SECONDS)
                held = sum(client.worker in (victim, None) for client in moved)
                late = f"{held} of {len(moved)} clients of {victim} have no other {LIMIT_SECONDS} s after it was killed"
                assert time.monotonic() < since + LIMIT_SECONDS, late
            took = sorted(client.since - since for client in moved)
            told = f"first after {took[0] * 1000:.0f} ms, last after {took[-1] * 1000:.0f} ms"
            return f"killed {victim}: {len(moved)} of {len(clients)} clients moved, {told}"

        await scene.downloads(during)
        await scene.restart(victim)
    finally:
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)


async def run(net, top):
    shares = []
    for n in range(SHARES):
        source = write(top / f"source-{n}", SIZE, seed=f"failover {n}")
        shares.append((source, net.share(source)))
    passed = failed = 0
    watch = Watch({name: port_of(name, net.base_port) for name in FRONTS}, POLL_SECONDS)
    async with watch.running():
        scene = Scene(net, top, shares, watch)
        await scene.settled()
        for test in (test_leader, test_follower, test_worker):
            try:
                await test(scene)
                assert not watch.faults, watch.faults
                panics = [line for part in scene.parts.values() for line in part.panics()]
                assert not panics, panics
            except Exception:
                failed += 1
                print(f"FAILED {test.__name__}\n{traceback.format_exc()}", flush=True)
                for part in scene.parts.values():
                    if not part.runs():
                        part.start()
            else:
                passed += 1
                print(f"ok {test.__name__}", flush=True)
    return passed, failed


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    port = int(os.environ.get("KOLLATOR_E2E_PORT") or free_base_port())
    with tempfile.TemporaryDirectory(prefix="kollator-failover-") as dir_name:
        top = pathlib.Path(dir_name)
        with Network(top / "run", port, pathlib.Path(sys.argv[1]).resolve()).running() as net:
            passed, failed = asyncio.run(run(net, top))
            if failed:
                for log in sorted((top / "run" / "logs").iterdir()):
                    print(f"--- last lines of {log.name}")
                    print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if failed == 0 else 1)


if __name__ == "__main__":
    main()
