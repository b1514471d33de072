"""A gateway of a test's own, and a client that is only what docs/gateway.md says: aiohttp's websocket and JSON."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import structs

from etl.embedded.ports import free_ports
from etl.gateway.messages import ANSWERS
from etl.gateway.server import running
from etl.gateway.tokens import Tokens
from etl.model.records import (
    Bar,
    Book,
    BookAction,
    Gap,
    GapKind,
    GapState,
    Quote,
    Record,
    Side,
    Source,
    Trade,
)
from etl.settings import NAMES, Settings, changed, make, value_of
from etl.stores.migrate import migrate_clickhouse
from etl.transports.publisher import TopicPublisher
from etl.transports.transport import transport_of
from etl.wire.codec import encode
from etl.wire.keys import message_key
from tests.support.audit_stores import store_in_clickhouse
from tests.support.servers import clickhouse_database

FLUSH_S = 30.0
WITHIN_S = 20.0
BASE_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z."""


def ready(settings: Settings, **values: object) -> Settings:
    """With topics, and a gateway's port that is free."""
    (port,) = free_ports(1)
    made = changed(settings, gateway_port=port, metrics_port=0, **values)
    transport_of(made).ensure_topics()
    return made


@contextmanager
def with_stored(
    state_dir: Path, kafka_url: str, clickhouse_url: str, records: Sequence[Record], **values: Any
) -> Iterator[Settings]:
    """Settings with topics and a migrated database of their own, in which ``records`` stand: to migrate one takes
    seconds, so a module shares it."""
    mark = uuid.uuid4().hex[:12]
    topics = {name: f"{value_of(Settings(), name)}-{mark}" for name in NAMES if name.endswith("_topic")}
    with clickhouse_database(clickhouse_url, f"test_{mark}") as url:
        made = make(state_dir=str(state_dir), kafka_url=kafka_url, clickhouse_url=url, **topics, **values)
        made = ready(made)
        migrate_clickhouse(made)
        store_in_clickhouse(made, records, "gateway")
        yield made


def trade(number: int, symbol: str = "BTC-USDT", exchange: str = "binance", **values: Any) -> Trade:
    """The ``number``-th: received so many ms after ``BASE_NS``."""
    time_ns = BASE_NS + number * 1_000_000
    made = Trade(
        exchange, symbol, symbol.replace("-", ""), "trade", time_ns - 500_000, time_ns, Source.STREAM,
        "0193f0a0-0000-7000-8000-000000000001", number + 1, 0, f"{number}", time_ns, 1,
        sequence=number, last_price=f"{100 + number}.5", volume="0.01", side=Side.BUY, trade_id=f"{number}",
    )  # fmt: skip
    return structs.replace(made, **values)


def of_kind(kind: type[Record], number: int, symbol: str = "BTC-USDT", **values: Any) -> Record:
    """A record of another kind in the place of the ``number``-th trade."""
    like = trade(number, symbol)
    shared = {name: getattr(like, name) for name in Record.__struct_fields__}
    return kind(**{**shared, "channel": kind.kind.name.lower(), **values})


def gap(number: int, symbol: str = "BTC-USDT") -> Gap:
    made = of_kind(
        Gap,
        number,
        symbol,
        gap_kind=GapKind.SEQUENCE,
        gap_state=GapState.OPEN,
        from_sequence=5,
        to_sequence=7,
    )
    assert isinstance(made, Gap)
    return made


def quote(number: int, symbol: str = "BTC-USDT") -> Record:
    return of_kind(Quote, number, symbol, bid="99.5", bid_size="1", ask="100.5", ask_size="2")


def bar(number: int, symbol: str = "BTC-USDT", interval: str = "1m") -> Record:
    return of_kind(Bar, number, symbol, interval=interval, open="1", high="3", low="1", close="2", volume="9")


def book(number: int, symbol: str = "BTC-USDT") -> Record:
    return of_kind(Book, number, symbol, book_action=BookAction.SNAPSHOT, bid_prices=("1", "0.5"),
                   bid_sizes=("3", "4"), ask_prices=("2",), ask_sizes=("5",))  # fmt: skip


def publish(settings: Settings, records: Sequence[Record]) -> None:
    publisher = _publisher(settings)
    for record in records:
        key = message_key(record.exchange, record.symbol)
        publisher.publish(settings.topics.normalized, key, encode(record))
    publisher.flush(FLUSH_S)


@lru_cache(maxsize=2)
def _publisher(settings: Settings) -> TopicPublisher:
    return transport_of(settings).publisher()


def address(settings: Settings, path: str = "") -> str:
    return f"http://127.0.0.1:{settings.gateway.port}{path}"


def token_of(settings: Settings, **scopes: Any) -> str:
    return Tokens(settings).create("test", time.time_ns(), **scopes)


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """It runs, and a client of it that has a token."""
    headers = {"Authorization": f"Bearer {token_of(settings)}"}
    async with running(settings), aiohttp.ClientSession(headers=headers) as session:
        yield session


def _require_known(data: bytes, answer: dict[str, Any]) -> None:
    """That it is a message of the protocol, with its fields and no others."""
    (struct,) = (one for one in ANSWERS if one.__struct_config__.tag == answer["type"])
    msgspec.json.decode(data, type=struct)
    assert set(answer) == {*struct.__struct_encode_fields__, "type"}


class Stream:
    """``told``: all messages so far apart from heartbeats, each held to the protocol's structs; ``records``: those of
    records."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self.records: list[dict[str, Any]] = []
        self.cursor = ""

    async def next(self) -> dict[str, Any]:
        """The next that is not a heartbeat."""
        while True:
            message = await self.socket.receive(WITHIN_S)
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            answer: dict[str, Any] = json.loads(message.data)
            _require_known(message.data, answer)
            self.cursor = answer.get("cursor", self.cursor)
            if answer["type"] != "heartbeat":
                self.told.append(answer)
                self.records += answer["records"] if answer["type"] == "records" else []
                return answer

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            answer = await self.next()
            if answer["type"] == kind:
                return answer
            assert answer["type"] != "error", answer

    async def has(self, count: int) -> list[dict[str, Any]]:
        """``records`` once there are so many."""
        async with asyncio.timeout(WITHIN_S):
            while len(self.records) < count:
                await self.next()
        return self.records


@asynccontextmanager
async def stream(session: aiohttp.ClientSession, settings: Settings, **asked: Any) -> AsyncIterator[Stream]:
    if "from_" in asked:
        asked["from"] = asked.pop("from_")
    async with session.ws_connect(address(settings, "/v1/stream"), max_msg_size=0) as socket:
        await socket.send_json({"op": "subscribe", **asked})
        yield Stream(socket)
