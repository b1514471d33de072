"""What Gate's spot market sends, in its own names, and what becomes of it.

Identity: trades ``id``, which stream and history tell alike, quotes ``u``, books ``channel/d|s/u``, bars
``interval/start in ns``. Key times are whole ms: what is behind them is a float's, and sources differ in its digits.

    [F]  recorded frames of 2021-04-22, and such of 2026-09-25 that public test data quote
    [D]  the venue's documentation of 2025-11-30
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw, Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream, StreamCache
from etl.adapter.fields import ABSENT, FieldFault, Id, Levels, Name
from etl.model.codes import Code
from etl.model.records import Bar, BarState, Book, BookAction, Frame, Quote, Side, Trade
from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns

SPEEDS = {"100": "100ms", "20": "20ms"}
"""Of a book's changes, by the levels that they are of."""
SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_FRACTION_DIGITS = 6
"""From ms to ns."""


class Message(Struct, gc=False):
    """``{"time":1606292218,"time_ms":1606292218231,"channel":"spot.trades","event":"update","result":{…}}``;
    ``time_ms`` since 2022-11-22 [D]. An answer has our request's ``id``, and ``error`` where it refuses."""

    channel: str
    event: str = ""
    result: Raw = ABSENT
    error: Raw = ABSENT
    id: int = 0
    time: int = 0
    time_ms: int = 0


class Error(Struct, gc=False):
    code: int
    message: str = ""


class Refusal(Struct, gc=False):
    """What a request is refused with: ``{"label":"INVALID_PARAM_VALUE","message":"…"}``."""

    label: str
    message: str = ""


class Sent(Struct, frozen=True, gc=False):
    """What a message says beside its event, 0 = nothing. ``streams`` by venue symbol and channel."""

    streams: StreamCache[tuple[str, str]]
    channel: str
    time: int
    time_ms: int

    @property
    def publish_ns(self) -> int:
        return fields.time_ns(self.time_ms, NS_PER_MS) if self.time_ms else 0


class StreamTrade(Struct, gc=False):
    """``id_market`` since 2025-01-08 [D]; ``id`` counted all markets then, and is the same by 2026-09 [F]."""

    id: Id
    create_time_ms: str
    side: str
    currency_pair: Name
    amount: str
    price: str
    id_market: Id | None = None


class TradeRow(Struct, gc=False):
    id: str
    create_time_ms: str
    side: str
    amount: str
    price: str
    currency_pair: str = ""
    sequence_id: str = ""


class BookTicker(Struct, gc=False):
    t: int
    u: Id
    s: Name
    b: str
    B: str
    a: str
    A: str


class Depth(Struct, gc=False):
    """``l``, how many levels it is of, tells the speed [D]; in 2021 it was not sent, nor was ``full`` [F]."""

    t: int
    s: Name
    u: Id
    b: Levels
    a: Levels
    U: Id | None = None
    full: bool = False
    l: str = "100"  # noqa: E741


class Snapshot(Struct, gc=False):
    """``current`` and ``update`` were not sent in 2021 [F]."""

    id: Id
    asks: Levels
    bids: Levels
    current: int = 0
    update: int = 0


class Candle(Struct, gc=False):
    """``a`` and ``w`` were not sent in 2021 [F]; ``w`` since 2024-01-17 [D]."""

    t: str
    v: str
    c: str
    h: str
    l: str  # noqa: E741
    o: str
    n: Name
    a: str | None = None
    w: bool | None = None


class CandleRow(Struct, gc=False, array_like=True):
    start_s: str
    quote_volume: str
    close: str
    high: str
    low: str
    open: str
    volume: str | None = None
    is_closed: str = ""


class Pair(Struct, gc=False):
    """One entry of the list. Precisions count decimals, -1 = not told; ``delisting_time`` in s, 0 = none [D]."""

    id: Name
    base: Name
    quote: Name
    precision: int = -1
    amount_precision: int = -1
    delisting_time: int = 0
    trade_status: str = ""


def read_trade(frame: Frame, index: int, event: StreamTrade, sent: Sent) -> Trade:
    """``{"id":309143071,"id_market":2390902,"create_time":1606292218,"create_time_ms":"1606292218213.4578",
    "side":"sell","currency_pair":"GT_USDT","amount":"16.4700000000","price":"0.4705000000","range":"2390902-2390902"}``:
    ``side`` is the taker's [D]."""
    stream = sent.streams[event.currency_pair, sent.channel]
    return _trade(frame, index, event, str(event.id), event.id_market, stream, sent.publish_ns)


def read_trade_row(frame: Frame, index: int, row: TradeRow, stream: Stream) -> Trade:
    """``{"id":"220643972","create_time":"1790359364","create_time_ms":"1790359364969.221000",
    "currency_pair":"BTC_USDT","side":"sell","amount":"0.000761","price":"83818.9","sequence_id":"220643972"}``, the
    newest first [F]."""
    if row.currency_pair:
        build.require_same(stream, row.currency_pair)
    sequence = fields.whole(row.sequence_id) if row.sequence_id else None
    return _trade(frame, index, row, str(fields.whole(row.id)), sequence, stream, 0)


def _trade(
    frame: Frame, index: int, event: StreamTrade | TradeRow, trade_id: str, sequence: int | None, stream: Stream,
    publish_ns: int,
) -> Trade:  # fmt: skip
    price, size = fields.two(event.price, event.amount)
    side, time_ns = SIDES.get(event.side, Side.NONE), ms_text_ns(event.create_time_ms)
    return build.trade(stream, frame, index, time_ns, price, size, side, trade_id, sequence, publish_ns)


def read_book_ticker(frame: Frame, index: int, event: BookTicker, sent: Sent) -> Quote:
    """``{"t":1606293275123,"u":48733182,"s":"BTC_USDT","b":"19177.79","B":"0.0003341504","a":"19179.38","A":"0.09"}``.
    Of an empty side the futures' documentation says that its price is an empty text."""
    bid, bid_size, ask, ask_size = fields.sides(
        event.b or "0", event.B or "0", event.a or "0", event.A or "0"
    )
    return build.quote(
        sent.streams[event.s, sent.channel], frame, index, str(event.u), fields.time_ns(event.t, NS_PER_MS),
        bid, bid_size, ask, ask_size, event.u, sent.publish_ns,
    )  # fmt: skip


def read_depth(frame: Frame, index: int, event: Depth, sent: Sent) -> Book:
    """``{"t":1606294781123,"e":"depthUpdate","E":1606294781,"s":"BTC_USDT","U":48776301,"u":48776306,
    "b":[["19137.74","0.0001"],["19088.37","0"]],"a":[["19137.75","0.6135"]]}``: new sizes, 0 removes; ``U`` is the last
    ``u`` and one [F]. With ``"full":true`` it is the whole of the best 100 levels, as of ``u`` [D]."""
    if not event.full and event.U is None:
        raise FieldFault(Code.FIELD_MISSING, "a change without U")
    if event.U is not None and event.u < event.U:
        raise FieldFault(Code.RANGE_REVERSED, f"U {event.U} > u {event.u}")
    channel = f"{sent.channel}@{SPEEDS.get(event.l, event.l)}"
    action, first = (BookAction.SNAPSHOT, None) if event.full else (BookAction.ABSOLUTE, event.U)
    return build.book(
        sent.streams[event.s, channel], frame, index, action, fields.time_ns(event.t, NS_PER_MS),
        fields.columns(event.b), fields.columns(event.a), event.u, first, publish_ns=sent.publish_ns,
    )  # fmt: skip


def read_snapshot(frame: Frame, index: int, event: Snapshot, stream: Stream) -> Book:
    """``{"id":123456,"current":1623898993123,"update":1623898993121,"asks":[["1.52","1.151"]],
    "bids":[["1.17","201.863"]]}``: ``id`` is the last ``u`` in it [F], ``update`` its time and ``current`` that of the
    answer, in ms [D]."""
    return build.book(
        stream, frame, index, BookAction.SNAPSHOT, fields.time_ns(event.update, NS_PER_MS) if event.update else 0,
        fields.columns(event.bids), fields.columns(event.asks), event.id,
        publish_ns=fields.time_ns(event.current, NS_PER_MS) if event.current else 0,
    )  # fmt: skip


def read_candle(frame: Frame, index: int, event: Candle, sent: Sent) -> Bar:
    """``{"t":"1606292580","v":"2362.32035","c":"19128.1","h":"19128.1","l":"19128.1","o":"19128.1","n":"1m_BTC_USDT",
    "a":"3.8283","w":true}``: ``v`` is the volume in the quote currency [F], ``a`` the one in the base currency. Without
    ``w`` the venue's clock tells whether the bar is over."""
    interval, _, symbol = event.n.partition("_")
    stream, start_ns = sent.streams[symbol, f"{sent.channel}@{interval}"], _seconds_ns(event.t)
    told_ns = sent.publish_ns or sent.time * NS_PER_S
    is_over = _end_ns(start_ns, stream) <= told_ns if event.w is None else event.w
    prices = fields.decimals(event.o, event.h, event.l, event.c)
    return _bar(frame, index, prices, event.a, event.v, start_ns, is_over, stream, sent.publish_ns)


def read_candle_row(frame: Frame, index: int, row: CandleRow, stream: Stream) -> Bar:
    """``["1790350260","532272.62128430","83781.7","83798.9","83740.4","83767.9","6.35429100","false"]``: start, volume
    in the quote currency, close, high, low, open, volume, whether it is over [F]. Older rows end sooner [D]."""
    start_ns = _seconds_ns(row.start_s)
    is_over = row.is_closed == "true" if row.is_closed else _end_ns(start_ns, stream) <= frame.receive_time_ns
    prices = fields.decimals(row.open, row.high, row.low, row.close)
    return _bar(frame, index, prices, row.volume, row.quote_volume, start_ns, is_over, stream, 0)


def _bar(
    frame: Frame, index: int, prices: Sequence[str], volume: str | None, quote_volume: str, start_ns: int,
    is_over: bool, stream: Stream, publish_ns: int,
) -> Bar:  # fmt: skip
    *volumes, turnover = fields.decimals(*(() if volume is None else (volume,)), quote_volume)
    state = BarState.CLOSED if is_over else BarState.OPEN
    return build.bar(
        stream, frame, index, start_ns, state, prices, volumes[0] if volumes else None, quote_volume=turnover,
        publish_ns=publish_ns,
    )  # fmt: skip


def _end_ns(start_ns: int, stream: Stream) -> int:
    return start_ns + interval_ns(stream.interval)


def _seconds_ns(text: str) -> int:
    return fields.time_ns(fields.whole(text), NS_PER_S)


def ms_text_ns(text: str) -> int:
    """``1606292218213.4578``, with up to 6 decimals, in ns."""
    whole, point, fraction = text.partition(".")
    if len(fraction) > _FRACTION_DIGITS or bool(point) != bool(fraction):
        raise FieldFault(Code.FIELD_MALFORMED, f"no time in ms: {text!r:.40}")
    return fields.time_ns(
        fields.whole(whole) * NS_PER_MS + fields.whole(fraction.ljust(_FRACTION_DIGITS, "0")), 1
    )
