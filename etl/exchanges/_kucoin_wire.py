"""What KuCoin's spot market sends, in its own names, and what becomes of it.

Identity: trades their ``sequence``, which stream and history tell alike, quotes ``sequence``, books ``level2/d|s/last
sequence``, bars ``interval/start in ns``. Key times of trades are whole ms: since 2024 no source tells more.

    [F]  recorded frames of 2021-04-25
    [D]  the venue's documentation of 2023-05-29 and 2025-11-04
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw, Struct
from msgspec.structs import replace

from etl.adapter import build, fields
from etl.adapter.build import STREAMS_KNOWN_MAX, Stream
from etl.adapter.fields import ABSENT, Columns, FieldFault, Id, Levels, Name
from etl.model.codes import Code
from etl.model.records import Bar, BarState, Book, BookAction, Frame, Quote, Side, Trade
from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns

SIDES = {"buy": Side.BUY, "sell": Side.SELL}


class Message(Struct, gc=False):
    """``{"type":"message","topic":"/market/level2:BTC-USDT","subject":"trade.l2update","data":{…}}``; an answer has our
    request's ``id`` as text, and ``code`` and ``data`` where it refuses."""

    type: str
    topic: str = ""
    subject: str = ""
    data: Raw = ABSENT
    id: str | int = ""
    code: str | int = ""


class Match(Struct, gc=False):
    symbol: Name
    sequence: str
    side: str
    size: str
    price: str
    time: str
    tradeId: str


class TradeRow(Struct, gc=False):
    sequence: str
    price: str
    size: str
    side: str
    time: int


class Ticker(Struct, gc=False):
    """``time`` is not in the documentation of 2023, and in each frame [F]."""

    sequence: str
    bestBid: str | None = None
    bestBidSize: str | None = None
    bestAsk: str | None = None
    bestAskSize: str | None = None
    time: int = 0


class Changes(Struct, gc=False):
    asks: list[tuple[str, str, str]]
    bids: list[tuple[str, str, str]]


class Level2(Struct, gc=False):
    """``time`` since 2022-09-22 [D]."""

    symbol: Name
    sequenceStart: Id
    sequenceEnd: Id
    changes: Changes
    time: int = 0


class Snapshot(Struct, gc=False):
    sequence: str
    bids: Levels
    asks: Levels
    time: int


class CandleRow(Struct, gc=False, array_like=True):
    start_s: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str


class Candle(Struct, gc=False):
    symbol: Name
    candles: CandleRow
    time: int


class Pair(Struct, gc=False):
    """One entry of the list; ``name`` may be another than ``symbol``, which stays when a currency is renamed [D]."""

    symbol: Name
    baseCurrency: Name
    quoteCurrency: Name
    priceIncrement: str = ""
    baseIncrement: str = ""
    enableTrading: bool | None = None

    @property
    def status(self) -> str:
        return "" if self.enableTrading is None else "enabled" if self.enableTrading else "disabled"


class Listing(Struct, gc=False):
    data: list[Pair]


class Server(Struct, gc=False):
    """``pingInterval`` in ms."""

    endpoint: str
    pingInterval: int


class Granted(Struct, gc=False):
    token: Name
    instanceServers: list[Server]


class Bullet(Struct, gc=False):
    """``{"code":"200000","data":{"token":"2neA…","instanceServers":[{"endpoint":"wss://ws-api-spot.kucoin.com/",
    "encrypt":true,"protocol":"websocket","pingInterval":18000,"pingTimeout":10000}]}}``"""

    data: Granted


class Forming:
    """The bar that each stream has begun last. No message says that one is over, but the first of the next one does."""

    def __init__(self) -> None:
        self._bars: dict[Stream, Bar] = {}

    def over(self, bar: Bar, stream: Stream) -> Sequence[Bar]:
        """The one before ``bar``, as closed by it, unless the clock had closed it already."""
        before = self._bars.get(stream)
        if before or len(self._bars) < STREAMS_KNOWN_MAX:
            self._bars[stream] = bar
        if not before or before.bar_state is not BarState.OPEN or before.event_time_ns >= bar.event_time_ns:
            return ()
        told_by = {
            "receive_time_ns": bar.receive_time_ns, "publish_time_ns": bar.publish_time_ns,
            "frame_sequence": bar.frame_sequence, "frame_index": bar.frame_index + 1,
        }  # fmt: skip
        return (replace(before, bar_state=BarState.CLOSED, **told_by),)


def read_match(frame: Frame, index: int, event: Match, stream: Stream) -> Trade:
    """``{"symbol":"DAPPT-BTC","sequence":"1612701563869","side":"buy","size":"81.8814","price":"0.0000001117",
    "takerOrderId":"6085c097587c2000060cde57","time":"1619378327739050725","type":"match",
    "makerOrderId":"6085c06144b3790006512a4d","tradeId":"6085c09769bc506996295e36"}``: time in ns, ``side`` is the
    taker's. The sequence counts all that happens in the market, not the trades alone; ``tradeId`` is the same since
    2024 [D]."""
    build.require_same(stream, event.symbol)
    time_ns = fields.time_ns(fields.whole(event.time), 1)
    return _trade(frame, index, event, event.tradeId, time_ns, stream)


def read_trade_row(frame: Frame, index: int, row: TradeRow, stream: Stream) -> Trade:
    """``{"sequence":"10976028003549185","price":"67122","size":"0.000025","side":"buy","time":1729177117877000000}``:
    in ns, the oldest first [D]."""
    return _trade(frame, index, row, row.sequence, fields.time_ns(row.time, 1), stream)


def _trade(
    frame: Frame, index: int, event: Match | TradeRow, trade_id: str, time_ns: int, stream: Stream
) -> Trade:
    sequence, side = fields.whole(event.sequence), SIDES.get(event.side, Side.NONE)
    price, size = fields.two(event.price, event.size)
    return build.trade(
        stream, frame, index, time_ns, price, size, side, trade_id, sequence, key=str(sequence)
    )


def read_ticker(frame: Frame, index: int, event: Ticker, stream: Stream) -> Quote:
    """``{"sequence":"1613277183873","bestAsk":"242.951","size":"0.08000012","bestBidSize":"0.68148185",
    "price":"243.65","time":1619378326330,"bestAskSize":"4.51280965","bestBid":"242.654"}``: ``price`` and ``size`` are
    the last trade's. At most one in 100 ms [D]."""
    bid, bid_size, ask, ask_size = fields.sides(
        event.bestBid or "0", event.bestBidSize or "0", event.bestAsk or "0", event.bestAskSize or "0"
    )
    sequence = fields.whole(event.sequence)
    return build.quote(
        stream, frame, index, str(sequence), _ms_ns(event.time), bid, bid_size, ask, ask_size, sequence
    )


def read_level2(frame: Frame, index: int, event: Level2, stream: Stream) -> Book:
    """``{"sequenceStart":1612844051654,"symbol":"SNX-BTC","changes":{"asks":[["0.00028718","0","1612844051654"]],
    "bids":[]},"sequenceEnd":1612844051654}``: new sizes, 0 removes; of a price that changed several times only the last
    [D]. A level of price 0 changes nothing: its sequence alone counts [D], as in a third of the frames [F]."""
    build.require_same(stream, event.symbol)
    first, last, changes = event.sequenceStart, event.sequenceEnd, event.changes
    if last < first:
        raise FieldFault(Code.RANGE_REVERSED, f"sequenceStart {first} > sequenceEnd {last}")
    return build.book(
        stream, frame, index, BookAction.ABSOLUTE, _ms_ns(event.time), _changed(changes.bids),
        _changed(changes.asks), last, first,
    )  # fmt: skip


def _changed(levels: Sequence[tuple[str, str, str]]) -> Columns:
    return fields.columns([level for level in levels if level[0].strip("0.")])


def read_snapshot(frame: Frame, index: int, event: Snapshot, stream: Stream) -> Book:
    """``{"time":1619378326628,"sequence":"1613277183892","bids":[["242.649","5"]],"asks":[["242.951","4.5"]]}``: time
    of the answer in ms, ``sequence`` the last one in it [F]."""
    return build.book(
        stream, frame, index, BookAction.SNAPSHOT, fields.time_ns(event.time, NS_PER_MS),
        fields.columns(event.bids), fields.columns(event.asks), fields.whole(event.sequence),
    )  # fmt: skip


def read_candle(frame: Frame, index: int, event: Candle, stream: Stream) -> Bar:
    """``{"symbol":"BCHSV-USDT","candles":["1619378280","242.781","242.781","242.781","242.781","0.14324938",
    "34.77822772578"],"time":1619378337806000034}``: start in s, open, close, high, low, volume, turnover; the venue's
    clock in ns (its documentation says µs) tells whether it is over."""
    build.require_same(stream, event.symbol)
    return _bar(frame, index, event.candles, fields.time_ns(event.time, 1), stream, event.time)


def read_candle_row(frame: Frame, index: int, row: CandleRow, stream: Stream) -> Bar:
    """``["1566789720","10411.5","10401.9","10411.5","10396.3","29.11357276","302889.301529914"]`` as in the stream, the
    newest first [D]."""
    return _bar(frame, index, row, frame.receive_time_ns, stream)


def _bar(frame: Frame, index: int, row: CandleRow, now_ns: int, stream: Stream, publish_ns: int = 0) -> Bar:
    start_ns, length_ns = fields.time_ns(fields.whole(row.start_s), NS_PER_S), interval_ns(stream.interval)
    is_over = bool(length_ns) and start_ns + length_ns <= now_ns
    *prices, volume, turnover = fields.decimals(
        row.open, row.high, row.low, row.close, row.volume, row.turnover
    )
    state = BarState.CLOSED if is_over else BarState.OPEN
    return build.bar(
        stream, frame, index, start_ns, state, prices, volume, quote_volume=turnover, publish_ns=publish_ns
    )


def _ms_ns(count: int) -> int:
    return fields.time_ns(count, NS_PER_MS) if count else 0
