"""What Bybit (v5) sends, in its own names, and what becomes of it.

Identity: trades ``i``, books ``channel/s|d/u``, quotes ``u``, bars ``interval/start in ns``, of statistics and
liquidations time and content. ``u`` begins at 1 again when the venue restarts its service: the key time, part of every
identity, tells both lives apart. All times are whole ms; those of a file are finer.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Raw, Struct, field

from etl.adapter import build, fields
from etl.adapter.build import STREAMS_KNOWN_MAX, Stream, StreamCache
from etl.adapter.contract import Ignored
from etl.adapter.fields import ABSENT, FieldFault, Id, Levels, Name, decimals
from etl.model import records
from etl.model.codes import Code
from etl.model.records import Bar, BarState, BookAction, Frame, Quote, Side, SizeUnit, Stats
from etl.model.times import NS_PER_DAY, NS_PER_MS, NS_PER_S, interval_ns

RESTARTED = 1
"""The ``u`` of a book's first message after a restart of the service: the whole book, whatever its type says."""
_MONTH_NS = 31 * NS_PER_DAY
_CONDITIONS = {
    (False, False): (),
    (True, False): ("block",),
    (False, True): ("rpi",),
    (True, True): ("block", "rpi"),
}
Taker = Literal["Buy", "Sell"]


class Message(Struct, gc=False):
    """Any message of a topic; its members come in several orders."""

    topic: str = ""
    type: str = ""
    ts: int = 0
    cts: int = 0
    data: Raw = ABSENT


class Sent(Struct, gc=False):
    """What a message says of all its events. ``coin``: the topic is that of a coin, whose options are looked up
    there. ``ts`` is when it was sent, ``cts`` the matching engine's time of it, 0 = not told."""

    stream: Stream
    type: str = "snapshot"
    ts: int = 0
    cts: int = 0
    coin: StreamCache[tuple[str, str]] | None = None
    contents: list[str] | None = None
    """Of events without an id, what the message told before."""

    @property
    def publish_ns(self) -> int:
        return fields.time_ns(self.ts, NS_PER_MS) if self.ts else 0

    @property
    def times_ns(self) -> tuple[int, int]:
        """The engine's time and that of sending; before 2023-12-14 there was only the latter."""
        if not self.cts:
            return self.publish_ns, 0
        return fields.time_ns(self.cts, NS_PER_MS), self.publish_ns

    def stream_of(self, named: str) -> Stream:
        """That of the instrument which an event names."""
        stream = self.stream
        if named == stream.venue_symbol:
            return stream
        if self.coin is None or not named.startswith(f"{stream.venue_symbol}-"):
            raise FieldFault(Code.SYMBOL_MISMATCH, f"{named!r:.60} in a topic of {stream.venue_symbol!r:.40}")
        fields.require_name(named)
        return self.coin[named, stream.channel]


class Trade(Struct, gc=False):
    T: int
    s: Name
    S: Taker
    v: str
    p: str
    i: Name
    BT: bool = False
    RPI: bool = False
    seq: Id | None = None


class TradeRow(Struct, gc=False):
    execId: Name
    symbol: Name
    price: str
    size: str
    side: Taker
    time: str
    isBlockTrade: bool = False
    isRPITrade: bool = False
    seq: str = ""


class TradeLine(Struct, gc=False):
    """Of a daily file."""

    timestamp: str
    symbol: Name
    side: Taker
    size: str
    price: str
    trdMatchID: Name
    RPI: str = ""


class Book(Struct, gc=False):
    s: Name
    u: Id
    b: Levels
    a: Levels
    ts: int = 0
    cts: int = 0
    """Only an answer tells them here."""


class Ticker(Struct, gc=False):
    symbol: Name
    markPrice: str = ""
    indexPrice: str = ""
    openInterest: str = ""
    fundingRate: str = ""
    nextFundingTime: str = ""


class Kline(Struct, gc=False):
    start: int
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    confirm: bool


class KlineRow(Struct, gc=False, array_like=True):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str


class Liquidation(Struct, gc=False):
    T: int
    s: Name
    S: Taker
    v: str
    p: str


class OldLiquidation(Struct, gc=False):
    """Until 2025-02-20, one a second at most."""

    T: int = field(name="updatedTime")
    s: Name = field(name="symbol")
    S: Taker = field(name="side")
    v: str = field(name="size")
    p: str = field(name="price")


def read_trade(frame: Frame, index: int, event: Trade, sent: Sent) -> records.Trade:
    """``{"T":1680688979983,"s":"LTCUSDT","S":"Buy","v":"0.4","p":"94.53","L":"ZeroMinusTick","i":"4c7b6bdc-…","BT":false,
    "RPI":false,"seq":1783284617}``: ``S`` is the taker's side; ``BT`` a block, ``RPI`` against a retail price
    improvement order. ``seq`` is the matching engine's: it rises, and is equal for the trades of one match."""
    price, size = fields.two(event.p, event.v)
    return build.trade(
        sent.stream_of(event.s), frame, index, fields.time_ns(event.T, NS_PER_MS), price, size,
        Side.BUY if event.S == "Buy" else Side.SELL, event.i, event.seq, sent.publish_ns,
        _CONDITIONS[event.BT, event.RPI],
    )  # fmt: skip


def read_trade_row(frame: Frame, index: int, row: TradeRow, sent: Sent) -> records.Trade:
    """``{"execId":"2100000000007764263","symbol":"BTCUSDT","price":"16618.49","size":"0.00012","side":"Buy",
    "time":"1672052955758","isBlockTrade":false,"isRPITrade":false,"seq":"123456"}``: what the stream tells."""
    sequence = fields.whole(row.seq) if row.seq else None
    event = Trade(
        fields.whole(row.time), row.symbol, row.side, row.size, row.price, row.execId, row.isBlockTrade,
        row.isRPITrade, sequence,
    )  # fmt: skip
    return read_trade(frame, index, event, sent)


def read_trade_line(frame: Frame, index: int, line: TradeLine, sent: Sent) -> records.Trade:
    """``1767225600.6864,BTCUSDT,Buy,0.001,87600.1,PlusTick,4c7b6bdc-…,…``: the stream's id, its time in s with up to
    four decimals more."""
    price, size = fields.two(line.price, line.size)
    time_ns = int(Decimal(decimals(line.timestamp)[0]) * NS_PER_S)
    return build.trade(
        sent.stream_of(line.symbol), frame, index, fields.time_ns(time_ns, 1), price, size,
        Side.BUY if line.side == "Buy" else Side.SELL, line.trdMatchID,
        conditions=_CONDITIONS[False, line.RPI in ("1", "true", "True")],
    )  # fmt: skip


COLUMNS = (
    "timestamp", "symbol", "side", "size", "price", "tickDirection", "trdMatchID", "grossValue", "homeNotional",
    "foreignNotional", "RPI",
)  # fmt: skip
"""Of a daily file of trades; older ones lack the last."""


def read_book(frame: Frame, index: int, event: Book, sent: Sent) -> records.Book:
    """``{"topic":"orderbook.50.BTCPERP","type":"delta","ts":…,"data":{"s":"BTCPERP","b":[["28555.20","0.677"]],"a":[],
    "u":20683569,"seq":10916156553},"cts":…}``: each message is one update, ``u``; 0 removes. An option's book without
    an order is ``u`` 0 and counts nothing."""
    stream, update = sent.stream_of(event.s), event.u
    is_whole = _is_whole(sent, update)
    time_ns, publish_ns = sent.times_ns
    return build.book(
        stream, frame, index, BookAction.SNAPSHOT if is_whole else BookAction.ABSOLUTE, time_ns,
        fields.columns(event.b), fields.columns(event.a), update or None, None if is_whole else update,
        publish_ns=publish_ns, key="" if update else f"{stream.channel}/s/0",
    )  # fmt: skip


def read_answered_book(frame: Frame, index: int, event: Book, sent: Sent) -> records.Book:
    """``{"s":"BTCUSDT","b":[…],"a":[…],"ts":1716863719031,"u":230704,"seq":1432604333,"cts":1716863718905}``."""
    return read_book(frame, index, event, Sent(sent.stream, "snapshot", event.ts, event.cts))


def _is_whole(sent: Sent, update: int) -> bool:
    if sent.type not in ("snapshot", "delta"):
        raise FieldFault(Code.FIELD_MALFORMED, f"a book of type {sent.type!r:.40}")
    return sent.type == "snapshot" or update == RESTARTED


class _Top(Struct, gc=False):
    update: int
    time_ns: int
    bid: tuple[str, str] | None
    ask: tuple[str, str] | None


class Tops:
    """The best prices by ``orderbook.1``, on one connection. Since 2025-03-20 each message tells both sides, and the
    last one comes again after 3 s without a change; before, it told what changed, with a deletion of what was best."""

    def __init__(self) -> None:
        self._tops: dict[str, _Top] = {}

    def read(self, frame: Frame, index: int, event: Book, sent: Sent) -> Quote:
        stream, known = sent.stream_of(event.s), self._tops.get(event.s)
        before = None if _is_whole(sent, event.u) else known
        time_ns, publish_ns = sent.times_ns
        if known is not None and known.update == event.u:  # told again
            time_ns = known.time_ns
        top = _Top(
            event.u, time_ns, _best(event.b, before.bid if before else None),
            _best(event.a, before.ask if before else None),
        )  # fmt: skip
        if len(self._tops) >= STREAMS_KNOWN_MAX:
            self._tops.clear()
        self._tops[event.s] = top
        bid, bid_size = top.bid or (None, None)
        ask, ask_size = top.ask or (None, None)
        return build.quote(
            stream, frame, index, str(event.u), time_ns, bid, bid_size, ask, ask_size, event.u, publish_ns
        )


def _best(levels: Levels, former: tuple[str, str] | None) -> tuple[str, str] | None:
    """The one level of a side that a message leaves; nothing of it told = as before."""
    for level, price, size in zip(levels, *fields.columns(levels), strict=True) if levels else ():
        if size.strip("0."):
            return price, size
        if former is not None and level[0] == former[0]:
            former = None
    return former


def read_ticker(frame: Frame, index: int, event: Ticker, sent: Sent) -> Stats | Ignored:
    """``{"symbol":"BTCUSDT","markPrice":"17217.33","indexPrice":"17227.36","openInterest":"68744.761","fundingRate":
    "-0.000212","nextFundingTime":"1673280000000",…}``; after the first only what changed, "" = there is none."""
    stream = sent.stream_of(event.symbol)
    mark, index_price, interest, rate = (
        decimals(text)[0] if text else None
        for text in (event.markPrice, event.indexPrice, event.openInterest, event.fundingRate)
    )
    next_ns = _funding_ns(event.nextFundingTime)
    if mark is index_price is interest is rate is None and not next_ns:
        return Ignored("24h_statistics", index)
    content = f"{mark or ''}/{index_price or ''}/{interest or ''}/{rate or ''}/{next_ns}"
    time_ns = fields.time_ns(sent.ts, NS_PER_MS)
    return build.stats(stream, frame, index, time_ns, content, mark, index_price, interest, rate, next_ns)


def _funding_ns(text: str) -> int:
    """ms, before 2023-01-09 RFC 3339; a contract that is delivered has none."""
    if text in ("", "0"):
        return 0
    return fields.time_ns(fields.whole(text), NS_PER_MS) if text.isdecimal() else fields.rfc3339_ns(text)


def read_kline(frame: Frame, index: int, event: Kline, sent: Sent) -> Bar:
    """``{"start":1672324800000,"end":1672324859999,"interval":"1","open":"16649.5","close":"16677","high":"16677",
    "low":"16608","volume":"2.081","turnover":"34666.4005","confirm":false,"timestamp":1672324988882}``."""
    if event.interval != sent.stream.channel.partition(".")[2]:
        raise FieldFault(
            Code.FIELD_MALFORMED, f"interval {event.interval!r:.20} in topic {sent.stream.channel}"
        )
    state = BarState.CLOSED if event.confirm else BarState.OPEN
    start_ns = fields.time_ns(event.start, NS_PER_MS)
    return _read_bar(frame, index, start_ns, event, sent.stream, state, sent.publish_ns)


def read_kline_row(frame: Frame, index: int, row: KlineRow, sent: Sent) -> Bar:
    """``["1670608800000","17071","17073","17027","17055.5","268611","15.74462667"]``: start, open, high, low, close,
    volume, turnover; the running bar comes too: its end is still ahead."""
    start_ns = fields.time_ns(fields.whole(row.start), NS_PER_MS)
    end_ns = start_ns + (interval_ns(sent.stream.interval) or _MONTH_NS)
    state = BarState.CLOSED if end_ns <= frame.receive_time_ns else BarState.OPEN
    return _read_bar(frame, index, start_ns, row, sent.stream, state, 0)


def _read_bar(
    frame: Frame, index: int, start_ns: int, bar: Kline | KlineRow, stream: Stream, state: BarState,
    publish_ns: int,
) -> Bar:  # fmt: skip
    """The turnover of an inverse contract is coin, so it is no quote volume."""
    *prices, volume, turnover = decimals(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover)
    quote_volume = None if stream.size_unit is SizeUnit.QUOTE else turnover
    return build.bar(
        stream, frame, index, start_ns, state, prices, volume, quote_volume=quote_volume,
        publish_ns=publish_ns,
    )  # fmt: skip


def read_liquidation(
    frame: Frame, index: int, event: Liquidation | OldLiquidation, sent: Sent
) -> records.Liquidation:
    """``{"T":1740480207110,"s":"PIPPINUSDT","S":"Sell","v":"2846","p":"0.02456"}``: ``S`` is the position's side. A
    long one (Buy) is closed by selling: the taker's side is the other. ``p`` is its price of bankruptcy. Equal ones of
    one ms come in one message, and are counted there."""
    stream = sent.stream_of(event.s)
    price, size = fields.two(event.p, event.v)
    content = f"{event.T}/{event.S}/{price}/{size}"
    sent.contents = told = [] if sent.contents is None else sent.contents
    twins = told.count(content)
    told.append(content)
    return build.liquidation(
        stream, frame, index, fields.time_ns(event.T, NS_PER_MS), price, size,
        Side.SELL if event.S == "Buy" else Side.BUY,
        f"{event.S}/{price}/{size}{f'/{twins}' if twins else ''}", sent.publish_ns,
    )  # fmt: skip
