"""Shares and downloads that go on while the network is tormented."""

import asyncio
import random

MIB = 1024 * 1024
SMALLEST, LARGEST = 20 * MIB, 60 * MIB
# Shares that downloads choose from, and how often a new one takes the place of the oldest.
POOL = 4
NEW_SHARE_SECONDS = 12.0
# One that takes longer is stuck.
PATIENCE_SECONDS = 180.0


class Share:
    """A file and its link. It is removed when it has left the pool and nobody compares with it any more."""

    def __init__(self, path, size, link):
        self.path = path
        self.size = size
        self.link = link
        self.users = 1

    def release(self):
        self.users -= 1
        if self.users == 0:
            self.path.unlink()


class Transfers:
    """Keeps a number of downloads running and compares what they bring."""

    def __init__(self, net, room, seed, slots, fail):
        self.net = net
        self.room = room
        self.seed = seed
        self.slots = slots
        self.fail = fail
        self.pool = []
        self.shared = 0
        self.seconds = []
        self.bytes = 0

    async def prepare(self):
        """Fills the pool while all is quiet."""
        rng = random.Random(f"{self.seed} shares")
        for _ in range(POOL):
            await self._share(rng)
        return rng

    async def run(self, rng, stop):
        """Goes on until `stop` is set, then lets what is open end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._new_shares(rng, stop))
            for slot in range(self.slots):
                group.create_task(self._downloads(slot, stop))

    async def _new_shares(self, rng, stop):
        while not await sleep_unless(stop, rng.uniform(0.5, 1.5) * NEW_SHARE_SECONDS):
            if await self._share(rng):
                self.pool.pop(0).release()

    async def _share(self, rng):
        number = self.shared
        size = rng.randrange(SMALLEST, LARGEST)
        path = self.room / f"source-{number}"
        await asyncio.to_thread(write, path, size, f"{self.seed} share {number}")
        code, out, said = await self._kollator(f"share-{number}", "share", path)
        if code != 0:
            self.fail(f"share {number} ({size} bytes): exit {code}: {said}")
            return False
        self.shared += 1
        self.pool.append(Share(path, size, out.strip()))
        return True

    async def _downloads(self, slot, stop):
        rng = random.Random(f"{self.seed} slot {slot}")
        number = 0
        while not stop.is_set():
            share = rng.choice(self.pool)
            share.users += 1
            await self._download(share, f"download-{slot}-{number}")
            share.release()
            number += 1

    async def _download(self, share, name):
        output = self.room / name
        begun = asyncio.get_running_loop().time()
        code, _, said = await self._kollator(name, "download", share.link, "--output", output)
        took = asyncio.get_running_loop().time() - begun
        if code != 0:
            self.fail(f"{name} ({share.size} bytes): exit {code} after {took:.1f} s: {said}")
        else:
            same = await asyncio.create_subprocess_exec("cmp", share.path, output)
            if await same.wait() != 0:
                # It stays for a closer look.
                self.fail(f"{name}: {output} is not what was shared, {share.path}")
                return
            self.seconds.append(took)
            self.bytes += share.size
        for path in self.room.glob(name + "*"):
            path.unlink()

    async def _kollator(self, name, *args):
        """Exit code (None: it was stuck), standard output and what it said to its user. Its log stays if it failed."""
        log = self.net.run_dir / "logs" / f"{name}.log"
        with log.open("wb") as told:
            process = await asyncio.create_subprocess_exec(
                *self.net.command(*args),
                env=self.net.env | {"RUST_LOG": "kollator_runtime=debug"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=told,
            )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                out, _ = await process.communicate()
        except TimeoutError:
            return None, "", f"still there after {PATIENCE_SECONDS} s; see {log.name}"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            log.unlink()
            return 0, out.decode(), ""
        lines = log.read_text(errors="replace").splitlines()
        if any("panicked" in line for line in lines):
            self.fail(f"{name} panicked; see {log.name}")
        said = [line for line in lines if "DEBUG" not in line]
        return process.returncode, out.decode(), "; ".join(said[-2:]) + f"; see {log.name}"


def write(path, size, seed):
    """A file of random bytes, the same for the same seed."""
    source = random.Random(seed)
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(source.randbytes(min(MIB, size - start)))


async def sleep_unless(stop, seconds):
    """Sleeps; whether `stop` was set meanwhile, which ends it."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True
