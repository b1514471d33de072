"""TLS before a server that speaks none: it ends here, what is inside goes on to the server as it is."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.certificates import Identity

CHUNK_BYTES = 1 << 16
START_WITHIN_S = 10.0
POSTGRES_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
POSTGRES_GSS_REQUEST = bytes.fromhex("0000000804d21630")


@contextmanager
def tls_front(server_port: int, identity: Identity, *, postgres: bool = False) -> Iterator[int]:
    """The port of a front of ``server_port``. PostgreSQL's clients ask for TLS first, and are left without an answer if
    they do not. What names the front as HTTP's host names the server behind it."""
    front = _Front(server_port, identity, postgres)
    thread = threading.Thread(target=asyncio.run, args=(front.run(),), daemon=True)
    thread.start()
    assert front.started.wait(START_WITHIN_S)
    try:
        yield front.port
    finally:
        front.loop.call_soon_threadsafe(front.stopping.set)
        thread.join()


class _Front:
    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event
    port = 0

    def __init__(self, server_port: int, identity: Identity, postgres: bool) -> None:
        self.started = threading.Event()
        self._server_port = server_port
        self._postgres = postgres
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity.both_file)
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        context = None if self._postgres else self._context
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        await self.stopping.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                if not self._postgres or await _asked_for_tls(reader, writer, self._context):
                    await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        own, behind = (b"Host: 127.0.0.1:%d" % port for port in (self.port, self._server_port))
        try:
            back = asyncio.create_task(_pass_on(answers, writer))
            while chunk := await reader.read(CHUNK_BYTES):
                server.write(chunk.replace(own, behind))
                await server.drain()
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
        finally:
            server.transport.abort()


async def _asked_for_tls(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> bool:
    asked = await reader.readexactly(len(POSTGRES_SSL_REQUEST))
    if asked == POSTGRES_GSS_REQUEST:
        writer.write(b"N")
        asked = await reader.readexactly(len(POSTGRES_SSL_REQUEST))
    if asked != POSTGRES_SSL_REQUEST:
        return False
    writer.write(b"S")
    await writer.start_tls(context)
    return True


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()
