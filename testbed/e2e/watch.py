"""Watches fronts from outside: what each says of the leadership, and which worker a client is given."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import time
from dataclasses import dataclass

# A front that does not answer for so long is taken for silent.
ANSWER_SECONDS = 1.0


async def get(port, path, seconds=ANSWER_SECONDS):
    """The JSON at a path of a local server; None if it does not answer."""
    writer = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
    except (OSError, TimeoutError):
        return None
    finally:
        if writer is not None:
            writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    return json.loads(body) if head.startswith(b"HTTP/1.1 200 ") else None


@dataclass
class Said:
    """What a front said of itself, and when it was asked and had answered (monotonic seconds)."""

    asked: float
    answered: float
    health: dict

    def leads(self):
        return self.health["role"] == "leader" and self.health["quorum"]


class Watch:
    """Polls `/health` of every front."""

    def __init__(self, ports, period):
        self.ports = ports
        self.period = period
        self.said = {}
        self.leader_of = {}
        self.faults = []
        self.polls = 0
        # When some front last said that it leads, with a majority; and the longest time between two such answers.
        self.led = time.monotonic()
        self.longest_gap = 0.0
        # When each term's leader was first heard as such, and how long at most one said so after a newer one had.
        self.first_led = {}
        self.longest_deposed = 0.0

    @contextlib.asynccontextmanager
    async def running(self):
        tasks = [asyncio.create_task(self._poll(name, port)) for name, port in self.ports.items()]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self, name, port):
        while True:
            asked = time.monotonic()
            try:
                health = await get(port, "/health")
                self.polls += 1
                if health is None:
                    self.said.pop(name, None)
                else:
                    self._hear(name, Said(asked, time.monotonic(), health))
            except (KeyError, ValueError) as error:
                self.faults.append(f"{name} says something unreadable on /health: {error!r}")
            await asyncio.sleep(max(0.0, asked + self.period - time.monotonic()))

    def _hear(self, name, said):
        self.said[name] = said
        if said.health["role"] != "leader":
            return
        term = said.health["term"]
        first = self.leader_of.setdefault(term, name)
        if first != name:
            self.faults.append(f"{first} and {name} both lead term {term}")
        if said.leads():
            self.longest_gap = max(self.longest_gap, said.answered - self.led)
            self.led = max(self.led, said.answered)
        self.first_led.setdefault(term, said.answered)
        newer = [since for later, since in self.first_led.items() if later > term]
        if newer:
            self.longest_deposed = max(self.longest_deposed, said.asked - min(newer))

    def leader(self):
        """The front that leads, if one says so; of several, that of the latest term."""
        leaders = [(said.health["term"], name) for name, said in self.said.items() if said.leads()]
        return max(leaders)[1] if leaders else None

    def unled(self):
        """Seconds since a leader last answered."""
        return time.monotonic() - self.led

    async def new_leader(self, since, dead, seconds):
        """Waits for a leader other than `dead`, who answered after `since`; seconds from then until it did."""
        end = since + seconds
        while time.monotonic() < end:
            told = [
                said.answered
                for name, said in self.said.items()
                if name != dead and said.leads() and said.asked > since
            ]
            if told:
                return min(told) - since
            await asyncio.sleep(self.period / 4)
        return None

    def agreed(self, names):
        """Whether those fronts answer, name the same leader, and are in touch with a majority and each other."""
        said = [self.said.get(name) for name in names]
        if any(one is None or not one.health["quorum"] for one in said):
            return False
        heard = all(front["connected"] for one in said for front in one.health["fronts"] if front["name"] in names)
        leaders = {one.health["leader"] for one in said}
        return heard and len(leaders) == 1 and None not in leaders


class Client:
    """A peer that says hello to a front and then only listens which worker it is given (RFC 6455, no extensions)."""

    def __init__(self, port, source):
        self.port = port
        self.source = source
        # The worker it was given, and since when.
        self.worker = None
        self.since = 0.0
        self.ended = None

    async def run(self):
        """Listens until the connection ends, then says why in `ended`."""
        try:
            await self._listen()
        except (OSError, asyncio.IncompleteReadError) as error:
            self.ended = repr(error)

    async def _listen(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.source, 0))
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        writer.write(
            f"GET /signaling HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        hello = {"type": "hello", "version": 1, "id": secrets.token_hex(32), "role": {"is": "peer"}}
        writer.write(frame(0x1, json.dumps(hello).encode()))
        try:
            while True:
                opcode, data = await read_frame(reader)
                if opcode == 0x8:
                    self.ended = f"closed by the front: {data[2:].decode(errors='replace')}"
                    return
                if opcode == 0x9:
                    writer.write(frame(0xA, data))
                elif opcode == 0x1:
                    self._hear(json.loads(data))
        finally:
            writer.transport.abort()

    def _hear(self, message):
        if message["type"] in ("welcome", "assign"):
            worker = message.get("worker")
            self.worker = worker and worker["name"]
            self.since = time.monotonic()


def frame(opcode, data):
    """One frame, masked as a client's must be."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    mask = os.urandom(4)
    return bytes([0x80 | opcode]) + length + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


async def read_frame(reader):
    """Opcode and payload of one frame of a server, which sends each message in one and never masks."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8), "big")
    return first & 0x0F, await reader.readexactly(size)
