"""A venue for tests of the worker: a real websocket server on a free port that says what the test tells it to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from aiohttp import WSMsgType, web

T = TypeVar("T")
START_S = 10.0
SEND_S = 20.0
SNAPSHOT = '{"lastUpdateId":1,"bids":[],"asks":[]}'


class VenueServer:
    """Runs on a thread of its own. What is sent while nobody is connected waits for the next connection."""

    def __init__(self) -> None:
        self.port = 0
        self.opened = 0
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        """Of the requests."""
        self.headers: list[Mapping[str, str]] = []
        """Of everything that was asked, openings of sockets among them."""
        self.received: list[str] = []
        self.received_at: list[float] = []
        """By ``time.monotonic``."""
        self.pongs: list[bytes] = []
        self.replies: dict[str, str] = {}
        """What is answered, on the same socket, to what is received."""
        self.answers: dict[str, tuple[int, str | list[str]]] = {}
        self.extra_headers: dict[str, str] = {}
        """Path → (status, body, or one body after the other) of requests; the rest gets an empty snapshot."""
        self.greeting: Sequence[str] = ()
        """Sent to each connection as it opens."""
        self._sockets: dict[web.WebSocketResponse, str] = {}
        """With the path that each asked for."""
        self._loop: asyncio.AbstractEventLoop
        self._runner: web.AppRunner

    def send(self, *texts: str | bytes) -> None:
        """To every open connection, once there is one."""
        self._run(self._send(texts))

    def send_fragments(self, *parts: bytes) -> None:
        """One text message in several websocket frames."""
        frames = []
        for number, part in enumerate(parts):
            first = (0x80 if number == len(parts) - 1 else 0) | (0 if number else 1)
            is_short = len(part) <= 125
            length = bytes((len(part),)) if is_short else b"\x7e" + len(part).to_bytes(2, "big")
            frames.append(bytes((first,)) + length + part)
        self.send_as_it_is(b"".join(frames))

    def send_as_it_is(self, content: bytes) -> None:
        """Bytes on the socket itself: websocket frames, or none."""

        async def write(socket: web.WebSocketResponse) -> None:
            transport = socket._req.transport if socket._req else None
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(content)

        self._run(self._each(write))

    def send_without_waiting(self, *texts: str | bytes) -> None:
        """As ``send``, for what the other side may not read for a while."""
        asyncio.run_coroutine_threadsafe(self._send(texts), self._loop)

    def close(self) -> None:
        """Every connection, as a venue does it: with a close frame."""
        self._run(self._each(lambda socket: socket.close(code=1001, message=b"going away")))

    def close_with(self, payload: bytes) -> None:
        """Every connection, by a close frame of these bytes, whatever they are."""

        async def write(socket: web.WebSocketResponse) -> None:
            transport = socket._req.transport if socket._req else None
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(bytes((0x88, len(payload))) + payload)

        self._run(self._each(write))

    def send_to(self, path: str, *texts: str) -> None:
        """To the connections whose path ends so, once there is one."""

        async def send() -> None:
            while not any(asked.endswith(path) for asked in self._sockets.values()):  # noqa: ASYNC110  as in _send
                await asyncio.sleep(0.005)
            for socket, asked in list(self._sockets.items()):
                for text in texts if asked.endswith(path) else ():
                    await socket.send_str(text)

        self._run(send())

    def cut(self, path: str = "") -> None:
        """Every connection (whose path ends so), without a word."""

        async def abort(socket: web.WebSocketResponse) -> None:
            if not self._sockets[socket].endswith(path):
                return
            transport = socket._req.transport if socket._req else None
            if transport:
                transport.abort()

        self._run(self._each(abort))

    def close_first(self) -> None:
        """The connection that is open longest."""

        async def close() -> None:
            await next(iter(self._sockets)).close(code=1001, message=b"going away")

        self._run(close())

    @property
    def connections(self) -> int:
        return len(self._sockets)

    def unread_bytes(self) -> int:
        """What the other side has not taken from us."""
        transports = [socket._req.transport for socket in self._sockets if socket._req]
        return sum(t.get_write_buffer_size() for t in transports if t)

    async def _send(self, texts: Sequence[str | bytes]) -> None:
        while not self._sockets:  # noqa: ASYNC110  set from another callback, and this is a test
            await asyncio.sleep(0.005)
        for socket in list(self._sockets):
            for text in texts:
                await (socket.send_str(text) if isinstance(text, str) else socket.send_bytes(text))

    async def _each(self, act: Callable[[web.WebSocketResponse], Awaitable[object]]) -> None:
        for socket in list(self._sockets):
            await act(socket)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(request.headers)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            self.requests.append(request.path_qs)
            self.bodies.append(await request.read())
            status, body = self.answers.get(request.path, (200, SNAPSHOT))
            if not isinstance(body, str):
                body = body.pop(0)
            return web.Response(status=status, text=body, headers=self.extra_headers)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.opened += 1
        for text in self.greeting:
            await socket.send_str(text)
        self._sockets[socket] = request.path_qs
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.received.append(message.data)
                    self.received_at.append(time.monotonic())
                    if message.data in self.replies:
                        await socket.send_str(self.replies[message.data])
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    self.pongs.append(bytes(message.data))
        finally:
            self._sockets.pop(socket, None)
        return socket

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self._runner = runner

    def _run(self, work: Awaitable[T]) -> T:
        return asyncio.run_coroutine_threadsafe(_awaited(work), self._loop).result(SEND_S)


async def _awaited(work: Awaitable[T]) -> T:
    return await work


@contextmanager
def venue_server() -> Iterator[VenueServer]:
    server = VenueServer()
    runner = asyncio.Runner()
    server._loop = runner.get_loop()
    thread = threading.Thread(target=server._loop.run_forever, daemon=True)
    thread.start()
    server._run(server._start())
    try:
        yield server
    finally:
        server._run(server._runner.cleanup())
        server._loop.call_soon_threadsafe(server._loop.stop)
        thread.join(START_S)
        runner.close()  # ends what still serves a connection, too


def trade(number: int, symbol: str = "BTCUSDT", price: str = "61837.63000000") -> str:
    """A Binance trade with id ``number``."""
    time_ms = 1_790_000_000_000 + number
    return (
        f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{time_ms},"s":"{symbol}","t":{number},'
        f'"p":"{price}","q":"0.02000000","T":{time_ms},"m":true,"M":true}}}}'
    )


def quote(number: int, symbol: str = "BTCUSDT") -> str:
    """A Binance bookTicker with update id ``number``."""
    return (
        f'{{"stream":"{symbol.lower()}@bookTicker","data":{{"u":{number},"s":"{symbol}","b":"61837.63000000",'
        f'"B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}}}'
    )
