"""The simulator's server: real websockets and HTTP on loopback, one port for any number of venues.

    ws   /<exchange>/…                  the venue's own protocol
    GET  /<exchange>/…                  the venue's own request interface; POST where it has bodies
    GET  /control/status                state and counts of every venue
    POST /control/{stop,start}          stop sending (and go on serving), go on
    POST /control/fault                 {"kind": …, "exchange": …, …}: see ``faults.py``; no exchange = all

Frames are written straight to the transport: many at once, each whole, which costs 1 µs a frame instead of the
20 µs of ``send_bytes`` (aiohttp 3.14).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from etl.embedded.web_access import web_access
from etl.errors import UsageError
from etl.simulator import faults
from etl.simulator.connection import Connection
from etl.simulator.feed import Feed
from etl.simulator.frame_faults import Fault
from etl.simulator.pace import Pace
from etl.simulator.venue import Response

TICK_S = 0.005
ROUNDS_MAX = 200
"""Of one tick, while several recordings take turns: then clients are heard again."""
UNREAD_BYTES_MAX = 1 << 20
"""What takes its pace from its clients, or from a clock that may wait for them, sends no more meanwhile."""
PING_INTERVAL_S = 20.0
MESSAGE_BYTES_MAX = 1 << 20
ANSWER_WAIT_S = 60.0
ANSWER_POLL_S = 0.01

TEXT_FRAME, BINARY_FRAME = 0x81, 0x82
FIRST_OF_A_TEXT, END_OF_A_TEXT = b" ", b"\x80"
"""What begins with another byte, a control character or none of ASCII's, is binary."""
LENGTH_7_MAX, LENGTH_16_MAX = 125, 0xFFFF


class FaultOrder(Fault, frozen=True, forbid_unknown_fields=True):
    exchange: str = ""


class Socket(Connection):
    """A client's websocket."""

    def __init__(self, path: str, query: Mapping[str, str], websocket: web.WebSocketResponse) -> None:
        super().__init__(path, query)
        self._websocket = websocket
        self._transport: asyncio.WriteTransport | None = None

    def attach(self, request: web.Request) -> None:
        transport = request.transport
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def write(self, payloads: Sequence[bytes]) -> None:
        if self._transport is not None and self.is_open:
            self._transport.write(b"".join([part for p in payloads for part in (header(p), p)]))

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        await self._websocket.close(code=WSCloseCode.POLICY_VIOLATION)

    @property
    def unread_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and not self._websocket.closed


def header(payload: bytes) -> bytes:
    """The head of an unmasked frame, RFC 6455 section 5.2."""
    length, kind = (
        len(payload),
        TEXT_FRAME if FIRST_OF_A_TEXT <= payload[:1] < END_OF_A_TEXT else BINARY_FRAME,
    )
    if length <= LENGTH_7_MAX:
        return bytes((kind, length))
    if length <= LENGTH_16_MAX:
        return bytes((kind, 126)) + length.to_bytes(2, "big")
    return bytes((kind, 127)) + length.to_bytes(8, "big")


def _steady_clock() -> Callable[[], int]:
    """Unix time as of now, and from then on without its steps: a venue goes on at its pace."""
    begun_ns = time.time_ns() - time.monotonic_ns()
    return lambda: begun_ns + time.monotonic_ns()


class Server:
    """Serves ``feeds``, by exchange. ``paced`` = False sends as fast as the clients read; ``pace``: the clock that
    they share."""

    def __init__(
        self,
        feeds: Mapping[str, Feed],
        *,
        paced: bool = True,
        pace: Pace | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.feeds = feeds
        self._paced = paced
        self._pace = pace
        self._clock = clock or _steady_clock()
        self._player: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._closers: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(
        self, host: str, port: int, metrics_port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen; port 0 takes a free one, see ``port``. Raises ``UsageError`` if it is taken."""
        application = web.Application(middlewares=[web_access(host)])
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/control/status", self._status)
        application.router.add_post("/control/{order:stop|start}", self._stop_or_start)
        application.router.add_post("/control/fault", self._fault)
        application.router.add_route("*", "/{exchange}/{path:.*}", self._venue)
        application.router.add_get("/{exchange}", self._venue)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        for one in (port, metrics_port) if metrics_port else (port,):
            try:
                await web.TCPSite(self._runner, host, one, ssl_context=tls).start()
            except OSError as error:
                raise UsageError(
                    f"simulator on {host}:{one}: {error.strerror}; choose another port"
                ) from None
        self.port = self._runner.addresses[0][1]
        self._player = asyncio.create_task(self._play())

    async def stop(self) -> None:
        for feed in self.feeds.values():
            feed.stop(self._clock())
        if self._player is not None:
            self._player.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    def now_ns(self) -> int:
        return self._clock()

    async def wait(self) -> None:
        """Until the player ends, which it does only by an error."""
        assert self._player is not None
        await self._player

    async def _play(self) -> None:
        while True:
            self.tick()
            await asyncio.sleep(TICK_S if self._paced else 0)

    def tick(self) -> None:
        """Send what is due. Recordings on one clock take turns until none has more: their order is that of receipt."""
        for _ in range(ROUNDS_MAX):
            for feed in self.feeds.values():
                if (self._paced and self._pace is None) or self._has_room(feed):
                    feed.tick(self._clock())
                else:
                    feed.carry_out(self._clock())
                self._close_ended(feed)
            if self._pace is None or not self._pace.has_moved():
                return

    def _has_room(self, feed: Feed) -> bool:
        return all(socket.unread_bytes < UNREAD_BYTES_MAX for socket in feed.sockets)

    def _close_ended(self, feed: Feed) -> None:
        for socket in list(feed.sockets):
            if socket.closing and not socket.outbox:
                feed.closed(socket)
                assert isinstance(socket, Socket)
                closer = asyncio.create_task(socket.close())
                self._closers.add(closer)
                closer.add_done_callback(self._closers.discard)

    # venues

    async def _venue(self, request: web.Request) -> web.StreamResponse:
        feed = self.feeds.get(request.match_info["exchange"])
        if feed is None:
            raise web.HTTPNotFound(text=f"no such venue; here are {', '.join(self.feeds)}")
        path = request.match_info.get("path", "")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._converse(request, feed, path)
        return await self._answer(request, feed, f"/{path}")

    async def _converse(self, request: web.Request, feed: Feed, path: str) -> web.StreamResponse:
        refused = feed.venue.refuse_upgrade(request.headers)
        if refused:
            return web.Response(status=refused)
        websocket = web.WebSocketResponse(
            heartbeat=PING_INTERVAL_S, compress=False, max_msg_size=MESSAGE_BYTES_MAX
        )
        await websocket.prepare(request)
        socket = Socket(path, dict(request.query), websocket)
        socket.attach(request)
        feed.opened(socket, self._clock())
        feed.carry_out(self._clock())
        try:
            async for message in websocket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    feed.received(socket, message.data, self._clock())
                    feed.carry_out(self._clock())
                    self._close_ended(feed)
        finally:
            feed.closed(socket)
        return websocket

    async def _answer(self, request: web.Request, feed: Feed, path: str) -> web.Response:
        deadline = time.monotonic() + ANSWER_WAIT_S
        query, text = dict(request.query), request.rel_url.raw_query_string
        if request.can_read_body:
            query["body"] = await request.text()
            text += f"#body={quote(query['body'])}"
        if header := feed.venue.key_header:
            query[header] = request.headers.get(header, "")
        answer: Response | None = None
        while answer is None and time.monotonic() < deadline:
            try:
                answer = feed.answer(path, text, query, self._clock())
            except (ValueError, KeyError, LookupError) as error:
                answer = Response(
                    400, msgspec.json.encode({"code": -1100, "msg": f"Illegal parameter: {error}"})
                )
            if answer is None:
                await asyncio.sleep(ANSWER_POLL_S)
        if answer is None:
            return web.Response(status=504)
        return web.Response(
            status=answer.status, body=answer.body, content_type="application/json", headers=answer.headers
        )

    # control

    async def _metrics(self, request: web.Request) -> web.Response:
        lines = []
        for name, feed in self.feeds.items():
            status = feed.status()
            lines += [
                f'etl_simulator_frames_sent_total{{exchange="{name}"}} {status.frames_sent}',
                f'etl_simulator_frames_withheld_total{{exchange="{name}"}} {status.frames_withheld}',
                f'etl_simulator_connections{{exchange="{name}"}} {status.connections}',
            ]
        return web.Response(text="\n".join(lines) + "\n")

    def _chosen(self, exchange: str) -> list[Feed]:
        if exchange and exchange not in self.feeds:
            raise web.HTTPNotFound(text=f"no such venue; here are {', '.join(self.feeds)}")
        return [self.feeds[exchange]] if exchange else list(self.feeds.values())

    async def _status(self, request: web.Request) -> web.Response:
        status = {name: feed.status() for name, feed in self.feeds.items()}
        return web.Response(body=msgspec.json.encode(status), content_type="application/json")

    async def _stop_or_start(self, request: web.Request) -> web.Response:
        for feed in self._chosen(request.query.get("exchange", "")):
            if request.match_info["order"] == "stop":
                feed.stop(self._clock())
            else:
                feed.start(self._clock())
        return await self._status(request)

    async def _fault(self, request: web.Request) -> web.Response:
        try:
            order = msgspec.json.decode(await request.read(), type=FaultOrder)
            for feed in self._chosen(order.exchange):
                faults.order(feed, order, self._clock())
        except (msgspec.DecodeError, UsageError) as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return await self._status(request)
