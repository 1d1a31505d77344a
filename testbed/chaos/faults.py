"""What is done to fronts, workers and the network between them. The seed decides what comes after what, on which
role and for how long; who has that role and how long a recovery takes, the network decides.

One front at most is down, stopped or cut off at a time, so that a majority of three is always well; and one worker at
least is up.
"""

import asyncio
import random
import signal
import time

from parts import FRONTS, WORKERS, port_of
from transfers import sleep_unless
from watch import get

DOWN_SECONDS = (0.5, 5.0)
STOPPED_SECONDS = (0.5, 6.0)
CUT_SECONDS = (0.5, 6.0)
# Between the recovery from one fault of a kind and the next.
PAUSE_SECONDS = (0.5, 4.0)
# Recovery that takes longer is a failure. A worker that died several times must prove itself for up to 32 s.
FRONT_RECOVERY_SECONDS = 15.0
WORKER_RECOVERY_SECONDS = 60.0
# A new leader that takes longer does not count as measured; that none is there for so long is noticed elsewhere.
ELECTION_SECONDS = 15.0


class Faults:
    """Three strands of faults at once: one of fronts, two of workers, one of clients' ways to fronts."""

    def __init__(self, seed, base_port, parts, proxy, watch, say, fail):
        self.seed = seed
        self.base_port = base_port
        self.parts = parts
        self.proxy = proxy
        self.watch = watch
        self.say = say
        self.fail = fail
        self.counts = {}
        # Parts that are down because of us.
        self.down = set()
        # Fronts and workers something is done to.
        self.suffering = set()
        self.times = {"new leader": [], "front back": [], "worker back": [], "worker taken for dead": []}

    async def run(self, stop):
        async with asyncio.TaskGroup() as group:
            group.create_task(self._strand("fronts", self._front, stop))
            group.create_task(self._strand("workers", self._worker, stop))
            group.create_task(self._strand("other workers", self._worker, stop))
            group.create_task(self._strand("clients", self._clients, stop))

    async def _strand(self, name, fault, stop):
        rng = random.Random(f"{self.seed} {name}")
        while not await sleep_unless(stop, rng.uniform(*PAUSE_SECONDS)):
            # All draws of a fault are its own: how it goes does not change the next one.
            await fault(random.Random(rng.random()), stop)

    def _did(self, kind, what):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.say(what)

    async def _front(self, rng, _stop):
        of_leader = rng.random() < 0.6
        kind = rng.choice(["kill", "kill", "stop", "cut", "cut", "drop"])
        leader = self.watch.leader()
        followers = [name for name in FRONTS if name != leader]
        follower = rng.choice(followers)
        target = leader if of_leader and leader else follower
        role = "the leader" if target == leader else "a follower"
        self.suffering.add(target)
        since = time.monotonic()
        election = asyncio.create_task(self._elected(since, target, kind)) if target == leader else None
        await self._torment(rng, kind, target, role)
        since = time.monotonic()
        while not self.watch.agreed(FRONTS):
            if time.monotonic() > since + FRONT_RECOVERY_SECONDS:
                said = {name: said.health for name, said in self.watch.said.items()}
                self.fail(f"the fronts do not agree {FRONT_RECOVERY_SECONDS} s after {target} could: {said}")
                break
            await asyncio.sleep(self.watch.period)
        else:
            self.times["front back"].append(time.monotonic() - since)
        if election:
            election.cancel()
        self.suffering.discard(target)

    async def _elected(self, since, old, kind):
        took = await self.watch.new_leader(since, old, ELECTION_SECONDS)
        if took is not None:
            self.times["new leader"].append(took)
            self.say(f"  {self.watch.leader()} leads {took * 1000:.0f} ms after {kind} of {old}")

    async def _worker(self, rng, stop):
        kind = rng.choice(["kill", "kill", "stop", "stop", "cut", "drop"])
        of_busiest = rng.random() < 0.6
        choice = rng.random()
        while True:
            known = await self._workers()
            well = [name for name, row in known.items() if row["alive"] and name not in self.suffering]
            if len(well) >= 2:
                break
            if await sleep_unless(stop, 0.1):
                return
        busiest = max(well, key=lambda name: known[name]["assigned"])
        target = busiest if of_busiest else well[int(choice * len(well))]
        self.suffering.add(target)
        noticed = asyncio.create_task(self._noticed(time.monotonic(), target))
        await self._torment(rng, kind, target, "a worker")
        noticed.cancel()
        since = time.monotonic()
        while not (await self._workers()).get(target, {"alive": False})["alive"]:
            if time.monotonic() > since + WORKER_RECOVERY_SECONDS:
                self.fail(f"{target} is not alive again {WORKER_RECOVERY_SECONDS} s after it could be")
                break
            await asyncio.sleep(0.1)
        else:
            self.times["worker back"].append(time.monotonic() - since)
        self.suffering.discard(target)

    async def _noticed(self, since, name):
        while (await self._workers()).get(name, {"alive": False})["alive"]:
            await asyncio.sleep(0.05)
        self.times["worker taken for dead"].append(time.monotonic() - since)

    async def _workers(self):
        """All workers, as a front that is well knows them; `assigned` is the sum over such fronts."""
        workers = {}
        for front in FRONTS:
            if front in self.suffering:
                continue
            for row in await get(port_of(front, self.base_port), "/workers") or []:
                known = workers.setdefault(row["name"], row | {"assigned": 0})
                known["assigned"] += row["assigned"]
        return workers

    async def _torment(self, rng, kind, target, role):
        """Does one thing to one part, and undoes it after a while."""
        part = self.parts[target]
        if kind == "kill":
            seconds = rng.uniform(*DOWN_SECONDS)
            self._did(f"kill -9 of {role}", f"kill -9 {target}, {role}, for {seconds:.1f} s")
            self.down.add(target)
            part.kill()
            await asyncio.sleep(seconds)
            part.start()
            self.down.discard(target)
            self.say(f"  started {target}")
        elif kind == "stop":
            seconds = rng.uniform(*STOPPED_SECONDS)
            self._did(f"SIGSTOP of {role}", f"SIGSTOP {target}, {role}, for {seconds:.1f} s")
            part.send(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            part.send(signal.SIGCONT)
            self.say(f"  SIGCONT {target}")
        elif kind == "cut":
            await self._cut(rng, target, role)
        else:
            self._did(f"broken connections of {role}", f"break all connections of {target}, {role}")
            for link in self.proxy.between([target], FRONTS) + self.proxy.between(FRONTS + WORKERS, [target]):
                link.drop()

    async def _cut(self, rng, target, role):
        """Cuts a front off the others, or from clients and workers as well; a worker off all fronts or one."""
        seconds = rng.uniform(*CUT_SECONDS)
        how = rng.choice(["silent", "silent", "reset", "it is not heard", "it does not hear"])
        out = self.proxy.between([target], FRONTS if target in FRONTS or rng.random() < 0.5 else [rng.choice(FRONTS)])
        others = rng.choice([FRONTS, FRONTS + WORKERS + ["clients"]]) if target in FRONTS else []
        back = self.proxy.between(others, [target])
        who = " ".join(sorted({link.front for link in out} | {link.part for link in back}))
        self._did(f"cut of {role} ({how})", f"cut {target}, {role}, off {who} ({how}) for {seconds:.1f} s")
        for link in out + back:
            if how == "reset":
                link.reset()
            else:
                # A word of the target's goes to the front on links it opened, and back on the others'.
                is_own = link in out
                link.stall(
                    to=how == "silent" or is_own == (how == "it is not heard"),
                    back=how == "silent" or is_own == (how == "it does not hear"),
                )
        await asyncio.sleep(seconds)
        for link in out + back:
            link.heal()
        self.say(f"  healed {target}")

    async def _clients(self, rng, _stop):
        front = rng.choice(FRONTS)
        how = rng.choice(["silent", "reset"])
        seconds = rng.uniform(*CUT_SECONDS)
        # Another front may suffer at the same time: the third one serves them all.
        self._did(f"cut of clients from a front ({how})", f"cut clients off {front} ({how}) for {seconds:.1f} s")
        links = self.proxy.between(["clients"], [front])
        for link in links:
            if how == "reset":
                link.reset()
            else:
                link.stall()
        await asyncio.sleep(seconds)
        for link in links:
            link.heal()
        self.say(f"  healed clients and {front}")
