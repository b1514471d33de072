"""What Coinbase Exchange sends, and how it is read."""

from __future__ import annotations

from msgspec import Raw, Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream
from etl.adapter.fields import Id, Levels, Name
from etl.exchanges._coinbase_family import bar
from etl.model.codes import REPLAYED, Code
from etl.model.records import Bar, Book, BookAction, Frame, Quote, Side, Trade
from etl.model.times import NS_PER_S

AHEAD_MAX_NS = 2 * NS_PER_S
"""So long may a heartbeat be ahead of the trades that it counts."""
NO_TIME = ("", "0001-01-01T00:00:00.000000Z")
"""What stands for no time at all."""


class Match(Struct, gc=False):
    """On the stream, and without its product as a row of the history."""

    trade_id: Id
    side: str
    size: str
    price: str
    time: str


def read_match(frame: Frame, index: int, event: Match, stream: Stream, flags: tuple[str, ...] = ()) -> Trade:
    """``{"type":"match","trade_id":280232,"maker_order_id":"…","taker_order_id":"…","side":"sell","size":"985",
    "price":"0.00001305","product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}``: ``side``
    is the maker's."""
    price, size = fields.two(event.price, event.size)
    side = _TAKER.get(event.side, Side.NONE)
    time_ns = fields.rfc3339_ns(event.time)
    return build.trade(
        stream, frame, index, time_ns, price, size, side, str(event.trade_id), event.trade_id, flags=flags
    )


def read_last_match(frame: Frame, index: int, event: Match, stream: Stream) -> Trade:
    """The last trade before the subscription."""
    return read_match(frame, index, event, stream, (REPLAYED,))


class Ticker(Struct, gc=False):
    sequence: Id
    best_bid: str
    best_ask: str
    time: str = ""
    best_bid_size: str = ""
    """Both sizes came in 2022."""
    best_ask_size: str = ""


def read_ticker(frame: Frame, index: int, event: Ticker, stream: Stream) -> Quote:
    """``{"type":"ticker","sequence":333938798,"product_id":"BAND-GBP","price":"14.7775",…,"best_bid":"14.7550",
    "best_bid_size":"1.5","best_ask":"14.8060","best_ask_size":"2","side":"buy","time":"2021-04-17T16:43:30.244075Z",
    "trade_id":881613,"last_size":"0.04"}``: the best prices after a trade, which ``matches`` tells too."""
    bid, bid_size = _side(event.best_bid, event.best_bid_size)
    ask, ask_size = _side(event.best_ask, event.best_ask_size)
    return build.quote(
        stream, frame, index, str(event.sequence), _time_ns(event.time), bid, bid_size, ask, ask_size,
        event.sequence,
    )  # fmt: skip


def _side(price: str, size: str) -> tuple[str | None, str | None]:
    if not price.strip("0."):
        return None, None
    if size:
        known_price, known_size = fields.two(price, size)
        return known_price, known_size
    return fields.decimals(price)[0], None


class Snapshot(Struct, gc=False):
    bids: Levels
    asks: Levels
    time: str = ""


def read_snapshot(frame: Frame, index: int, event: Snapshot, stream: Stream) -> Book:
    """``{"type":"snapshot","product_id":"BAND-GBP","asks":[["14.8024","12.77"],…],"bids":[…]}``: the whole book."""
    bids, asks = levels(event.bids), levels(event.asks)
    return build.book(stream, frame, index, BookAction.SNAPSHOT, _time_ns(event.time), bids, asks)


class Update(Struct, gc=False):
    changes: list[tuple[str, str, str]]
    time: str = ""


def read_update(frame: Frame, index: int, event: Update, stream: Stream) -> Book:
    """``{"type":"l2update","product_id":"SKL-BTC","changes":[["sell","0.00001306","660.5"]],
    "time":"2021-04-17T16:43:37.075687Z"}``: sizes as they are now, 0 removes."""
    bids: Levels = []
    asks: Levels = []
    for side, price, size in event.changes:
        if side not in _BOOK_SIDES:
            raise fields.FieldFault(Code.FIELD_MALFORMED, f"side {side!r:.20}")
        (bids if side == "buy" else asks).append((price, size))
    return build.book(
        stream, frame, index, BookAction.ABSOLUTE, _time_ns(event.time), levels(bids), levels(asks)
    )


def levels(pairs: Levels) -> fields.Columns:
    """As columns; a size below zero cannot be of an order."""
    prices, sizes = fields.columns(pairs)
    if any(size[0] == "-" for size in sizes):
        raise fields.FieldFault(Code.SIZE_NEGATIVE, "a level's size is below zero")
    return prices, sizes


def _time_ns(text: str) -> int:
    """0 where the venue says none: it has also sent the year 1 and, of snapshots, one before it."""
    return 0 if text in NO_TIME or text[0] == "-" else fields.rfc3339_ns(text)


class Candle(Struct, array_like=True, gc=False):
    time: int
    low: Raw
    high: Raw
    open: Raw
    close: Raw
    volume: Raw


def read_candle(frame: Frame, index: int, row: Candle, stream: Stream) -> Bar:
    """``[1415398768,0.32,4.2,0.35,4.2,12.3]``: start in s, low, high, open, close, volume; the running bar too."""
    texts = (bytes(raw).decode() for raw in (row.open, row.high, row.low, row.close, row.volume))
    *prices, volume = fields.decimals(*texts)
    return bar(stream, frame, index, row.time, prices, volume)


class Heartbeat(Struct, gc=False):
    product_id: Name
    last_trade_id: Id


class Progress(Struct):
    """A product's trades: the last that came, the last that heartbeats told of, and since when it is awaited."""

    last_id: int = 0
    told_id: int = 0
    since_ns: int = 0

    def is_behind(self, last_id: int, now_ns: int) -> bool:
        """Told once of each id. It was 0 on some connections."""
        if last_id <= self.last_id:
            self.since_ns = 0
        elif not self.since_ns:
            self.since_ns = now_ns
        elif now_ns - self.since_ns > AHEAD_MAX_NS and last_id > self.told_id:
            self.told_id = last_id
            return True
        return False


_TAKER = {"sell": Side.BUY, "buy": Side.SELL}
_BOOK_SIDES = ("buy", "sell")
