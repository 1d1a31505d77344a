"""A proxy before an S3 server: a share of the requests gets no answer that is of use, one seed decides which.

It carries one request a connection, so that whatever befalls one befalls no other.
"""

import asyncio
import collections
import contextlib
import random
import re
import threading

MOST_BYTES = 256 * 1024
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
)
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
# `busy`: 503. `refused`: reset before the server hears of it. `unheard`: the server does what it is asked, and the
# connection is reset instead of the answer. `cut`: part of the answer, then a reset. `truncated`: part of the answer,
# then an orderly end. `stalled`: part of the answer, then silence for as long as the client is patient.
KINDS = ("busy", "refused", "unheard", "cut", "truncated", "stalled")


class S3Faults:
    """Listens on a port of its own and hands requests to `upstream`, a local port."""

    def __init__(self, upstream, seed):
        self.upstream = upstream
        self.random = random.Random(seed)
        # The share of requests that fail; none at first.
        self.rate = 0.0
        self.requests = 0
        self.fired = collections.Counter()
        self.port = None
        self.open = set()

    @contextlib.contextmanager
    def running(self):
        """Works in a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="s3-faults", daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._attend, "127.0.0.1", 0), loop).result()
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._close(server), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _close(self, server):
        server.close()
        for task in self.open:
            task.cancel()
        await asyncio.gather(*self.open, return_exceptions=True)

    async def _attend(self, reader, writer):
        task = asyncio.current_task()
        self.open.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            # Either side is gone: so is the other.
            pass
        finally:
            self.open.discard(task)
            writer.transport.abort()

    async def _carry(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        fault = None
        if self.random.random() < self.rate:
            fault = self.random.choice(KINDS)
            self.fired[fault] += 1
        if fault == "refused":
            return
        if fault == "busy":
            await reader.readexactly(length_of(head))
            writer.write(BUSY % (len(SLOW_DOWN), SLOW_DOWN))
            await flushed(writer)
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.upstream)
        asking = asyncio.create_task(copy(reader, to_server, closing(head)))
        try:
            answer = await from_server.readuntil(b"\r\n\r\n")
            if fault == "unheard":
                return
            length = length_of(answer)
            # Of an answer without a body, part of the head.
            part = self.random.randrange(len(answer) + length) if fault else None
            if fault and part < len(answer):
                writer.write(answer[:part])
            else:
                writer.write(closing(answer))
                await pass_on(from_server, writer, part and part - len(answer))
            await flushed(writer)
            if fault == "stalled":
                # The request was read to its end by now: nothing comes but the end of the connection.
                await asking
                return
            if fault != "cut":
                await ended(writer)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            to_server.transport.abort()


def length_of(head):
    """Bytes of the body that follows."""
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


def closing(head):
    """The same head, which says that no other message follows on the connection."""
    kept = re.sub(rb"\r\n(connection|keep-alive):[^\r]*", b"", head, flags=re.IGNORECASE)
    return kept[:-2] + b"Connection: close\r\n\r\n"


async def copy(reader, writer, first):
    """Passes on everything until the client is gone."""
    writer.write(first)
    while data := await reader.read(MOST_BYTES):
        writer.write(data)
        await writer.drain()


async def pass_on(reader, writer, most):
    """Passes on the rest of an answer, or so many bytes of it."""
    while most is None or most > 0:
        data = await reader.read(MOST_BYTES if most is None else min(most, MOST_BYTES))
        if not data:
            return
        most = None if most is None else most - len(data)
        writer.write(data)
        await writer.drain()


async def flushed(writer):
    """Waits until the system has all that was written."""
    writer.transport.set_write_buffer_limits(0)
    await writer.drain()


async def ended(writer):
    """Ends the connection in an orderly way: what was written arrives."""
    writer.close()
    await writer.wait_closed()
