"""A cable on loopback: carries TCP connections to another port, each byte later by a delay, and no more bytes than a rate."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue

_PIECE = 32 * 1024
_UNSENT = 256


@dataclass
class _Way:
    """One direction of the cable, which all its connections share: the moment until which it is taken."""

    bytes_per_second: float
    taken_until: float = 0.0

    def arrival(self, size: int, now: float, delay: float) -> float:
        """When a piece arrives that is put in now."""
        self.taken_until = max(now, self.taken_until) + size / self.bytes_per_second
        return self.taken_until + delay


@contextmanager
def throttled(port: int, megabits: float, delay: float) -> Iterator[int]:
    """Carry to a port of loopback. Yields the port to connect to instead. ``delay``: seconds, each way."""
    ready: SimpleQueue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = SimpleQueue()
    ways = (_Way(megabits * 1e6 / 8), _Way(megabits * 1e6 / 8))

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_one_way(reader, far_writer, ways[0], delay), _one_way(far_reader, writer, ways[1], delay))

    async def serve() -> None:
        end = asyncio.Event()
        async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
            ready.put((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), end))
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    carried, loop, end = ready.get(timeout=10)
    try:
        yield carried
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way, delay: float) -> None:
    on_their_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNSENT)
    put_in = asyncio.ensure_future(_put_in(reader, on_their_way, way, delay))
    try:
        with suppress(ConnectionError):
            await _take_out(writer, on_their_way)
    finally:
        put_in.cancel()
        writer.close()


async def _put_in(
    reader: asyncio.StreamReader, on_their_way: "asyncio.Queue[tuple[float, bytes]]", way: _Way, delay: float
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        try:
            piece = await reader.read(_PIECE)
        except ConnectionError:
            piece = b""
        await on_their_way.put((way.arrival(len(piece), clock(), delay), piece))
        if not piece:
            return


async def _take_out(writer: asyncio.StreamWriter, on_their_way: "asyncio.Queue[tuple[float, bytes]]") -> None:
    clock = asyncio.get_running_loop().time
    while True:
        arrival, piece = await on_their_way.get()
        await asyncio.sleep(max(0.0, arrival - clock()))
        if not piece:
            return
        writer.write(piece)
        await writer.drain()
