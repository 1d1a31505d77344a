"""A TCP proxy between every part and every front, which can silence either direction or break connections.

It only carries signaling and what fronts tell each other: bytes of shares go over UDP, straight.
"""

import asyncio


class Link:
    """One part's way to one front."""

    def __init__(self, part, front, port):
        self.part = part
        self.front = front
        self.port = port
        # Whether bytes pass: to the front, and back from it.
        self.to = asyncio.Event()
        self.back = asyncio.Event()
        self.refuses = False
        self.connections = set()
        self.tasks = set()
        self.heal()

    def stall(self, to=True, back=True):
        """Bytes wait from now on, as do connections; nobody is told."""
        for gate, stalled in ((self.to, to), (self.back, back)):
            if stalled:
                gate.clear()

    def reset(self):
        """Breaks what is open and everything that comes."""
        self.refuses = True
        self.drop()

    def drop(self):
        """Breaks what is open."""
        for writer in list(self.connections):
            writer.transport.abort()

    def heal(self):
        self.refuses = False
        self.to.set()
        self.back.set()

    async def attend(self, reader, writer):
        """Carries one connection."""
        if self.refuses:
            writer.transport.abort()
            return
        mine = {writer}
        self.connections.add(writer)
        self.tasks.add(asyncio.current_task())
        try:
            await self.to.wait()
            front, to_front = await asyncio.open_connection("127.0.0.1", self.port)
            mine.add(to_front)
            self.connections.add(to_front)
            async with asyncio.TaskGroup() as both:
                both.create_task(carry(reader, to_front, self.to))
                both.create_task(carry(front, writer, self.back))
        except* OSError:
            # Either side is gone: so is the other.
            pass
        finally:
            for one in mine:
                self.connections.discard(one)
                one.transport.abort()
            self.tasks.discard(asyncio.current_task())


async def carry(reader, writer, gate):
    """Carries one direction to its end."""
    while data := await reader.read(64 * 1024):
        await gate.wait()
        writer.write(data)
        await writer.drain()
    await gate.wait()
    writer.write_eof()


class Proxy:
    """All links. Part number P reaches front number N (from 0) at `port + P * fronts + N`; lib.sh says the same."""

    def __init__(self, port, parts, fronts, port_of):
        self.links = [Link(part, front, port_of(front)) for part in parts for front in fronts]
        self.port = port
        self.servers = []

    async def start(self):
        for offset, link in enumerate(self.links):
            self.servers.append(await asyncio.start_server(link.attend, "127.0.0.1", self.port + offset))

    def between(self, parts, fronts):
        """The links of those parts to those fronts, but not of a front to itself."""
        return [link for link in self.links if link.part in parts and link.front in fronts and link.part != link.front]

    async def close(self):
        for server in self.servers:
            server.close()
        for link in self.links:
            link.heal()
            link.drop()
        await asyncio.gather(*(task for link in self.links for task in link.tasks), return_exceptions=True)
