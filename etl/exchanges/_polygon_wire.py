"""What Polygon sends, in its own names; what becomes of it is in ``_polygon_readers.py``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Raw, Struct, field

from etl.adapter import fields
from etl.adapter.fields import ABSENT, Id
from etl.model.times import NS_PER_MS


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
    dv: Raw = ABSENT
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


class IndexValue(Event, gc=False, kw_only=True, tag_field="ev", tag="V"):
    sent_as: ClassVar[str] = "V"
    sym: str = field(name="T")
    t: int
    val: Raw


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
    start_ns: int = 0
    """Of every bar, where the address tells it."""


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


class _Ticker(Struct, gc=False):
    ticker: str
    base_currency_symbol: str = ""
    currency_symbol: str = ""


class Tickers(Struct, gc=False):
    results: list[_Ticker]
