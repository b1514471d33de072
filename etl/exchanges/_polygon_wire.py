"""What Polygon sends, in its own names, and what becomes of it.

Identity: stock trades ``day/venue/facility/id``, quotes ``day/sequence`` (the day in New York), crypto trades
``venue/id``, bars ``interval/start in ns``; what has neither id nor sequence by its content and the number of equal
ones before. Key times are whole ms, the stream's unit; history has ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Raw, Struct, field

from etl.adapter import build, fields
from etl.adapter.build import Stream, StreamCache
from etl.adapter.contract import Exchange
from etl.adapter.dispatch import Read
from etl.adapter.fields import ABSENT, INT64_MAX, FieldFault, Id, canonical, new_york_day_of_hour
from etl.model.codes import Code
from etl.model.instruments import UNKNOWN_SYMBOL, occ_symbol
from etl.model.records import Bar, BarState, Frame, Quote, Side, SizeUnit, Status, Trade, TradingStatus
from etl.model.times import NS_PER_HOUR, NS_PER_MS

_SHARE, _ROUND_LOT, _NO_SIDE = SizeUnit.SHARE, SizeUnit.ROUND_LOT, Side.NONE


class Event(Struct, gc=False, kw_only=True):
    """``sent_as``: the event's name in the stream; ``trades`` and ``quotes`` of history, "" of its bars. ``unit_ns`` is
    the unit of its times. A symbol is completed by what its event's name tells: ``X:`` for those that begin with X."""

    sent_as: ClassVar[str] = ""
    unit_ns: ClassVar[int] = NS_PER_MS
    sym: str = ""


class TradeEvent(Event, gc=False, kw_only=True):
    i: str | int = ""
    x: Id = 0
    p: Raw
    s: Raw = ABSENT
    c: Raw = ABSENT
    t: int = 0
    q: Id = 0
    z: Id = 0
    ds: Raw = ABSENT
    trfi: Id = 0
    pt: int = 0
    r: int = 0
    correction: Id = 0


class QuoteEvent(Event, gc=False, kw_only=True):
    bx: Id = 0
    bp: Raw = ABSENT
    bs: Raw = ABSENT
    ax: Id = 0
    ap: Raw = ABSENT
    ask_size: Raw = field(name="as", default=ABSENT)
    c: Raw = ABSENT
    i: Raw = ABSENT
    x: Id = 0
    t: int = 0
    r: int = 0
    q: Id = 0
    z: Id = 0
    pt: int = 0


class BarEvent(Event, gc=False, kw_only=True):
    v: Raw = ABSENT
    vw: Raw = ABSENT
    o: Raw
    c: Raw
    h: Raw
    l: Raw  # noqa: E741
    s: int
    n: Id = 0


class Bands(Event, gc=False, kw_only=True, tag_field="ev", tag="LULD"):
    sent_as: ClassVar[str] = "LULD"
    sym: str = field(name="T")
    t: int
    h: Raw = ABSENT
    l: Raw = ABSENT  # noqa: E741
    i: Raw = ABSENT
    z: Id = 0
    q: Id = 0


def _spelled(base: type[Event], tag: str, sent_as: str = "", unit_ns: int = NS_PER_MS, **names: str) -> Any:
    """``base`` with other names of its members. With a ``tag`` it is an event of the stream, where those named are
    never absent; without, a row of history."""
    known = {it.name: it for it in msgspec.structs.fields(base)}
    own = [
        (name, known[name].type, field(name=sent) if tag else field(name=sent, default=known[name].default))
        for name, sent in names.items()
    ]
    config: dict[str, Any] = {"tag_field": "ev", "tag": tag} if tag else {}
    facts = {"sent_as": sent_as or tag, "unit_ns": unit_ns}
    return msgspec.defstruct(
        base.__name__, own, bases=(base,), namespace=facts, kw_only=True, gc=False, **config
    )


# fmt: off
_HISTORY_TRADE = _spelled(  # /v3/trades
    TradeEvent, "", "trades", 1, p="price", s="size", ds="decimal_size", t="sip_timestamp", pt="participant_timestamp",
    q="sequence_number", i="id", x="exchange", z="tape", c="conditions", trfi="trf_id",
)
_TICK_TRADE = _spelled(  # /v2/ticks/stocks/trades, /v2/last/trade: ``r`` is the reporting facility here, not a time
    TradeEvent, "", "trades", 1, sym="T", pt="y", trfi="r", r="received", correction="e",
)
_CRYPTO_TICK = _spelled(TradeEvent, "", "XT")  # /v1/historic/crypto
_LAST_CRYPTO_TRADE = _spelled(  # /v1/last/crypto
    TradeEvent, "", "XT", p="price", s="size", t="timestamp", x="exchange", c="conditions",
)
_HISTORY_QUOTE = _spelled(  # /v3/quotes
    QuoteEvent, "", "quotes", 1, bp="bid_price", bs="bid_size", bx="bid_exchange", ap="ask_price", ask_size="ask_size",
    ax="ask_exchange", t="sip_timestamp", pt="participant_timestamp", q="sequence_number", z="tape", c="conditions",
    i="indicators",
)
_TICK_QUOTE = _spelled(  # /v2/ticks/stocks/nbbo, /v2/last/nbbo: small letters bid, capitals ask
    QuoteEvent, "", "quotes", 1, sym="T", bp="p", bs="s", bx="x", ap="P", ask_size="S", ax="X", x="market_center",
    pt="y",
)
HISTORY_BAR = _spelled(BarEvent, "", sym="T", s="t")  # /v2/aggs
TRADES = (
    _spelled(TradeEvent, "T", sym="sym", t="t"), _spelled(TradeEvent, "XT", sym="pair", t="t"),
    _HISTORY_TRADE, _TICK_TRADE, _CRYPTO_TICK, _LAST_CRYPTO_TRADE,
)
QUOTES = (
    _spelled(QuoteEvent, "Q", sym="sym", t="t"), _spelled(QuoteEvent, "XQ", sym="pair", t="t"),
    _HISTORY_QUOTE, _TICK_QUOTE,
)
BARS = (
    _spelled(BarEvent, "A", sym="sym"), _spelled(BarEvent, "AM", sym="sym"), _spelled(BarEvent, "XA", sym="pair"),
    HISTORY_BAR,
)
# fmt: on
_ROWS: tuple[tuple[type[Event] | str, str], ...] = (
    ("snapshot", "session|last_quote|last_trade|market_status|ticker error|details day"),
    (_HISTORY_QUOTE, "bid_price|ask_price"),
    (_HISTORY_TRADE, "price sip_timestamp|price participant_timestamp"),
    (_LAST_CRYPTO_TRADE, "price timestamp"),
    (HISTORY_BAR, "o h l c t"),
    (_TICK_QUOTE, "P|X p"),
    (_TICK_TRADE, "p s y|p s q"),
    (_CRYPTO_TICK, "p s t"),
    ("forex_tick", "ap|bp|ask|bid"),
)
"""What a row of history is, or the name under which it is left aside, and the members that it then has; the first that
fits."""
_ROW_SHAPES = tuple((set(names.split()), row) for row, either in _ROWS for names in either.split("|"))


def row_type(row: Raw) -> type[Event] | str | None:
    """By the members it has: its type, the name under which it is left aside, ``None`` where it is neither."""
    has = fields.inside(row).keys()
    return next((found for needed, found in _ROW_SHAPES if needed <= has), None)


class Page(Struct, frozen=True, gc=False):
    """What an answer says of all of its rows; nothing for the stream."""

    venue_symbol: str = ""
    interval: str = ""
    flags: tuple[str, ...] = ()


class _Source:
    """How the events of one type become records."""

    def __init__(
        self, kind: type[Event], parser: Exchange, decimals: fields.DecimalTexts, codes: fields.CodeTexts,
        contents: fields.ContentCounts,
    ) -> None:  # fmt: skip
        self._sent_as, self._unit_ns, self._parser = kind.sent_as, kind.unit_ns, parser
        self._decimals, self._codes, self._contents = decimals, codes, contents
        self._streams = StreamCache(self._stream)

    def _stream(self, key: str | tuple[str, str]) -> Stream:
        """Of a venue symbol, and the interval of bars of history. ``O:`` and ``X:`` go from the symbol; ``X:BTCUSD`` is
        cut by the instrument list only, ``BTC-USD`` by its own dash. Without a symbol there is no record: ids are
        unique within a symbol only."""
        venue_symbol, interval = (key, "") if isinstance(key, str) else key
        sent_as = self._sent_as or interval
        full = f"X:{venue_symbol}" if sent_as[:1] == "X" else venue_symbol
        prefix = full[:2] if full[:2] in _ASSETS else ""
        size_unit, channels = _ASSETS[prefix]
        symbol, flags = full.removeprefix(prefix), _NO_FLAGS
        if not symbol:
            raise FieldFault(Code.SYMBOL_MISSING, "neither the event nor its page names a symbol")
        fields.require_name(symbol)
        if prefix == "I:":
            symbol = full
        elif prefix == "O:" and occ_symbol(symbol) is None:
            flags = (UNKNOWN_SYMBOL,)
        elif prefix in ("X:", "C:") and "-" not in symbol:
            symbol, flags = self._parser.instruments.names[full]
        channel = sent_as if sent_as in _INTERVALS else channels.get(sent_as, "aggs")
        return Stream(
            self._parser.name, symbol, venue_symbol, channel, self._parser.parser_version, size_unit, flags,
            _INTERVALS.get(sent_as, ""), key_unit_ns=NS_PER_MS,
        )  # fmt: skip

    def trade(self, frame: Frame, index: int, event: TradeEvent, page: Page) -> Trade:
        """``{"ev":"T","sym":"AAPL","i":"5096","x":10,"p":161.87,"s":300,"c":[14,41],"t":1651684192462,
        "q":4009402,"z":3}``; with ``trfi`` (trade reporting facility), ``pt`` (participant's time) and ``ds``
        (the exact size, of which ``s`` is the whole part) where they apply."""
        unit_ns, participant_ns, publish_ns = self._unit_ns, event.pt, event.r
        time_ns = (event.t or participant_ns) * unit_ns
        if not 0 < time_ns <= INT64_MAX:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {event.t or participant_ns}")
        if participant_ns:
            participant_ns = fields.time_ns(participant_ns, unit_ns)
        if publish_ns:
            publish_ns = fields.time_ns(publish_ns, unit_ns)
        stream = self._streams[event.sym or page.venue_symbol]
        price = self._decimals[str(event.p, "ascii")]
        size = self._decimals[str(event.s if event.ds is ABSENT else event.ds, "ascii")]
        if price is None or size is None:
            raise FieldFault(Code.FIELD_MISSING, "no price or no size")
        conditions = () if event.c is ABSENT else self._codes[str(event.c, "ascii")]
        venue, facility, trade_id = _IDS[event.x], _IDS[event.trfi], str(event.i)
        if stream.size_unit is _SHARE and (trade_id or event.q):
            day = new_york_day_of_hour(time_ns // NS_PER_HOUR)
            key = f"{day}/{venue}/{facility}/{trade_id}" if trade_id else f"{day}/{event.q}"
        elif trade_id and (stream.channel[:1] == "X" or stream.venue_symbol[:2] == "X:"):
            key = f"{venue}/{trade_id}"
        else:
            said = f"{canonical(price)}/{canonical(size)}/{venue}/{','.join(conditions)}"
            key = self._contents.key(f"T {stream.venue_symbol}", f"{time_ns // NS_PER_MS}/{said}")
        if event.correction:
            conditions = (*conditions, f"correction_{event.correction}")
        return build.trade(
            stream, frame, index, time_ns, price, size, _NO_SIDE, trade_id, event.q or None, publish_ns,
            conditions, key, participant_ns, venue, facility, _TAPES[event.z],
        )  # fmt: skip

    def quote(self, frame: Frame, index: int, event: QuoteEvent, page: Page) -> Quote:
        """``{"ev":"Q","sym":"MSFT","bx":4,"bp":114.125,"bs":100,"ax":7,"ap":114.128,"as":160,"c":0,"i":[604],
        "t":1536036818784,"q":50385480,"z":3}``. A price of 0 with a size of 0 (or none) is an absent side."""
        unit_ns, participant_ns, publish_ns = self._unit_ns, event.pt, event.r
        time_ns = (event.t or participant_ns) * unit_ns
        if not 0 < time_ns <= INT64_MAX:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {event.t or participant_ns}")
        if participant_ns:
            participant_ns = fields.time_ns(participant_ns, unit_ns)
        if publish_ns:
            publish_ns = fields.time_ns(publish_ns, unit_ns)
        stream = self._streams[event.sym or page.venue_symbol]
        decimals = self._decimals
        bid, bid_size = decimals[str(event.bp, "ascii")], decimals[str(event.bs, "ascii")]
        ask, ask_size = decimals[str(event.ap, "ascii")], decimals[str(event.ask_size, "ascii")]
        bid_venue, ask_venue, venue = _IDS[event.bx], _IDS[event.ax], _IDS[event.x]
        if bid is None or (bid[0] == "0" and fields.is_no_order(bid, bid_size)):
            bid, bid_size, bid_venue = None, None, ""
        if ask is None or (ask[0] == "0" and fields.is_no_order(ask, ask_size)):
            ask, ask_size, ask_venue = None, None, ""
        if event.q:
            key = f"{new_york_day_of_hour(time_ns // NS_PER_HOUR)}/{event.q}"
        else:
            sides = f"{canonical(bid)}/{canonical(bid_size)}/{canonical(ask)}/{canonical(ask_size)}"
            content = f"{time_ns // NS_PER_MS}/{sides}/{bid_venue}/{ask_venue}/{venue}"
            key = self._contents.key(f"Q {stream.venue_symbol}", content)
        in_lots = stream.size_unit is _SHARE and time_ns < fields.QUOTES_IN_SHARES_FROM_NS
        return build.quote(
            stream, frame, index, key, time_ns, bid, bid_size, ask, ask_size, event.q or None, publish_ns,
            participant_ns, _ROUND_LOT if in_lots else None, bid_venue, ask_venue,
            () if event.c is ABSENT else self._codes[str(event.c, "ascii")],
            () if event.i is ABSENT else self._codes[str(event.i, "ascii")], _TAPES[event.z], venue,
        )  # fmt: skip

    def bar(self, frame: Frame, index: int, event: BarEvent, page: Page) -> Bar:
        """``{"ev":"AM","sym":"GTE","v":4110,"av":9470157,"op":0.4372,"vw":0.4488,"o":0.4488,"c":0.4486,
        "h":0.4489,"l":0.4486,"a":0.4352,"z":685,"s":1610144640000,"e":1610144700000}``; ``z`` is the average
        size. Sent again when late trades change it: the later receipt wins, history of a past day over all."""
        start_ns, decimals, venue_symbol = event.s * NS_PER_MS, self._decimals, event.sym or page.venue_symbol
        if not 0 < start_ns <= INT64_MAX:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {event.s}")
        if self._sent_as:
            stream, state = self._streams[venue_symbol], BarState.CLOSED
        else:
            stream = self._streams[venue_symbol, page.interval]
            state = fields.bar_state_of_history(start_ns, frame.receive_time_ns)
        prices = (
            decimals[str(event.o, "ascii")], decimals[str(event.h, "ascii")],
            decimals[str(event.l, "ascii")], decimals[str(event.c, "ascii")],
        )  # fmt: skip
        volume, vwap = decimals[str(event.v, "ascii")], decimals[str(event.vw, "ascii")]
        return build.bar(
            stream, frame, index, start_ns, state, prices, volume, vwap, None, None, event.n, 0, page.interval,
            page.flags,
        )  # fmt: skip

    def bands(self, frame: Frame, index: int, event: Bands, page: Page) -> Status:
        """``{"ev":"LULD","T":"MSFT","h":218.96,"l":198.11,"i":[21],"z":3,"t":1601316752683746,"q":290317}``;
        seen with ``t`` in µs, documented in ns."""
        time_ns = fields.time_of_any_unit_ns(event.t)
        stream = self._streams[event.sym]
        upper, lower = self._decimals[str(event.h, "ascii")], self._decimals[str(event.l, "ascii")]
        indicators = self._codes[str(event.i, "ascii")]
        return build.status(
            stream, frame, index, time_ns, f"{upper}/{lower}/{','.join(indicators)}/{event.q}", TradingStatus.NONE,
            "LULD", "", lower, upper, indicators, _TAPES[event.z], event.q or None,
        )  # fmt: skip


def readers(parser: Exchange) -> Mapping[type[Struct], Read]:
    """How each type of event becomes a record, on one connection."""
    shared = parser, fields.DecimalTexts(), fields.CodeTexts(), fields.ContentCounts()
    return {
        **{kind: _Source(kind, *shared).trade for kind in TRADES},
        **{kind: _Source(kind, *shared).quote for kind in QUOTES},
        **{kind: _Source(kind, *shared).bar for kind in BARS},
        Bands: _Source(Bands, *shared).bands,
    }


class _Ids(dict[int, str]):
    """An id as text; 0 is "none"."""

    def __missing__(self, number: int) -> str:
        return str(number)


_IDS = _Ids({0: "", **{number: str(number) for number in range(1, 1024)}})
_TAPES = _Ids({0: "", 1: "A", 2: "B", 3: "C"})
_INTERVALS = {"T": "", "Q": "", "XT": "", "XQ": "", "LULD": "", "A": "1s", "AM": "1m", "XA": "1m"}
"""The events of the stream; bars have one."""
_US_CHANNELS = {"trades": "T", "quotes": "Q", "1s": "A", "1m": "AM"}
_ASSETS: dict[str, tuple[SizeUnit, dict[str, str]]] = {
    "": (SizeUnit.SHARE, _US_CHANNELS),
    "O:": (SizeUnit.CONTRACT, _US_CHANNELS),
    "X:": (SizeUnit.BASE, {"trades": "XT", "quotes": "XQ", "1m": "XA"}),
    "C:": (SizeUnit.BASE, {"trades": "T", "quotes": "Q"}),
    "I:": (SizeUnit.NONE, {"trades": "T", "quotes": "Q"}),
}
"""What a symbol's prefix says: the unit of sizes, and the channels that the history is of."""
_NO_FLAGS: tuple[str, ...] = ()


class Control(Struct, gc=False):
    status: str
    message: str = ""


class Answer(Struct, gc=False):
    """What a page of history may have; the rows are in one of the first three."""

    results: Raw = ABSENT
    ticks: Raw = ABSENT
    last: Raw = ABSENT
    tickers: Raw = ABSENT
    ticker: Raw = ABSENT
    symbol: Raw = ABSENT
    pair: Raw = ABSENT
    open: Raw = ABSENT
    ev: str = ""
    next_url: str | None = None
    status: str | None = None
    error: str | None = None
    message: str | None = None
    resultsCount: int | None = None


class BarStart(Struct, gc=False):
    t: Annotated[int, Meta(ge=0, le=fields.MS_MAX)] = 0


class _Split(Struct):
    ticker: fields.Name
    execution_date: date
    split_from: Annotated[float, Meta(gt=0)]
    split_to: Annotated[float, Meta(gt=0)]


class Splits(Struct):
    results: list[_Split]


class _Ticker(Struct, gc=False):
    ticker: str
    base_currency_symbol: str = ""
    currency_symbol: str = ""


class Tickers(Struct, gc=False):
    results: list[_Ticker]
