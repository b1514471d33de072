"""``etl gateway``: one process that serves streams, ranges and the page, from one port."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from etl.errors import TransportError, UsageError
from etl.gateway import asyncapi
from etl.gateway import page as live
from etl.gateway.access import access, bearer, cross_origin
from etl.gateway.api import ENDPOINTS
from etl.gateway.history import History
from etl.gateway.hub import Hub
from etl.gateway.latest import Latest
from etl.gateway.messages import REQUEST_BYTES_MAX
from etl.gateway.metrics import GatewayMetrics
from etl.gateway.openapi import document, page
from etl.gateway.pump import GROUP, Pump
from etl.gateway.ring import Ring
from etl.gateway.session import Session
from etl.gateway.tokens import Tokens
from etl.settings import Settings
from etl.telemetry.web_access import is_loopback
from etl.transports.transport import transport_of
from etl.wire.cursor import topic_mark

STREAM = "/v1/stream"
OPEN_PATHS = frozenset(
    {
        STREAM,
        "/",
        "/health",
        "/docs",
        "/openapi.json",
        "/asyncapi.json",
        *(f"/page/{name}" for name in live.FILES),
    }
)
"""They need no token of the middleware: a stream asks for its own."""
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PING_S = 20.0
"""A client that answers no ping for half as long has gone."""
FIRST_READ_WITHIN_S = 60.0
FIRST_READ_POLL_S = 0.02
PARTITIONS_LOOK_S = 10.0
"""Between two looks whether the topic has new partitions: what they hold is read from their beginning on."""
LOOK_WITHIN_S = 5.0
BACKLOG = 1_024
"""Connections that wait to be taken: after a restart all clients come at once."""
SHUTDOWN_S = 2.0


class Gateway:
    """What the requests share."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self.settings = settings
        self.hub = hub
        self.tokens = Tokens(settings)
        self.sessions: set[Session] = set()
        self.metrics = GatewayMetrics(hub, lambda: len(self.sessions), self._buffered_bytes)
        self._history = History(settings, self.metrics)
        self._turns = asyncio.Semaphore(settings.gateway.past_readers_max)

    def _buffered_bytes(self) -> int:
        return sum(session.outbox.buffered_bytes for session in list(self.sessions))

    def application(self) -> web.Application:
        application = web.Application(middlewares=[access(self.settings, self.tokens, OPEN_PATHS)])
        application.router.add_get(STREAM, self.stream)
        application.router.add_get("/health", self.health)
        application.router.add_get("/openapi.json", self.openapi)
        application.router.add_get("/asyncapi.json", self.asyncapi)
        application.router.add_get("/docs", self.docs)
        application.router.add_get("/", live.index)
        application.router.add_get("/page/{name}", live.file)
        application.router.add_get(f"/v1/{{table:{'|'.join(ENDPOINTS)}}}", self._history.answer)
        application.on_response_prepare.append(self._show)
        application.on_shutdown.append(self._end_sessions)
        return application

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"clients": len(self.sessions), "cursor": self.hub.cursor})

    async def openapi(self, _: web.Request) -> web.Response:
        return web.json_response(document())

    async def asyncapi(self, _: web.Request) -> web.Response:
        return web.json_response(asyncapi.document())

    async def docs(self, _: web.Request) -> web.Response:
        return web.Response(text=page(), content_type="text/html", headers=PAGE_HEADERS)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        grant = None
        if token := bearer(request.headers):
            grant = self.tokens.grant_of(token)
            if grant is None:
                return web.json_response({"code": "no_token", "message": "no such token"}, status=401)
        if len(self.sessions) >= self.settings.gateway.clients_max:
            return web.json_response({"code": "full", "message": "too many streams"}, status=503)
        if grant and sum(one.grant == grant for one in self.sessions) >= grant.streams_max:
            answer = {"code": "too_many_streams", "message": f"{grant.streams_max} streams at once"}
            return web.json_response(answer, status=429)
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=REQUEST_BYTES_MAX, compress=False)
        if not socket.can_prepare(request).ok:
            return web.json_response({"code": "no_websocket", "message": "this is a websocket"}, status=426)
        await socket.prepare(request)
        session = Session(self.settings, self.hub, self.tokens, socket, self._turns, grant)
        self.sessions.add(session)
        try:
            await session.run()
        finally:
            self.sessions.discard(session)
            if session.outbox.cut_off.is_set():
                self.metrics.cut_off.inc()
        return socket

    def close(self) -> None:
        self._history.close()

    async def _show(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(cross_origin(request.headers, self.settings))

    async def _end_sessions(self, _: web.Application) -> None:
        await asyncio.gather(*(session.leave() for session in list(self.sessions)))


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Until ``stop``. Raises ``EtlError``: so where the topic no longer has what comes next, for a process that starts
    again begins at its end, and clients learn from their cursors what they miss."""
    async with running(settings) as pump:
        stopped = asyncio.create_task(stop.wait())
        both: list[asyncio.Future[Any]] = [stopped, pump.failed]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if pump.failed.done():
            pump.failed.result()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Pump]:
    """The gateway, listening. Raises ``EtlError``."""
    require_safe(settings)
    context = _tls(settings)
    hub, high = await asyncio.to_thread(_begin, settings)
    pump = Pump(settings, dict(hub.ring.ends), hub.take)
    pump.start()
    try:
        await _first_read(hub, high, pump)
        looking = asyncio.create_task(_look_for_partitions(settings, hub, pump))
        gateway = Gateway(settings, hub)
        end_metrics = gateway.metrics.serve(settings) if settings.metrics.port else lambda: None
        runner = web.AppRunner(gateway.application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        try:
            await runner.setup()
            site = web.TCPSite(
                runner, settings.bind_host, settings.gateway.port, ssl_context=context, backlog=BACKLOG
            )
            try:
                await site.start()
            except OSError as error:
                raise UsageError(f"gateway_port {settings.gateway.port}: {error.strerror}") from None
            yield pump
        finally:
            looking.cancel()
            await runner.cleanup()
            gateway.close()
            await asyncio.to_thread(end_metrics)
    finally:
        await pump.stop()


def _begin(settings: Settings) -> tuple[Hub, dict[int, int]]:
    """What is kept, from a little before the topic's end on, and where that end is."""
    topic, gateway = settings.topics.normalized, settings.gateway
    with transport_of(settings).reader(topic, GROUP) as reader:
        bounds, topic_id = reader.bounds(), reader.topic_id()
    each_max = gateway.ring_messages_max // max(1, len(bounds))
    starts = {partition: max(place.low, place.high - each_max) for partition, place in bounds.items()}
    ring = Ring(starts, gateway.ring_messages_max, gateway.ring_bytes_max)
    return Hub(topic_mark(topic_id), ring, Latest()), {n: place.high for n, place in bounds.items()}


async def _first_read(hub: Hub, high: dict[int, int], pump: Pump) -> None:
    """Until the newest messages are here: who comes back with a cursor finds it. Raises ``TransportError``."""
    try:
        async with asyncio.timeout(FIRST_READ_WITHIN_S):
            while any(hub.ring.ends[partition] < end for partition, end in high.items()):
                if pump.failed.done():
                    pump.failed.result()
                await asyncio.sleep(FIRST_READ_POLL_S)
    except TimeoutError:
        raise TransportError(f"the newest messages did not come within {FIRST_READ_WITHIN_S:g} s") from None


async def _look_for_partitions(settings: Settings, hub: Hub, pump: Pump) -> None:
    """For ever: one that is new is followed from its beginning on. An error that is not the broker's ends the pump."""
    topic = settings.topics.normalized
    try:
        while True:
            await asyncio.sleep(PARTITIONS_LOOK_S)
            with suppress(TransportError):  # a broker that is away is asked again; the pump waits for it too
                ends = await asyncio.to_thread(transport_of(settings).ends, [topic], LOOK_WITHIN_S)
                for partition in sorted(ends[topic].offsets.keys() - hub.ring.ends.keys()):
                    hub.ring.grow(partition)
                    pump.add(partition)
    except Exception as error:
        pump.fail(error)
        raise


def address_of(settings: Settings) -> str:
    """Where it is asked."""
    scheme = "https" if settings.gateway.certificate_file else "http"
    return f"{scheme}://{settings.bind_host}:{settings.gateway.port}"


def require_safe(settings: Settings) -> None:
    """Raises ``UsageError`` where tokens would pass a network in the open."""
    is_private = is_loopback(settings.bind_host) or settings.open_to_network
    if not (is_private or settings.gateway.certificate_file):
        raise UsageError(
            f"gateway: ETL_BIND_HOST={settings.bind_host} opens it to the network, where tokens would be read: give it"
            " gateway_certificate_file and gateway_key_file, or set ETL_OPEN_TO_NETWORK=true"
        )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    gateway = settings.gateway
    if not gateway.certificate_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(gateway.certificate_file, gateway.key_file)
    except OSError as error:
        raise UsageError(f"gateway_certificate_file, gateway_key_file: {error}") from None
    return context
