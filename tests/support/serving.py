"""A simulator on a free port for a test, and a client that says no more than the protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMessage, WSMsgType

from etl.adapter.contract import Exchange, Ignored, Rejected, Request, Subscription
from etl.exchanges import load
from etl.model.records import Frame, Record
from etl.model.times import NS_PER_S
from etl.simulator import truth
from etl.simulator.serve import Options, make_feed
from etl.simulator.server import Server
from etl.simulator.truth import IGNORED, INVALID, PLACED, TruthEvent, TruthLine, digest_of
from etl.sources.admission import address_with

WITHIN_S = 10.0
RECEIVED_NS = 1_900_000_000 * NS_PER_S
"""After all that is simulated: no bar is still forming."""
PATHS = {
    "binance": "/binance/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms/btcusdt@kline_1s",
    "polygon": "/polygon/stocks",
    "alpaca": "/alpaca/v2/sip",
    "kraken": "/kraken",
}
LOGINS: dict[str, dict[str, str]] = {
    "polygon": {"action": "auth", "params": "KEY"},
    "alpaca": {"action": "auth", "key": "KEY", "secret": "SECRET"},
}
SUBSCRIPTIONS: dict[str, dict[str, Any]] = {
    "polygon": {"action": "subscribe", "params": "T.AAPL,Q.AAPL,A.AAPL"},
    "alpaca": {"action": "subscribe", "trades": ["AAPL"], "quotes": ["AAPL"], "bars": ["AAPL"]},
    "kraken": {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}},
}


class Client:
    def __init__(self, http: ClientSession, address: str, server: Server, state_path: Path) -> None:
        self.http = http
        self.address = address
        self.server = server
        self._state_path = state_path

    async def connect(self, exchange: str) -> ClientWebSocketResponse:
        return await self.http.ws_connect(f"ws://{self.address}{PATHS[exchange]}")

    async def log_in(self, exchange: str) -> ClientWebSocketResponse:
        """Connected, authenticated and subscribed."""
        socket = await self.connect(exchange)
        if exchange in LOGINS:
            await receive(socket)
            await socket.send_json(LOGINS[exchange])
            await receive(socket)
        if exchange in SUBSCRIPTIONS:
            await socket.send_json(SUBSCRIPTIONS[exchange])
        return socket

    async def stream_url(self, parser: Exchange, subscription: Subscription) -> str:
        """Where a socket is opened: with the ticket, where the venue hands out one for each."""
        url = parser.connect_url(f"ws://{self.address}/{parser.name}", subscription)
        request = parser.ticket_request()
        ticket = parser.read_ticket(await self.answer(parser.name, request)) if request else None
        return address_with(ticket, url, parser)

    async def answer(self, name: str, request: Request) -> bytes:
        url, method = f"http://{self.address}/{name}{request.path}", "POST" if request.body else "GET"
        async with self.http.request(method, url, data=request.body or None) as answer:
            return await answer.read()

    async def get(self, path: str) -> Any:
        async with self.http.get(f"http://{self.address}{path}") as answer:
            return json.loads(await answer.read())

    async def status(self, path: str) -> int:
        async with self.http.get(f"http://{self.address}{path}") as answer:
            return answer.status

    async def fault(self, exchange: str, kind: str, **order: Any) -> None:
        body = {"exchange": exchange, "kind": kind, **order}
        async with self.http.post(f"http://{self.address}/control/fault", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def stop(self) -> None:
        async with self.http.post(f"http://{self.address}/control/stop") as answer:
            assert answer.status == 200

    def truth(self, exchange: str) -> list[TruthLine]:
        """Without the line with which the file begins."""
        return list(truth.read(truth.path_of(self._state_path, exchange)))[1:]


async def receive(socket: ClientWebSocketResponse) -> Any:
    """The next message, decoded."""
    return json.loads(await socket.receive_str(timeout=WITHIN_S))


async def receive_bytes(socket: ClientWebSocketResponse, count: int) -> list[bytes]:
    return [(await socket.receive_str(timeout=WITHIN_S)).encode() for _ in range(count)]


def payload_of(message: WSMessage) -> bytes | None:
    """What a text or a binary message holds; ``None`` for any other."""
    if message.type is WSMsgType.TEXT:
        return str(message.data).encode()
    return bytes(message.data) if message.type is WSMsgType.BINARY else None


async def drain(socket: ClientWebSocketResponse) -> list[bytes]:
    """Everything until the venue closes or says nothing for a moment."""
    frames: list[bytes] = []
    while True:
        try:
            message = await socket.receive(timeout=0.3)
        except TimeoutError:
            return frames
        if (payload := payload_of(message)) is None:
            return frames
        frames.append(payload)


@asynccontextmanager
async def simulator(state_path: Path, *exchanges: str, **options: Any) -> AsyncIterator[Client]:
    values: dict[str, Any] = {"rate": 500.0, "session": "synthetic", **options}
    chosen = Options(exchanges=exchanges, state_path=state_path, **values)
    server = Server({name: make_feed(chosen, name) for name in exchanges}, paced=chosen.rate != 0)
    await server.start("127.0.0.1", 0)
    try:
        async with ClientSession() as http:
            yield Client(http, f"127.0.0.1:{server.port}", server, state_path)
    finally:
        await server.stop()


def names(messages: Iterable[Any]) -> list[str]:
    return [str(event.get("ev") or event.get("T") or event.get("stream")) for m in messages for event in m]


Identity = tuple[str, str, str]
"""Kind, symbol and record_key; of what has none, the kind alone."""


def identity(event: TruthEvent) -> Identity:
    if event.kind in (IGNORED, INVALID):
        return event.kind, "", ""
    if event.record_key == PLACED:
        return event.kind, event.symbol, PLACED
    return event.kind, event.symbol, event.record_key


def parsed(parser: Exchange, number: int, payload: bytes, endpoint: str) -> list[Identity]:
    """What the venue's parser makes of a frame, in the words of the truth."""
    found: list[Identity] = []
    for outcome in parser.parse(Frame(parser.name, "c", number, endpoint, RECEIVED_NS + number, payload)):
        if isinstance(outcome, Record):
            key = outcome.record_key
            placed = f"/{outcome.connection_id}/" in f"/{key}"
            found.append((outcome.kind.name.lower(), outcome.symbol, PLACED if placed else key))
        elif isinstance(outcome, Ignored | Rejected):
            found.append((IGNORED if isinstance(outcome, Ignored) else INVALID, "", ""))
    return found


def parsed_all(
    exchange: str, payloads: Iterable[bytes], endpoint: str = "ws://venue/stream"
) -> list[Identity]:
    """Of all frames of a connection."""
    parser = load(exchange)()
    return [one for n, payload in enumerate(payloads, 1) for one in parsed(parser, n, payload, endpoint)]


def told_of(lines: Iterable[TruthLine], payloads: Iterable[bytes]) -> list[TruthEvent]:
    """What the truth has of each of these frames, known by their bytes."""
    known: dict[str, list[TruthLine]] = {}
    for line in lines:
        known.setdefault(line.digest, []).append(line)
    events: list[TruthEvent] = []
    for payload in payloads:
        same = known[digest_of(payload)]
        events += (same.pop(0) if len(same) > 1 else same[0]).events
    return events
