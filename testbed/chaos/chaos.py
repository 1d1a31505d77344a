#!/usr/bin/env python3
"""Transfers over a network whose fronts and workers are killed, stopped, restarted and cut off.

Usage: chaos.py BINARIES DIRECTORY SECONDS SEED

Started by chaos.sh, which cleans up. Exits 0 only if every download ended equal to what was shared, no two fronts led
the same term, the fronts were never without a leader for long, every process died only when it was killed, none
panicked, and all recovered. Prints what it does when, and a summary.
"""

import asyncio
import os
import pathlib
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from faults import Faults
from network import OFFSETS, Network, free_base_port
from parts import FRONTS, WORKERS, Part, port_of
from proxy import Proxy
from transfers import Transfers
from watch import Watch

SLOTS = 6
POLL_SECONDS = 0.1
LEADERLESS_SECONDS = 5.0
# A leader without a majority steps down after 0.8 s.
DEPOSED_SECONDS = 3.0
# Proxies' ports, above the base port: one for each part and front, and for clients and front.
PROXIES = 400
PARTIES = ["clients", *FRONTS, *WORKERS]


class Chaos:
    """One run."""

    def __init__(self, bin_dir, top, seconds, seed):
        self.top = top
        self.seconds = seconds
        self.seed = seed
        offsets = OFFSETS + tuple(range(PROXIES, PROXIES + len(PARTIES) * len(FRONTS)))
        self.base_port = free_base_port(offsets)
        os.environ["KOLLATOR_PROXY_PORT"] = str(self.base_port + PROXIES)
        self.net = Network(top / "run", self.base_port, bin_dir)
        fronts = range(len(FRONTS))
        self.net.env["KOLLATOR_FRONT"] = ",".join(f"http://127.0.0.1:{self.base_port + PROXIES + n}" for n in fronts)
        self.begun = time.monotonic()
        self.failures = []
        self.failed = asyncio.Event()
        self.slowest_turn = 0.0

    def say(self, words):
        print(f"{time.monotonic() - self.begun:8.2f} {words}", flush=True)

    def fail(self, words):
        self.failures.append(words)
        self.failed.set()
        self.say(f"FAILED {words}")

    async def run(self):
        proxy = Proxy(self.base_port + PROXIES, PARTIES, FRONTS, lambda name: port_of(name, self.base_port))
        await proxy.start()
        try:
            await asyncio.to_thread(self.net.script, "start.sh")
            parts = {name: Part(name, self.net.run_dir) for name in ["s3", *FRONTS, *WORKERS]}
            watch = Watch({name: port_of(name, self.base_port) for name in FRONTS}, POLL_SECONDS)
            faults = Faults(self.seed, self.base_port, parts, proxy, watch, self.say, self.fail)
            transfers = Transfers(self.net, self.top, self.seed, SLOTS, self.fail)
            async with watch.running():
                await self._torment(parts, watch, faults, transfers)
            self._look_for_panics(parts)
            self._summary(watch, faults, transfers)
        finally:
            await proxy.close()

    async def _torment(self, parts, watch, faults, transfers):
        rng = await transfers.prepare()
        self.begun = watch.led = time.monotonic()
        stop, calm = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            guard = group.create_task(self._guard(parts, watch, faults))
            going = group.create_task(transfers.run(rng, calm))
            doing = group.create_task(faults.run(stop))
            failed = asyncio.create_task(self.failed.wait())
            await asyncio.wait([failed, going, doing], timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            failed.cancel()
            self.say("no more faults; letting downloads end")
            # What is broken now is healed as it would have been, and downloads go on until then.
            stop.set()
            await doing
            calm.set()
            await going
            guard.cancel()

    async def _guard(self, parts, watch, faults):
        """Looks for what must never be."""
        told = set()
        last = time.monotonic()
        while True:
            for fault in watch.faults:
                self._fail_once(told, fault)
            for name, part in parts.items():
                if name not in faults.down and not part.runs():
                    self._fail_once(told, f"{name} ended, and nobody killed it: see {part.log}")
            if watch.unled() > LEADERLESS_SECONDS:
                self._fail_once(told, f"no front has led for {LEADERLESS_SECONDS} s, with a majority up")
            if watch.longest_deposed > DEPOSED_SECONDS:
                self._fail_once(told, f"a front said that it leads {DEPOSED_SECONDS} s after another led a later term")
            await asyncio.sleep(POLL_SECONDS)
            now = time.monotonic()
            self.slowest_turn = max(self.slowest_turn, now - last - POLL_SECONDS)
            last = now

    def _fail_once(self, told, words):
        if words not in told:
            told.add(words)
            self.fail(words)

    def _look_for_panics(self, parts):
        for part in parts.values():
            for line in part.panics():
                self.fail(f"{part.name} panicked: {line}")

    def _summary(self, watch, faults, transfers):
        print(f"\nseed {self.seed}, {time.monotonic() - self.begun:.0f} s")
        print(f"faults: {sum(faults.counts.values())}")
        for kind, count in sorted(faults.counts.items()):
            print(f"  {count:4} {kind}")
        print("seconds until                  times  median     max")
        for what, times in [*faults.times.items(), ("download ended", transfers.seconds)]:
            if times:
                times = sorted(times)
                print(f"  {what:28} {len(times):5} {times[len(times) // 2]:7.2f} {times[-1]:7.2f}")
        print(f"longest time without a word of a leader: {watch.longest_gap:.2f} s")
        print(f"terms with a leader: {len(watch.leader_of)}; answers of fronts: {watch.polls}")
        print(f"longest that a leader did not notice that a newer one leads: {watch.longest_deposed:.2f} s")
        print(f"slowest turn of this program's own: {self.slowest_turn:.2f} s")
        print(f"shares: {transfers.shared}; downloads that ended equal: {len(transfers.seconds)}", end="")
        print(f", {transfers.bytes / 1e6:.0f} MB; failures: {len(self.failures)}")
        for failure in self.failures:
            print(f"FAILED {failure}")
        print("clean" if not self.failures else "NOT CLEAN", flush=True)


async def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    bin_dir, top, seconds, seed = sys.argv[1:]
    chaos = Chaos(pathlib.Path(bin_dir).resolve(), pathlib.Path(top), float(seconds), seed)
    running = asyncio.create_task(chaos.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        sys.exit("chaos: stopped")
    sys.exit(1 if chaos.failures else 0)


if __name__ == "__main__":
    asyncio.run(main())
