"""A venue that does not exist and needs everything that the contract knows.

sockets      ``public`` (trades, book) and ``business`` (bars), the latter at an address of its own
sequence     each message carries ``n``, counted over the connection within its ``sid``; ``of`` names the sid's channels
checksums    books carry ``sum``, until ``CHECKSUM_UNTIL_NS``
versions     until ``OLD_UNTIL_NS`` the venue spoke arrays (``InventedOld``)
clock        the handshake, the requests and the subscriptions are signed with the time
requests     a POST; two budgets; trades page by id, bars by time; the symbols come in pages
keep-alive   ``ping`` is answered by a bare ``pong``; ten messages a second at most
last ids     ``last`` tells the newest trade's id
names        ``named`` tells a number that stands for a symbol from then on, on this connection
replay       trades that are repeated on subscribing say ``replay``

{"n":1,"sid":"a","op":"trade","sym":"AAABBB","id":5,"px":"1.5","qty":"2","ts":1700000000000,"side":"buy"}
{"n":2,"sid":"a","op":"book","sym":"AAABBB","id":7,"reset":true,"bids":[["1","2"]],"asks":[],"sum":2615402659}
{"op":"bar","sym":"AAABBB","every":"5m","ts":1700000000000,"o":"1","h":"2","l":"1","c":"2","v":"9","done":true}
{"op":"subscribed","ch":"trades"}      {"op":"refused","ch":"trades","why":"no such symbol"}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode
from zlib import crc32

import msgspec

from etl.adapter import build
from etl.adapter.build import stream_of
from etl.adapter.contract import (
    Behind,
    BookBroken,
    Budget,
    Channel,
    ConnectionSequence,
    Context,
    Credentials,
    Exchange,
    Fault,
    FaultKind,
    History,
    Ignored,
    KeepAlive,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)
from etl.adapter.fields import columns
from etl.adapter.levels import Level, LevelBook
from etl.model.codes import REPLAYED, Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Bar, BarState, BookAction, Frame, Kind, Record, Side, SizeUnit, Trade
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, interval_ns

OLD_UNTIL_NS = 1_600_000_000 * NS_PER_S
CHECKSUM_UNTIL_NS = 1_750_000_000 * NS_PER_S
PAGE_ROWS_MAX = 2
SYMBOL = "AAABBB"
LISTED = Instruments([Instrument(SYMBOL, "AAA-BBB"), Instrument("CCCBBB", "CCC-BBB")])


class InventedOld(Exchange):
    """``["trade","AAABBB",5,"1.5","2",1600000000,"buy"]``: seconds, no counts."""

    name = "invented"
    parser_version = 1
    websocket_url = "wss://old.invented.example"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("trades", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
    )
    ignored_names: ClassVar[Mapping[str, str]] = {}
    default_symbols = (SYMBOL,)
    event_time_min_ns = 1_230_768_000 * NS_PER_S

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, LISTED if instruments is None else instruments)

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return f"{base_url}/stream"

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            op, sym, number, price, size, time_s, side = msgspec.json.decode(frame.payload)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            return [Rejected(Code.UNDECODABLE, str(error))]
        if op != "trade":
            return [Rejected(Code.UNKNOWN_MESSAGE, op)]
        message = {"id": number, "px": price, "qty": size, "ts": time_s * 1_000, "side": side}
        return [trade(self, frame, sym, message)]


class Invented(InventedOld):
    name = "invented"
    parser_version = 2
    websocket_url = "wss://public.invented.example"
    socket_urls = {"business": "wss://business.invented.example"}
    rest_url = "https://invented.example"
    channels = (
        Channel("trades", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
        Channel("book", Kind.BOOK, SequenceRule.NONE, checksum_until_ns=CHECKSUM_UNTIL_NS),
        Channel(
            "bars_1m",
            Kind.BAR,
            SequenceRule.INTERVAL,
            Kind.BAR,
            180.0,
            family="bars",
            interval_ns=NS_PER_MINUTE,
            socket="business",
        ),
    )
    ignored_names = {
        "named": "a symbol's number on this connection",
        "subscribed": "the answer to a subscription",
        "refused": "the venue refuses a subscription; told as a Fault",
        "pong": "the answer to a keep-alive",
        "last": "the newest trade's id",
        "empty": "an answer without rows",
    }
    key_variables = (("INVENTED_KEY",),)
    versions = ((OLD_UNTIL_NS, InventedOld),)
    budgets = (Budget(10, 1.0), Budget(100, 60.0))
    keepalive = KeepAlive("ping", 0.5, "pong")
    messages_per_s = 10.0
    history = {Kind.TRADE: History("id"), Kind.BAR: History("time")}
    instruments_path = "/symbols/1"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._books: dict[str, LevelBook] = {}
        self._names: dict[str, str] = {}

    @classmethod
    def match(cls, name: str) -> Channel | None:
        base, _, interval = name.partition("_")
        length_ns = interval_ns(interval)
        if base != "bars" or not length_ns:
            return None
        return msgspec.structs.replace(cls.channels[2], name=name, interval_ns=length_ns)

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return f"{base_url}/stream?socket={subscription.socket or 'public'}"

    def handshake_headers(self, now_ns: int) -> Mapping[str, str]:
        return self._signed("GET", "/stream", now_ns)

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        return self._signed("POST" if request.body else "GET", request.path, now_ns, request.body)

    def _signed(self, method: str, path: str, now_ns: int, body: bytes = b"") -> Mapping[str, str]:
        told = f"{method}{path}{now_ns // NS_PER_MS}{self.credentials.secret}".encode() + body
        return {"X-Time": str(now_ns // NS_PER_MS), "X-Signature": sha256(told).hexdigest()}

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        return [
            _text({"op": "subscribe", "ch": name, "syms": subscription.symbols, "ts": now_ns // NS_PER_MS})
            for name in subscription.channels
        ]

    def resubscribe(self, subscription: Subscription) -> Sequence[str]:
        return [
            _text({"op": op, "ch": name, "syms": subscription.symbols})
            for name in subscription.channels
            for op in ("unsubscribe", "subscribe")
        ]

    def history_requests(
        self,
        kind: Kind,
        venue_symbol: str,
        start_ns: int,
        end_ns: int,
        first_id: int | None = None,
        channel: str = "",
    ) -> Iterator[Request]:
        if kind is Kind.TRADE and first_id is not None:
            body = msgspec.json.encode({"sym": venue_symbol, "from": first_id, "limit": PAGE_ROWS_MAX})
            yield Request("/trades", kind, venue_symbol, 2, end_ns, body)
        elif kind is Kind.BAR:
            every = channel.partition("_")[2] or "1m"
            place = f"sym={venue_symbol}&every={every}&from={start_ns // NS_PER_MS}"
            yield Request(f"/bars?{place}&to={end_ns // NS_PER_MS}", kind, venue_symbol, 1, end_ns)

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        for start in range(first_id, last_id + 1, PAGE_ROWS_MAX):
            rows = min(PAGE_ROWS_MAX, last_id + 1 - start)
            body = msgspec.json.encode({"sym": venue_symbol, "from": start, "limit": rows})
            yield Request("/trades", kind, venue_symbol, 2, 0, body)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        answer = msgspec.json.decode(frame.payload)
        if request.path.startswith("/symbols/"):
            page = answer.get("next", 0)
            return msgspec.structs.replace(request, path=f"/symbols/{page}") if page else None
        rows = answer["rows"]
        if request.kind is not Kind.TRADE or len(rows) < PAGE_ROWS_MAX:
            return None
        asked = msgspec.json.decode(request.body) | {"from": rows[-1]["id"] + 1}
        return msgspec.structs.replace(request, body=msgspec.json.encode(asked))

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        """``{"symbols":[{"name":"AAABBB","base":"AAA","quote":"BBB"}],"next":2}``"""
        listed = msgspec.json.decode(payload)["symbols"]
        return [Instrument(item["name"], f"{item['base']}-{item['quote']}") for item in listed]

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            message = msgspec.json.decode(frame.payload, type=dict[str, Any])
            head: list[Outcome] = (
                [ConnectionSequence(message["n"], message.get("sid", ""), tuple(message.get("of", ())))]
                if "n" in message
                else []
            )
            if "rows" in message:
                rows = [self._row(frame, row, place) for place, row in enumerate(message["rows"])]
                return rows or [Ignored("empty")]
            return [*head, *self._event(frame, message)]
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            return [Rejected(Code.UNDECODABLE, str(error))]

    def _event(self, frame: Frame, message: dict[str, Any]) -> Iterator[Outcome]:
        op = message.get("op")
        if op == "trade":
            yield trade(self, frame, self._symbol(frame, message["sym"]), message)
        elif op == "named":
            self._names[str(message["number"])] = message["sym"]
            yield Ignored("named")
            yield Context(urlencode(self._names))
        elif op == "book":
            yield from self._book(frame, message)
        elif op == "bar":
            yield bar(self, frame, message)
        elif op == "last":
            yield Ignored("last")
            yield Behind(message["sym"], "trades", f"trade {message['id']} has gone out")
        elif op == "subscribed":
            yield Ignored("subscribed")
            yield Fault(FaultKind.READY, "subscribed", message["ch"])
        elif op == "refused":
            yield Ignored("refused")
            yield Fault(FaultKind.REQUEST, "refused", message["why"])
        else:
            yield Rejected(Code.UNKNOWN_MESSAGE, f"op {op!r:.40}")

    def _symbol(self, frame: Frame, said: str | int) -> str:
        told = dict(parse_qsl(frame.endpoint.partition("#")[2]))
        return said if isinstance(said, str) else self._names.get(str(said)) or told[str(said)]

    def _row(self, frame: Frame, row: dict[str, Any], place: int) -> Record:
        return bar(self, frame, row, place) if "o" in row else trade(self, frame, row["sym"], row, place)

    def _book(self, frame: Frame, message: dict[str, Any]) -> Iterator[Outcome]:
        symbol = message["sym"]
        action = BookAction.SNAPSHOT if message.get("reset") else BookAction.ABSOLUTE
        record = build.book(
            stream_of(self, symbol, "book", SizeUnit.BASE), frame, 0, action, message["ts"] * NS_PER_MS,
            columns(message["bids"]), columns(message["asks"]), message["id"],
        )  # fmt: skip
        yield record
        book = self._books.setdefault(symbol, LevelBook())
        book.apply(record)
        ours = checksum(book.bids(), book.asks())
        if frame.receive_time_ns < CHECKSUM_UNTIL_NS and message["sum"] != ours:
            yield BookBroken(symbol, "book", f"checksum {message['sum']}, ours is {ours}")


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """CRC-32 of all prices and sizes, bids from the highest, asks from the lowest."""
    return crc32(":".join(text for level in (*bids, *asks) for text in level).encode())


def head(
    parser: Exchange, frame: Frame, channel: str, symbol: str, time_ms: int, key: str, place: int = 0
) -> dict[str, Any]:
    unified, flags = parser.instruments.names[symbol]
    return {
        "exchange": parser.name,
        "symbol": unified,
        "venue_symbol": symbol,
        "channel": channel,
        "event_time_ns": time_ms * NS_PER_MS,
        "receive_time_ns": frame.receive_time_ns,
        "source": frame.source,
        "connection_id": frame.connection_id,
        "frame_sequence": frame.frame_sequence,
        "frame_index": place,
        "record_key": key,
        "key_time_ns": time_ms * NS_PER_MS,
        "parser_version": parser.parser_version,
        "flags": flags,
    }


def trade(parser: Exchange, frame: Frame, symbol: str, message: Mapping[str, Any], place: int = 0) -> Trade:
    common = head(parser, frame, "trades", symbol, message["ts"], str(message["id"]), place)
    if message.get("replay"):
        common["flags"] = (*common["flags"], REPLAYED)
    return Trade(
        **common,
        sequence=message["id"],
        last_price=message["px"],
        volume=message["qty"],
        side=Side[message["side"].upper()],
        trade_id=str(message["id"]),
        size_unit=SizeUnit.BASE,
    )


def bar(parser: Exchange, frame: Frame, message: Mapping[str, Any], place: int = 0) -> Bar:
    every, start_ns = message["every"], message["ts"] * NS_PER_MS
    return Bar(
        **head(parser, frame, f"bars_{every}", message["sym"], message["ts"], f"{every}/{start_ns}", place),
        interval=every,
        open=message["o"],
        high=message["h"],
        low=message["l"],
        close=message["c"],
        volume=message["v"],
        bar_state=BarState.CLOSED if message["done"] else BarState.OPEN,
        size_unit=SizeUnit.BASE,
    )


def _text(message: Mapping[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
