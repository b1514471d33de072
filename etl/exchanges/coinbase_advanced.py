"""Coinbase Advanced Trade, spot: books, numbered over the connection.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels

Each frame of a connection bears the next ``sequence_num``, acknowledgements and heartbeats too. Trades and quotes come
as well; they are those of ``coinbase``, which can be asked for them by id, so that the default is the books alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw, Struct

from etl.adapter import fields
from etl.adapter.contract import (
    Budget,
    Channel,
    ConnectionSequence,
    Ignored,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)  # fmt: skip
from etl.adapter.dispatch import Reader, by_shape, read_one
from etl.adapter.fields import ABSENT, UNDECODABLE, inside, members, text_of
from etl.exchanges import _coinbase_advanced_wire as wire
from etl.exchanges._coinbase_family import CoinbaseFamily, refused
from etl.model.codes import Code
from etl.model.instruments import Instrument
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_MINUTE

SYMBOLS_MAX = 8
"""Books on one connection: a snapshot of BTC-USD alone is 4.8 MB, and what is lost is lost of all of them."""


class _Acknowledgement(Struct, gc=False):
    subscriptions: dict[str, list[str]]


class _Product(Struct, gc=False):
    product_id: str
    base_currency_id: str
    quote_currency_id: str
    price_increment: str = ""
    base_increment: str = ""
    alias: str = ""


class _Products(Struct, gc=False):
    products: list[_Product]


class CoinbaseAdvanced(CoinbaseFamily):
    name = "coinbase_advanced"
    websocket_url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    channels = (
        Channel("level2", Kind.BOOK, SequenceRule.NONE, None, 60.0, symbols_max=SYMBOLS_MAX),
        Channel("market_trades", Kind.TRADE, SequenceRule.CONTIGUOUS, None, 60.0),
        Channel("ticker", Kind.QUOTE, SequenceRule.NONE, None, 60.0),
        Channel("candles", Kind.BAR, SequenceRule.NONE, interval_ns=5 * NS_PER_MINUTE),
    )
    default_channels = ("level2",)
    intervals: ClassVar[Mapping[str, str]] = {"candles": "5m"}
    ignored_names: ClassVar[Mapping[str, str]] = {
        **CoinbaseFamily.ignored_names,
        "heartbeats": "each second; they keep the connection open, and are counted in its numbers",
        "other_channel": "products, orders: channels that are not subscribed to",
    }
    changes: ClassVar[Mapping[str, str]] = {
        "2024": "books in USDC are those in USD: their products are aliases",
        "2026-09-09": "international derivatives have left",
    }
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.QUOTE})
    budgets = (Budget(10, 1.0),)
    connect_budgets = (Budget(1, 1.0),)
    messages_per_s = 8.0
    instruments_path = "/api/v3/brokerage/market/products?product_type=SPOT"

    # what to send

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """Without heartbeats a quiet channel is closed within 90 s."""
        asked = self.subscribed(subscription.channels, subscription.symbols)
        return [self.message("subscribe", "heartbeats"), *asked]

    def message(self, action: str, channel: str, symbols: Sequence[str] = ()) -> str:
        products = {"product_ids": symbols} if symbols else {}
        return msgspec.json.encode({"type": action, **products, "channel": channel}).decode()

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        return iter(())

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        """A product with an ``alias`` has no data of its own: they come under that name."""
        return [
            Instrument(
                item.product_id, f"{item.base_currency_id}-{item.quote_currency_id}", item.price_increment,
                item.base_increment, alias_of=item.alias,
            )
            for item in fields.listing(payload, _Products).products
        ]  # fmt: skip

    # parse

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            envelope = _read_envelope(frame.payload)
        except UNDECODABLE:
            return by_shape(frame, self._object, _array)
        return self._take(frame, envelope)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """What is no whole frame of a channel, or was none before it was mended."""
        message = members(payload)
        if text_of(message.get("type", ABSENT)) == "error":
            return refused(text_of(message.get("message", ABSENT)))
        if "channel" not in message:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)
        try:
            return self._take(frame, fields.decoded(payload, _read_envelope))
        except UNDECODABLE as error:
            return (fields.rejected(error, 0, ""),)

    def _take(self, frame: Frame, envelope: wire.Envelope) -> Sequence[Outcome]:
        number = ConnectionSequence(envelope.sequence_num)
        if envelope.channel in _ROWS:
            return [number, *self._events(frame, envelope)]
        if envelope.channel == "subscriptions":
            return [number, *self._acknowledged(envelope.events)]
        if envelope.channel in _IGNORED:
            return [number, Ignored(_IGNORED[envelope.channel])]
        return [number, Rejected(Code.UNKNOWN_MESSAGE, f"channel {envelope.channel!r:.40}")]

    def _events(self, frame: Frame, envelope: wire.Envelope) -> Sequence[Outcome]:
        """Each by itself: one that cannot be read costs no other."""
        rows, reader, of_snapshot = _ROWS[envelope.channel]
        try:
            publish_ns = fields.rfc3339_ns(envelope.timestamp) if envelope.timestamp else 0
        except fields.FieldFault as error:
            return [fields.rejected(error, 0, "")]
        place = wire.Place(self._known, envelope.sequence_num, publish_ns)
        outcomes: list[Outcome] = []
        for event in envelope.events:
            if rows is None:
                outcomes.append(_read(frame, len(outcomes), event, reader, place))
                continue
            try:
                several = fields.decoded(event, rows)
                one = of_snapshot if wire.is_snapshot(several.type) else reader
            except fields.UNREADABLE as error:
                outcomes.append(fields.rejected(error, len(outcomes), ""))
                continue
            for row in several.rows:
                outcomes.append(_read(frame, len(outcomes), row, one, place))
        return outcomes or [Ignored("empty")]

    def _acknowledged(self, events: Sequence[Raw]) -> Sequence[Outcome]:
        try:
            listed = [fields.decoded(event, _read_acknowledgement).subscriptions for event in events]
        except UNDECODABLE as error:
            return [fields.rejected(error, 0, "")]
        granted = (item for streams in listed for item in streams.items())
        return self.granted(f"{name}.{symbol}" for name, symbols in granted for symbol in symbols)


def _read(frame: Frame, index: int, raw: Raw, reader: Reader, place: wire.Place) -> Outcome:
    outcome = read_one(frame, index, raw, reader, place, "")
    if isinstance(outcome, Rejected):
        symbol = text_of(inside(raw).get("product_id", ABSENT))
        return msgspec.structs.replace(outcome, venue_symbol=symbol if fields.is_name(symbol) else "")
    return outcome


def _array(frame: Frame, payload: bytes) -> Sequence[Outcome]:
    return (Rejected(Code.UNKNOWN_MESSAGE, f"an array of {frame.endpoint!r:.80}"),)


_read_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode
_read_envelope = msgspec.json.Decoder(wire.Envelope).decode
_BOOKS, _QUOTES = Reader(wire.BookEvent, wire.read_book), Reader(wire.Ticker, wire.read_ticker)
_BARS = Reader(wire.Candle, wire.read_candle)
_Several = wire.Trades | wire.Tickers | wire.Candles
_ROWS: Mapping[str, tuple[Callable[[bytes | Raw], _Several] | None, Reader, Reader]] = {
    "l2_data": (None, _BOOKS, _BOOKS),
    "market_trades": (
        msgspec.json.Decoder(wire.Trades).decode,
        Reader(wire.TradeRow, wire.read_trade), Reader(wire.TradeRow, wire.read_old_trade),
    ),
    "ticker": (msgspec.json.Decoder(wire.Tickers).decode, _QUOTES, _QUOTES),
    "candles": (msgspec.json.Decoder(wire.Candles).decode, _BARS, _BARS),
}  # fmt: skip
"""Channel of a frame → how the rows are found in its events (``None`` = each event is one), how those of an update and
of a snapshot are read."""
_IGNORED = {
    "heartbeats": "heartbeats",
    **dict.fromkeys(("status", "ticker_batch", "user"), "other_channel"),
}
