"""Kalshi's messages and what they become. Shapes changed on many days of 2026, so every field is read where it stands:
texts in dollars and contracts (``_dollars``, ``_fp``) before cents and whole counts, µs before ms before seconds.

Every price becomes that of the YES leg, every size a count of contracts that pay a dollar or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from msgspec import Raw, Struct

from etl.adapter import build
from etl.adapter.build import StreamCache
from etl.adapter.contract import BookBroken, Ignored, Outcome
from etl.adapter.fields import (
    Columns,
    FieldFault,
    Id,
    Levels,
    Name,
    columns,
    decimals,
    require_name,
    rfc3339_ns,
    time_ns,
    two,
)
from etl.adapter.series import Contract
from etl.model.codes import Code
from etl.model.records import (
    BarState,
    Book,
    BookAction,
    Frame,
    GapKind,
    Quote,
    Side,
    Stats,
    Status,
    Trade,
    TradingStatus,
)
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S

BOOK = "orderbook_delta"
"""The channel of snapshots and changes alike."""
LIFECYCLE = "market_lifecycle_v2"
PRICES_KNOWN_MAX = 10_001
"""A dollar has so many steps of 0.0001."""


class Message(Struct, gc=False):
    """What is around every event; ``seq`` counts the messages of a ``sid``, from 1."""

    type: str
    msg: Raw = Raw(b"{}")
    sid: Id = 0
    seq: Id = 0


class Place(Struct, gc=False):
    """What holds for a message. ``sequence``: sid and seq, "" where it has none; ``is_yes_priced``: levels of NO are
    told by the price of YES; ``books``: what each level holds, by symbol."""

    streams: StreamCache[tuple[str, str]]
    sequence: str
    is_yes_priced: bool
    books: Books


Level = tuple[str, Decimal]
"""Side and price."""
Books = dict[str, dict[Level, Decimal]]


class TradeEvent(Struct, gc=False):
    """A row of history has ``ticker`` and ``created_time``."""

    trade_id: Name
    market_ticker: str = ""
    ticker: str = ""
    yes_price_dollars: str = ""
    yes_price: Id | None = None
    count_fp: str = ""
    count: Id | None = None
    taker_book_side: str = ""
    taker_outcome_side: str = ""
    taker_side: str = ""
    is_block_trade: bool = False
    created_time: str = ""
    ts_ms: int = 0
    ts: int | str = 0


class SnapshotEvent(Struct, gc=False):
    """The key of an empty side is absent."""

    market_ticker: Name
    yes_dollars_fp: Levels = []
    no_dollars_fp: Levels = []
    yes: list[tuple[Id, Id]] = []
    no: list[tuple[Id, Id]] = []


class DeltaEvent(Struct, gc=False):
    market_ticker: Name
    side: str
    price_dollars: str = ""
    price: Id | None = None
    delta_fp: str = ""
    delta: int | None = None
    ts_ms: int = 0
    ts: int | str = 0


class TickerEvent(Struct, gc=False):
    market_ticker: Name
    yes_bid_dollars: str = ""
    yes_ask_dollars: str = ""
    yes_bid: Id | None = None
    yes_ask: Id | None = None
    yes_bid_size_fp: str | None = None
    yes_ask_size_fp: str | None = None
    open_interest_fp: str = ""
    open_interest: Id | None = None
    ts_ms: int = 0
    ts: int | str = 0


class LifecycleEvent(Struct, gc=False):
    market_ticker: Name
    event_type: Name
    open_ts: int = 0
    close_ts: int = 0
    determination_ts: int = 0
    settled_ts: int = 0
    result: str = ""
    settlement_value: str = ""
    price_level_structure: str = ""


class Prices(Struct, gc=False):
    """Null where nothing was traded."""

    open_dollars: str | None = None
    high_dollars: str | None = None
    low_dollars: str | None = None
    close_dollars: str | None = None


class Candlestick(Struct, gc=False):
    """``end_period_ts`` is the inclusive end, in seconds."""

    end_period_ts: int
    price: Prices
    volume_fp: str


class BarPlace(Struct, gc=False):
    stream: build.Stream
    length_ns: int
    interval: str


def read_trade(frame: Frame, index: int, event: TradeEvent, place: Place) -> Trade:
    """``{"trade_id":"0722…","market_ticker":"KX…","yes_price_dollars":"0.9900","count_fp":"93.00","taker_side":"no",
    "taker_book_side":"ask","ts_ms":1789581934126}``: who takes NO hits the bid of YES."""
    symbol = event.market_ticker or event.ticker
    if not symbol:
        raise FieldFault(Code.SYMBOL_MISSING, f"trade {event.trade_id:.40}")
    require_name(symbol)
    price, size = two(
        _dollars(event.yes_price_dollars, event.yes_price), _contracts(event.count_fp, event.count)
    )
    at_ns = rfc3339_ns(event.created_time) if event.created_time else _time_ns(event.ts, event.ts_ms)
    if not at_ns:
        raise FieldFault(Code.FIELD_MISSING, f"trade {event.trade_id:.40} without a time")
    side = event.taker_book_side or event.taker_outcome_side or event.taker_side
    return build.trade(
        place.streams[symbol, "trade"], frame, index, at_ns, price, size, _TAKERS.get(side, Side.NONE),
        event.trade_id, conditions=("block",) if event.is_block_trade else (),
    )  # fmt: skip


def read_snapshot(frame: Frame, index: int, event: SnapshotEvent, place: Place) -> Book:
    """``{"market_ticker":"KX…","yes_dollars_fp":[["0.0100","511.00"],…]}``: all of it, ascending, at no time."""
    require_name(event.market_ticker)
    bids = _levels(event.yes_dollars_fp, event.yes)
    asks = _asks(_levels(event.no_dollars_fp, event.no), place)
    place.books[event.market_ticker] = {
        (side, Decimal(price)): Decimal(size)
        for side, (prices, sizes) in (("yes", bids), ("no", asks))
        for price, size in zip(prices, sizes, strict=True)
    }
    return _book(frame, index, event.market_ticker, BookAction.SNAPSHOT, 0, bids, asks, place)


def read_delta(frame: Frame, index: int, event: DeltaEvent, place: Place) -> Book:
    """``{"market_ticker":"KX…","price_dollars":"0.3500","delta_fp":"-1568.00","side":"yes","ts":"2026-09-16T…Z"}``:
    what is added to one level. Without a time it is that of its receipt."""
    require_name(event.market_ticker)
    size = event.delta_fp or ("" if event.delta is None else f"{event.delta}.00")
    level = columns([(_dollars(event.price_dollars, event.price), size)])
    if event.side not in ("yes", "no"):
        raise FieldFault(Code.FIELD_MALFORMED, f"side {event.side!r:.40}")
    bids, asks = (level, _NO_LEVELS) if event.side == "yes" else (_NO_LEVELS, _asks(level, place))
    at_ns = _time_ns(event.ts, event.ts_ms)
    return _book(frame, index, event.market_ticker, BookAction.RELATIVE, at_ns, bids, asks, place)


def broken(record: Book, books: Books) -> BookBroken | None:
    """What is wrong with the book after ``record``, a change of it: a level that would hold less than nothing."""
    book = books.get(record.venue_symbol)
    if book is None:
        return None
    for side, prices, sizes in (
        ("yes", record.bid_prices, record.bid_sizes),
        ("no", record.ask_prices, record.ask_sizes),
    ):
        for price, size in zip(prices, sizes, strict=True):
            level = side, Decimal(price)
            left = book.pop(level, _NOTHING) + Decimal(size)
            if left < 0:
                del books[record.venue_symbol]
                reason = f"{size} of {side} at {price} would leave {left}"
                return BookBroken(record.venue_symbol, BOOK, reason, GapKind.JOIN)
            if left:
                book[level] = left
    return None


def read_quote(frame: Frame, index: int, event: TickerEvent, place: Place) -> Quote:
    """The best prices; a bid at 0 is none, nor is an ask at 1 of nothing. It has no id: its place is its identity."""
    require_name(event.market_ticker)
    bid, ask = decimals(
        _dollars(event.yes_bid_dollars, event.yes_bid), _dollars(event.yes_ask_dollars, event.yes_ask)
    )
    bid_size, ask_size = (
        size and decimals(size)[0] for size in (event.yes_bid_size_fp, event.yes_ask_size_fp)
    )
    has_bid = bool(bid.strip("0."))
    has_ask = Decimal(ask) != 1 or bool((ask_size or "").strip("0."))
    return build.quote(
        place.streams[event.market_ticker, "ticker"], frame, index,
        f"{frame.connection_id}/{frame.frame_sequence}/{index}", _time_ns(event.ts, event.ts_ms),
        bid if has_bid else None, bid_size if has_bid else None,
        ask if has_ask else None, ask_size if has_ask else None,
    )  # fmt: skip


def read_stats(frame: Frame, index: int, event: TickerEvent, place: Place) -> Stats | None:
    """Of open interest; ``None`` where the ticker has none."""
    if not event.open_interest_fp and event.open_interest is None:
        return None
    (open_interest,) = decimals(_contracts(event.open_interest_fp, event.open_interest))
    stream, at_ns = place.streams[event.market_ticker, "ticker"], _time_ns(event.ts, event.ts_ms)
    return build.stats(stream, frame, index, at_ns, open_interest, open_interest=open_interest)


def read_status(frame: Frame, index: int, event: LifecycleEvent, place: Place) -> Status:
    """``{"event_type":"determined","market_ticker":"KX…","result":"yes","determination_ts":1694635200}``. Others tell
    what is planned: the time at which it is said stands nowhere."""
    require_name(event.market_ticker)
    at_s = event.settled_ts or event.determination_ts
    said = (
        event.event_type,
        event.open_ts,
        event.close_ts,
        event.result,
        event.settlement_value,
        event.price_level_structure,
    )
    return build.status(
        place.streams[event.market_ticker, "market_lifecycle_v2"], frame, index,
        time_ns(at_s, NS_PER_S) if at_s else 0, "/".join(map(str, said)),
        _STATUSES.get(event.event_type, TradingStatus.NONE), event.event_type, event.result,
    )  # fmt: skip


def told_beside(frame: Frame, event: Struct, place: Place) -> Outcome | None:
    """What an event says beside its record."""
    if isinstance(event, TickerEvent):
        return read_stats(frame, 1, event, place)
    return _contract(event) if isinstance(event, LifecycleEvent) else None


def _contract(event: LifecycleEvent) -> Contract | None:
    """Whether it will open, or is over; ``None`` where something else has changed."""
    if event.event_type in _OPENING:
        return Contract(event.market_ticker, time_ns(event.open_ts, NS_PER_S) if event.open_ts else 0)
    return Contract(event.market_ticker, is_over=True) if event.event_type in _OVER else None


def read_bar(frame: Frame, index: int, event: Candlestick, place: BarPlace) -> Outcome:
    """``{"end_period_ts":1770897960,"price":{"open_dollars":"0.5700",…},"volume_fp":"12.00",…}``"""
    prices = (
        event.price.open_dollars,
        event.price.high_dollars,
        event.price.low_dollars,
        event.price.close_dollars,
    )
    if None in prices:
        return Ignored("bar_without_trades", index)
    *plains, volume = decimals(*(price or "" for price in prices), event.volume_fp)
    start_ns = time_ns(event.end_period_ts, NS_PER_S) - place.length_ns
    return build.bar(
        place.stream, frame, index, start_ns, BarState.CLOSED, plains, volume, interval=place.interval
    )


def _book(
    frame: Frame, index: int, symbol: str, action: BookAction, at_ns: int, bids: Columns, asks: Columns, place: Place
) -> Book:  # fmt: skip
    """The venue's numbers are those of a connection, so that its name stands before them."""
    key = place.sequence and f"{frame.connection_id}/{place.sequence}"
    return build.book(place.streams[symbol, BOOK], frame, index, action, at_ns, bids, asks, key=key)


def _levels(texts: Levels, cents: Sequence[tuple[int, int]]) -> Columns:
    return columns(texts or [(_dollars("", price), f"{count}.00") for price, count in cents])


def _asks(bids_of_no: Columns, place: Place) -> Columns:
    """Who bids for NO offers YES, at what is left of the dollar."""
    prices, sizes = bids_of_no
    return (prices if place.is_yes_priced else tuple(map(_rest_of_dollar, prices))), sizes


@lru_cache(maxsize=PRICES_KNOWN_MAX)
def _rest_of_dollar(price: str) -> str:
    return f"{1 - Decimal(price):f}"


def _dollars(text: str, cents: int | None) -> str:
    """Four digits, as the venue writes them."""
    if text:
        return text
    if cents is None:
        raise FieldFault(Code.FIELD_MISSING, "a price in neither dollars nor cents")
    return f"{cents // 100}.{cents % 100:02d}00"


def _contracts(text: str, count: int | None) -> str:
    if text:
        return text
    if count is None:
        raise FieldFault(Code.FIELD_MISSING, "no count of contracts")
    return f"{count}.00"


def _time_ns(ts: int | str, ts_ms: int) -> int:
    """The finest that is told, 0 = none."""
    if isinstance(ts, str) and ts:
        return rfc3339_ns(ts)
    if ts_ms:
        return time_ns(ts_ms, NS_PER_MS)
    return time_ns(ts, NS_PER_S) if isinstance(ts, int) and ts else 0


_NOTHING = Decimal(0)
_NO_LEVELS: Columns = ((), ())
_TAKERS = {"bid": Side.BUY, "ask": Side.SELL, "yes": Side.BUY, "no": Side.SELL}
_STATUSES = {
    "activated": TradingStatus.TRADING,
    "deactivated": TradingStatus.PAUSED,
    "determined": TradingStatus.CLOSED,
    "settled": TradingStatus.CLOSED,
}
_OPENING = frozenset(("created", "activated"))
_OVER = frozenset(("determined", "settled"))
INTERVALS = {
    "1": ("1m", NS_PER_MINUTE),
    "60": ("1h", 60 * NS_PER_MINUTE),
    "1440": ("1d", 1_440 * NS_PER_MINUTE),
}
"""``period_interval`` in minutes."""
