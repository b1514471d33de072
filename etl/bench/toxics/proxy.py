"""A TCP proxy whose network fails on command: what lies between a part and a server that it asks.

Without a toxic it passes bytes on unchanged. No toxic changes, drops or reorders bytes inside a connection: TCP would
not. A connection that lost its network ends by a reset, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from types import TracebackType

from msgspec import Struct

DELAY, CUT, HALF_OPEN, THROTTLE = "delay", "cut", "half_open", "throttle"
KINDS = (DELAY, CUT, HALF_OPEN, THROTTLE)
CHUNK_BYTES = 64 << 10
THROTTLED_CHUNKS_PER_S = 10
CONNECT_TIMEOUT_S = 5.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Toxic(Struct, frozen=True):
    """``delay``: each chunk waits ``value`` seconds. ``throttle``: ``value`` bytes a second, each way. ``cut``: what is
    connected and what connects is reset. ``half_open``: both sides stay connected and hear nothing more, new ones
    too; when it ends they are reset."""

    kind: str
    value: float = 0.0


class Proxy:
    """``async with Proxy(host, port, upstream_host)``: from ``host:port`` to the same port of ``upstream_host``.
    Raises ``OSError`` if the port is taken."""

    def __init__(self, host: str, port: int, upstream_host: str) -> None:
        self._host = host
        self._port = port
        self._upstream_host = upstream_host
        self._toxic: Toxic | None = None
        self._passable = asyncio.Event()
        self._passable.set()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._connected, self._host, self._port, limit=CHUNK_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._reset_all()
        await self._server.wait_closed()

    @contextlib.asynccontextmanager
    async def poisoned(self, toxic: Toxic) -> AsyncIterator[str]:
        """Within it ``toxic`` works; one at a time. Gives ""."""
        self._toxic = toxic
        if toxic.kind == HALF_OPEN:
            self._passable.clear()
        elif toxic.kind == CUT:
            await self._reset_all()
        try:
            yield ""
        finally:
            self._toxic = None
            if toxic.kind == HALF_OPEN:
                await self._reset_all()
                self._passable.set()

    async def _reset_all(self) -> None:
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs each connection as a task"
        self._connections.add(task)
        writers = [writer]
        try:
            if self._toxic is not None and self._toxic.kind == CUT:
                return
            await self._passable.wait()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                upstream_reader, upstream_writer = await asyncio.open_connection(
                    self._upstream_host, self._port, limit=CHUNK_BYTES
                )
            writers.append(upstream_writer)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._pass_on(reader, upstream_writer))
                directions.create_task(self._pass_on(upstream_reader, writer))
            for each in writers:
                each.close()  # both sides have said all they had to say
            writers = []
        except* (OSError, TimeoutError, asyncio.CancelledError):
            pass  # a side has gone, or the network has: the other hears of it by the reset
        finally:
            for each in writers:
                _reset(each)
            self._connections.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(self._chunk_bytes()):
            await self._passable.wait()
            if wait_s := self._wait_s(chunk):
                await asyncio.sleep(wait_s)
                await self._passable.wait()
            writer.write(chunk)
            await writer.drain()
        await self._passable.wait()
        writer.write_eof()

    def _chunk_bytes(self) -> int:
        if self._toxic is not None and self._toxic.kind == THROTTLE:
            return max(1, int(self._toxic.value / THROTTLED_CHUNKS_PER_S))
        return CHUNK_BYTES

    def _wait_s(self, chunk: bytes) -> float:
        match self._toxic:
            case Toxic(kind="delay", value=delay_s):
                return delay_s
            case Toxic(kind="throttle", value=bytes_per_s):
                return len(chunk) / bytes_per_s
        return 0.0


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        held: socket.socket = writer.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
