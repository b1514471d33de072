"""Kalshi: event contracts. https://docs.kalshi.com (its AsyncAPI and OpenAPI descriptions)

Both sides of a book are bids, for YES and for NO. In which leg's price a bid for NO is told, the subscription says, and
no frame: it is asked for by the price of YES, and the address of the connection says so (``YES_PRICED``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from etl.adapter.build import Stream, StreamCache
from etl.adapter.carried import ALL, Carried
from etl.adapter.contract import (
    Budget,
    Channel,
    ConnectionSequence,
    Credentials,
    Exchange,
    Fault,
    FaultKind,
    History,
    Ignored,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)  # fmt: skip
from etl.adapter.dispatch import Reader, by_shape
from etl.adapter.fields import ABSENT, UNDECODABLE, UNREADABLE, decoded, inside, members, rejected, text_of
from etl.adapter.handshake import told
from etl.adapter.series import Series
from etl.exchanges import _kalshi_answers as answers
from etl.exchanges import _kalshi_wire as wire
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Book, BookAction, Frame, Kind, SizeUnit
from etl.model.times import NS_PER_MS, NS_PER_S

SOCKET_PATH = "/trade-api/ws/v2"
YES_PRICED = "#use_yes_price=true"
"""Ends the address of a connection whose bids for NO are told by the price of YES; others are told by that of NO."""
BOOK_SYMBOLS_MAX = 200
"""The venue publishes no limit; one collector found 256. A gap concerns all of a subscription, so few is better."""


class Kalshi(Exchange):
    name = "kalshi"
    websocket_url = "wss://external-api-ws.kalshi.com"
    websocket_url_others = ("wss://api.elections.kalshi.com",)
    rest_url = "https://external-api.kalshi.com"
    channels = (
        Channel("trade", Kind.TRADE, SequenceRule.NONE, Kind.TRADE),
        Channel(wire.BOOK, Kind.BOOK, SequenceRule.NONE, symbols_max=BOOK_SYMBOLS_MAX),
        Channel("ticker", Kind.QUOTE, SequenceRule.NONE),
        Channel(wire.LIFECYCLE, Kind.STATUS, SequenceRule.NONE),
    )
    """Their messages are counted by subscription (``ConnectionSequence``), not by symbol. A market may be silent for
    hours, and one that is over for ever: no silence is stale."""
    default_channels = ("trade", wire.BOOK, "ticker")
    default_symbols = ("KXBTCD-26FEB1217-T67749.99", "KXSOLD-26FEB1217-T79.9999")
    ignored_names: ClassVar[Mapping[str, str]] = {
        "subscribed": "the answer to a subscription, one for each channel",
        "ok": "the answer to a change of a subscription",
        "unsubscribed": "the end of a subscription",
        "error": "the venue refuses something; told as a Fault",
        "command": "what was sent, in recordings that keep it",
        "empty": "a page without rows",
        "market_list": "the markets of a series, and their facts",
        "orderbook": "a book by request: without a time or a number it joins nothing",
        "other_market": "what happens to a market that was not asked for: the channel takes no names",
        "bar_without_trades": "a candlestick in which nothing was traded: of quotes alone",
        "other_lifecycle": "what happens to an event, its fees, or a combination of markets",
        "other_channel": "index values, and what concerns the holder of the key alone",
    }
    ignored_events: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("event_lifecycle", "event_fee_update", "multivariate_market_lifecycle"), "other_lifecycle"
        ),
        **dict.fromkeys(("cfbenchmarks_value", "pyth_value"), "other_channel"),
        **dict.fromkeys(("communications", "fill", "market_position", "user_order"), "other_channel"),
    }
    changes: ClassVar[Mapping[str, str]] = {
        "2025-09-09": "prices as text in dollars, beside cents",
        "2026-01-22": "counts as text, beside whole numbers",
        "2026-03-12": "fractions of contracts; cents and whole numbers are gone",
        "2026-04-15": "times in ms, beside seconds",
        "2026-05-06": "taker_book_side and taker_outcome_side, beside taker_side",
    }
    key_variables = (("KALSHI_API_KEY_ID",), ("KALSHI_PRIVATE_KEY_PATH",))
    event_time_min_ns = 1_609_459_200 * NS_PER_S  # 2021, the year the venue opened in
    untimed_kinds = frozenset({Kind.BOOK, Kind.STATUS})  # snapshots; what is planned
    connections_max = 200
    messages_per_s = 10.0
    """Of our own choice: the venue has a limit (code 27) and does not publish it."""
    budgets = (Budget(200, 1.0),)
    history: ClassVar[Mapping[Kind, History]] = {Kind.TRADE: History("time"), Kind.BAR: History("time")}
    instruments_path = f"{answers.MARKETS}?status=open&mve_filter=exclude&limit={answers.PAGE_ROWS}"
    series = Series(answers.series_requests, answers.contracts, wire.LIFECYCLE, answers.series_of)

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._streams = StreamCache(self._stream)
        self._books: wire.Books = {}
        self._walks = answers.Walks()
        self._is_yes_priced: bool | None = None
        """By what was sent; ``None`` = the frame's address says it."""
        self._asked = Subscription((), ())
        self._asked_symbols = Carried((ALL,))
        self._answered: set[str] = set()
        self._channels: dict[int, str] = {}
        """By sid."""
        self._without_snapshot: set[str] = set()
        self._last_id = 0

    def _stream(self, place: tuple[str, str]) -> Stream:
        """A market's name means the same to everybody: none is unknown."""
        symbol, channel = place
        unit = SizeUnit.CONTRACT
        return Stream(self.name, symbol, symbol, channel, self.parser_version, unit, key_unit_ns=NS_PER_S)

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return answers.instruments(payload)

    # what to send

    def handshake_headers(self, now_ns: int) -> Mapping[str, str]:
        return self._signed(SOCKET_PATH, now_ns)

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        return self._signed(request.path.partition("?")[0], now_ns)

    def _signed(self, path: str, now_ns: int) -> Mapping[str, str]:
        key, secret = self.credentials.key, self.credentials.secret
        if not key:
            return {}
        at_ms = str(now_ns // NS_PER_MS)
        return {
            "KALSHI-ACCESS-KEY": key,
            "KALSHI-ACCESS-TIMESTAMP": at_ms,
            "KALSHI-ACCESS-SIGNATURE": answers.signature(secret, f"{at_ms}GET{path}"),
        }

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return f"{base_url}{SOCKET_PATH}{YES_PRICED}"

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """A command for each channel, so that the refusal of one concerns no other; ``*`` stands for all markets."""
        self._asked, self._is_yes_priced = subscription, True
        self._asked_symbols = Carried(subscription.symbols)
        if wire.BOOK in subscription.channels:
            self._without_snapshot = set(subscription.symbols)
        return [
            self._command("subscribe", **answers.wanted(name, subscription)) for name in subscription.channels
        ]

    def resubscribe(self, subscription: Subscription) -> Sequence[str]:
        """New snapshots of these books, within their subscription."""
        sids = [sid for sid, channel in self._channels.items() if channel in subscription.channels]
        asked = {"market_tickers": subscription.symbols, "action": "get_snapshot"}
        return [self._command("update_subscription", sids=[sid], **asked) for sid in sids]

    def change(self, joins: Subscription, leaves: Subscription) -> Sequence[str]:
        """Within the subscriptions that are; a channel that has none yet is subscribed to again, which adds to it."""
        if wire.BOOK in joins.channels:
            self._without_snapshot.update(joins.symbols)
        for symbol in leaves.symbols:
            self._without_snapshot.discard(symbol)
            self._books.pop(symbol, None)
        sids = {channel: sid for sid, channel in self._channels.items()}
        commands = []
        for action, asked in (("add_markets", joins), ("delete_markets", leaves)):
            for name in asked.channels if asked.symbols else ():
                if name in sids:
                    change = {"market_tickers": asked.symbols, "action": action} | answers.FLAGS.get(name, {})
                    commands.append(self._command("update_subscription", sids=[sids[name]], **change))
                elif asked is joins:
                    commands.append(self._command("subscribe", **answers.wanted(name, joins)))
        return commands

    def _command(self, name: str, **parameters: Any) -> str:
        self._last_id += 1
        return msgspec.json.encode({"id": self._last_id, "cmd": name, "params": parameters}).decode()

    def unanswered(self) -> Sequence[str]:
        """Channels without an answer, and books without a snapshot: a market that is over subscribes and is silent."""
        channels = [name for name in self._asked.channels if name not in self._answered]
        return [*channels, *(f"{wire.BOOK}.{symbol}" for symbol in sorted(self._without_snapshot))]

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            message = _decode(frame.payload)
        except UNDECODABLE:
            return by_shape(frame, self._object, _no_array)
        channel = _CHANNELS.get(message.type, "")
        if channel:
            found = self._event(frame, message, _READERS[message.type])
        elif message.type in _CONTROLS:
            found = self._control(message)
        elif message.type in self.ignored_events:
            found = [Ignored(self.ignored_events[message.type])]
        else:
            found = [Rejected(Code.UNKNOWN_MESSAGE, f"type {message.type!r:.80}")]
        if message.seq and message.sid:
            channel = channel or self._channels.get(message.sid, "")
            carried = (channel,) if channel else ()
            return [ConnectionSequence(message.seq, f"sid {message.sid}", carried), *found]
        return found

    def _event(self, frame: Frame, message: wire.Message, reader: Reader) -> list[Outcome]:
        is_told, sequence = self._is_yes_priced, f"{message.sid}/{message.seq}" if message.seq else ""
        is_yes_priced = frame.endpoint.endswith(YES_PRICED) if is_told is None else is_told
        place = wire.Place(self._streams, sequence, is_yes_priced, self._books)
        try:
            event = decoded(message.msg, _DECODERS[reader.wire])
            if isinstance(event, wire.LifecycleEvent) and event.market_ticker not in self._asked_symbols:
                return [Ignored("other_market")]
            record = reader.read(frame, 0, event, place)
            more = wire.told_beside(frame, event, place)
        except UNREADABLE as error:
            return [rejected(error, 0, text_of(inside(message.msg).get("market_ticker", ABSENT)))]
        if isinstance(record, Book):
            if record.book_action is BookAction.SNAPSHOT:
                self._without_snapshot.discard(record.venue_symbol)
            else:
                more = wire.broken(record, self._books)
        return [record] if more is None else [record, more]

    def _control(self, message: wire.Message) -> list[Outcome]:
        said = inside(message.msg)
        if message.type == "error":
            return told("error", 0, self._fault(said))
        if message.type != "subscribed":
            return told(message.type, 0)
        channel, sid = text_of(said.get("channel", ABSENT)), bytes(said.get("sid", ABSENT))
        if sid.isdigit():
            self._channels[int(sid)] = channel
        is_new = channel in self._asked.channels and channel not in self._answered
        self._answered.add(channel)
        is_ready = is_new and self._answered.issuperset(self._asked.channels)
        return told("subscribed", 0, Fault(FaultKind.READY, "subscribed", "") if is_ready else None)

    def _fault(self, said: Mapping[str, Raw]) -> Fault | None:
        code, reason = bytes(said.get("code", ABSENT)).decode(), text_of(said.get("msg", ABSENT))
        symbol, kind = text_of(said.get("market_ticker", ABSENT)), answers.FAULTS.get(code, FaultKind.REQUEST)
        if kind is None or not symbol:
            return kind and Fault(kind, code, reason)
        self._without_snapshot.discard(symbol)
        return Fault(kind, code, reason, channels=self._asked.channels, symbols=(symbol,))

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """An answer to a request, what was sent, or garbage."""
        message = members(payload)
        msgspec.json.decode(payload)  # a garbled word deep within costs the message
        if "cmd" in message:
            parameters = inside(message.get("params", ABSENT))
            if f'"{wire.BOOK}"'.encode() in bytes(parameters.get("channels", ABSENT)):
                self._is_yes_priced = bytes(parameters.get("use_yes_price", ABSENT)) == b"true"
            return [Ignored("command")]
        found = answers.answer(frame, message, self._streams)
        return found or [Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}")]

    # requests

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        return answers.history_requests(kind, venue_symbol, start_ns, end_ns)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        return None if request.kind is Kind.BAR else self._walks.following(request, frame)


def _no_array(frame: Frame, payload: bytes) -> Sequence[Outcome]:
    return [Rejected(Code.UNKNOWN_MESSAGE, "an array")]


_decode = msgspec.json.Decoder(wire.Message).decode
_READERS = {
    "trade": Reader(wire.TradeEvent, wire.read_trade),
    "orderbook_snapshot": Reader(wire.SnapshotEvent, wire.read_snapshot),
    wire.BOOK: Reader(wire.DeltaEvent, wire.read_delta),
    "ticker": Reader(wire.TickerEvent, wire.read_quote),
    wire.LIFECYCLE: Reader(wire.LifecycleEvent, wire.read_status),
}
"""By type."""
_CHANNELS = {tag: wire.BOOK if tag == "orderbook_snapshot" else tag for tag in _READERS}
_DECODERS = {reader.wire: msgspec.json.Decoder(reader.wire).decode for reader in _READERS.values()}
_CONTROLS = frozenset({"subscribed", "ok", "unsubscribed", "error"})
