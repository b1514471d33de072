"""What Binance sends, in its own names, and what becomes of it.

Identity: trades ``t``, aggregates ``a``, quotes ``u``, books ``channel/d|s/u``, bars ``interval/start in ns``. Key
times are whole ms, the coarsest that any source of this venue sends (archives since 2025 carry µs); quotes and
snapshots carry no time at all and take the UTC day of receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from msgspec import Struct, field

from etl.adapter import build, fields
from etl.adapter.build import Stream
from etl.adapter.fields import FieldFault, Id, Levels, Name
from etl.model.codes import Code
from etl.model.instruments import Instrument
from etl.model.records import Bar, BarState, Book, BookAction, Frame, Quote, Record, Side, Trade
from etl.model.times import NS_PER_MS

_BUY, _SELL = Side.BUY, Side.SELL


class StreamTrade(Struct, gc=False, tag_field="e", tag="trade"):
    E: int
    s: Name
    t: Id
    p: str
    q: str
    T: int
    m: bool
    X: str = ""
    """What kind of print it is; only futures say."""


class TradeRow(Struct, gc=False):
    t: Id = field(name="id")
    p: str = field(name="price")
    q: str = field(name="qty")
    T: int = field(name="time")
    m: bool = field(name="isBuyerMaker")
    E: int | None = None
    s: str = ""
    X: str = ""
    isRPITrade: bool | None = None
    """A print against a retail price improvement order; only USD-M says, since 2026."""


class AggTrade(Struct, gc=False):
    """Rows have neither ``E`` nor ``s``."""

    a: Id
    p: str
    q: str
    f: Id
    l: Id  # noqa: E741
    T: int
    m: bool
    E: int | None = None
    s: str = ""


class StreamAggTrade(AggTrade, gc=False, tag_field="e", tag="aggTrade", kw_only=True):
    E: int
    s: Name


class StreamQuote(Struct, gc=False):
    u: Id
    s: str
    b: str
    B: str
    a: str
    A: str
    T: int | None = None
    E: int | None = None
    """Only futures time their quotes."""


class Depth(Struct, gc=False, tag_field="e", tag="depthUpdate"):
    E: int
    s: str
    U: Id
    u: Id
    b: Levels
    a: Levels
    T: int | None = None
    pu: Id | None = None
    """Futures have the exchange's own time, and name the event before."""


class Snapshot(Struct, gc=False):
    lastUpdateId: Id
    bids: Levels
    asks: Levels
    T: int | None = None
    E: int | None = None


class _Bar(Struct, gc=False):
    t: int
    s: str
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741
    v: str
    n: Id
    x: bool
    q: str
    V: str


class Kline(Struct, gc=False, tag_field="e", tag="kline"):
    E: int
    s: str
    k: _Bar


class KlineRow(Struct, gc=False, array_like=True):
    t: int
    o: str
    h: str
    l: str  # noqa: E741
    c: str
    v: str
    T: int
    q: str
    n: Id
    V: str


def read_trade(frame: Frame, index: int, event: StreamTrade | TradeRow, stream: Stream) -> Trade:
    """``{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
    "T":1723161255342,"m":true,"M":true}``; ``m``: the buyer is the maker, so the taker sold. Futures add ``X``:
    MARKET, NA, INSURANCE_FUND, ADL. ``historicalTrades``: ``{"id":…,"price":…,"qty":…,"time":…,"isBuyerMaker":…}``."""
    if event.s != stream.venue_symbol and event.s:
        mismatch(stream, event.s)
    price, size = event.p, event.q
    if not fields.ARE_TWO(f"{price} {size}"):  # as ``two``, without its call
        price, size = fields.decimals(price, size)
    return build.trade(
        stream, frame, index, fields.ms_or_us_ns(event.T), price, size, _SELL if event.m else _BUY, str(event.t),
        event.t, 0 if event.E is None else fields.ms_or_us_ns(event.E), (event.X,) if event.X else (),
    )  # fmt: skip


def read_agg_trade(frame: Frame, index: int, event: AggTrade, stream: Stream) -> Record:
    """``{"e":"aggTrade","E":…,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":…,"m":true,"M":true}``;
    in ``aggTrades`` the same letters without ``e``, ``E`` and ``s``."""
    if event.s != stream.venue_symbol and event.s:
        mismatch(stream, event.s)
    if event.f > event.l:
        raise FieldFault(Code.RANGE_REVERSED, f"f {event.f} > l {event.l}")
    price, size = fields.two(event.p, event.q)
    return build.agg_trade(
        stream, frame, index, fields.ms_or_us_ns(event.T), price, size, _SELL if event.m else _BUY, str(event.a),
        event.a, 0 if event.E is None else fields.ms_or_us_ns(event.E),
        first_trade_id=str(event.f), last_trade_id=str(event.l),
    )  # fmt: skip


def read_quote(frame: Frame, index: int, event: StreamQuote, stream: Stream) -> Quote:
    """``{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}``:
    no event type, no time; futures have both. An empty side comes as price 0 with size 0."""
    if event.s != stream.venue_symbol:
        mismatch(stream, event.s)
    bid: str | None
    bid_size: str | None
    ask: str | None
    ask_size: str | None
    bid, bid_size, ask, ask_size = event.b, event.B, event.a, event.A
    if not fields.ARE_FOUR(f"{bid} {bid_size} {ask} {ask_size}") or bid[0] == "0" or ask[0] == "0":
        bid, bid_size, ask, ask_size = fields.sides(bid, bid_size, ask, ask_size)
    return build.quote(
        stream, frame, index, str(event.u), 0 if event.T is None else fields.ms_or_us_ns(event.T),
        bid, bid_size, ask, ask_size, event.u, 0 if event.E is None else fields.ms_or_us_ns(event.E),
    )  # fmt: skip


def read_depth(frame: Frame, index: int, event: Depth, stream: Stream) -> Book:
    """``{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,"u":50093239202,
    "b":[["61737.63000000","0.00000000"]],"a":[]}``: new quantities, 0 removes. Futures add ``T`` and ``pu``, the event
    before; their partial books (``depth5@100ms``) have the same fields, yet the whole of the best levels each time."""
    if event.s != stream.venue_symbol:
        mismatch(stream, event.s)
    if event.u < event.U:
        raise FieldFault(Code.RANGE_REVERSED, f"U {event.U} > u {event.u}")
    sent_ns = fields.ms_or_us_ns(event.E)
    time_ns, publish_ns = (sent_ns, 0) if event.T is None else (fields.ms_or_us_ns(event.T), sent_ns)
    action = BookAction.SNAPSHOT if stream.depth else BookAction.ABSOLUTE
    return build.book(
        stream, frame, index, action, time_ns, fields.columns(event.b), fields.columns(event.a),
        event.u, event.U, event.pu, publish_ns,
    )  # fmt: skip


def read_snapshot(frame: Frame, index: int, event: Snapshot, stream: Stream) -> Book:
    """``/api/v3/depth`` and ``depth5@100ms``: ``{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[]}``; futures time
    theirs, ``"E":…,"T":…``."""
    return build.book(
        stream, frame, index, BookAction.SNAPSHOT, 0 if event.T is None else fields.ms_or_us_ns(event.T),
        fields.columns(event.bids), fields.columns(event.asks), event.lastUpdateId,
        publish_ns=0 if event.E is None else fields.ms_or_us_ns(event.E),
    )  # fmt: skip


def read_kline(frame: Frame, index: int, event: Kline, stream: Stream) -> Bar:
    """``{"e":"kline","E":…,"s":"BNBBTC","k":{"t":…,"T":…,"s":"BNBBTC","i":"1m","f":100,"L":200,"o":"0.0010",
    "c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,"x":false,"q":"1.0000","V":"500",…}}``."""
    bar = event.k
    if event.s != stream.venue_symbol or bar.s != event.s:
        mismatch(stream, f"{event.s}, {bar.s}")
    if bar.i != stream.interval:
        raise FieldFault(Code.FIELD_MALFORMED, f"interval {bar.i!r:.20} in stream {stream.channel}")
    state = BarState.CLOSED if bar.x else BarState.OPEN
    return _read_bar(frame, index, bar, stream, state, fields.ms_or_us_ns(event.E))


def read_kline_row(frame: Frame, index: int, row: KlineRow, stream: Stream) -> Bar:
    """``[1499040000000,"0.01","0.80","0.01","0.015","148976.1",1499644799999,"2434.1",308,"1756.8",…]``: start, open,
    high, low, close, volume, end, …; the running bar comes too: its end is still ahead."""
    ended = fields.ms_or_us_ns(row.T) < frame.receive_time_ns
    return _read_bar(frame, index, row, stream, BarState.CLOSED if ended else BarState.OPEN, 0)


def _read_bar(
    frame: Frame, index: int, bar: _Bar | KlineRow, stream: Stream, state: BarState, publish_ns: int
) -> Bar:
    *prices, volume, quote_volume, taker_buy_volume = fields.decimals(
        bar.o, bar.h, bar.l, bar.c, bar.v, bar.q, bar.V
    )
    return build.bar(
        stream, frame, index, fields.ms_or_us_ns(bar.t), state, prices, volume, quote_volume=quote_volume,
        taker_buy_volume=taker_buy_volume, trade_count=bar.n, publish_ns=publish_ns,
    )  # fmt: skip


def mismatch(stream: Stream, named: str) -> NoReturn:
    raise FieldFault(Code.SYMBOL_MISMATCH, f"{named!r:.60} in a stream of {stream.venue_symbol!r:.40}")


class Filter(Struct, gc=False):
    tickSize: str = ""
    stepSize: str = ""


def steps_of(filters: Sequence[Filter]) -> tuple[str, str]:
    """Of prices and of sizes, "" where they do not say."""
    price_step = next((item.tickSize for item in filters if item.tickSize), "")
    return price_step, next((item.stepSize for item in filters if item.stepSize), "")


class InstrumentItem(Struct, gc=False):
    """One entry of ``exchangeInfo``."""

    symbol: str
    baseAsset: str
    quoteAsset: str
    contractType: str = ""
    """Empty while a contract is being listed."""
    deliveryDate: int = 0
    filters: Sequence[Filter] = ()
    marginAsset: str = ""
    contractSize: int = 0
    """Of inverse contracts, in the quote."""
    status: str = ""
    contractStatus: str = ""
    onboardDate: int = 0

    @property
    def expires_ns(self) -> int:
        return self.deliveryDate * NS_PER_MS


def instrument(item: InstrumentItem, symbol: str) -> Instrument:
    return Instrument(
        item.symbol,
        symbol,
        *steps_of(item.filters),
        expires_ns=item.expires_ns,
        settle=item.marginAsset,
        contract_size=str(item.contractSize or ""),
        status=item.status or item.contractStatus,
        listed_ns=item.onboardDate * NS_PER_MS,
    )


class InstrumentList(Struct, gc=False):
    symbols: list[InstrumentItem]
