"""What Alpaca sends, in its own names; what becomes of it is in ``_alpaca_readers.py``."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct, field

from etl.adapter.fields import ABSENT, Id

_TradeId = Id | Annotated[str, Meta(pattern="^([0-9A-Za-z][0-9A-Za-z-]*)?$")]


class Event(Struct, gc=False, kw_only=True):
    """As a row of history, whose page tells the symbol."""

    S: str = ""
    t: str


class TradeEvent(Event, gc=False, kw_only=True):
    p: Raw
    s: Raw
    i: _TradeId = ""
    x: str = ""
    c: Raw = ABSENT
    z: str = ""
    tks: str = ""


class PastTrade(TradeEvent, gc=False, kw_only=True):
    u: str = ""


class QuoteEvent(Event, gc=False, kw_only=True):
    bp: Raw = ABSENT
    bs: Raw = ABSENT
    bx: str = ""
    ap: Raw = ABSENT
    ask_size: Raw = field(name="as", default=ABSENT)
    ax: str = ""
    c: Raw = ABSENT
    z: str = ""


class BarEvent(Event, gc=False, kw_only=True):
    o: Raw
    h: Raw
    l: Raw  # noqa: E741
    c: Raw
    v: Raw = ABSENT
    vw: Raw = ABSENT
    n: Id = 0


class Level(Struct, gc=False):
    p: Raw
    s: Raw


class BookEvent(Event, gc=False, kw_only=True):
    b: list[Level] = []
    a: list[Level] = []
    r: bool = False


class CorrectionEvent(Event, gc=False, kw_only=True):
    x: str
    oi: int | str
    ci: int | str
    cp: Raw
    cs: Raw
    cc: Raw = ABSENT
    z: str = ""


class CancelEvent(Event, gc=False, kw_only=True):
    x: str
    i: int | str
    p: Raw = ABSENT
    s: Raw = ABSENT
    a: str = ""
    z: str = ""


class StatusEvent(Event, gc=False, kw_only=True):
    sc: str
    rc: str = ""
    rm: str = ""
    z: str = ""


class BandsEvent(Event, gc=False, kw_only=True):
    u: Raw = ABSENT
    d: Raw = ABSENT
    i: str = ""
    z: str = ""


class PricingEvent(Event, gc=False, kw_only=True):
    mp: Raw = ABSENT
    ip: Raw = ABSENT
    oi: Raw = ABSENT
    fr: Raw = ABSENT
    ft: str = ""


class Control(Struct, gc=False):
    msg: str = ""
    code: int = 0


@cache
def sent(row: type[Event], tag: str) -> type[Struct]:
    """``row`` as the stream sends it: with the name of its type, and never without its symbol."""
    return msgspec.defstruct(
        row.__name__, [("S", str)], bases=(row,), tag_field="T", tag=tag, kw_only=True, gc=False
    )


class Page(Struct, frozen=True, gc=False):
    """What an answer says about all rows of one symbol; nothing for the stream. ``rows`` counts the whole answer's."""

    venue_symbol: str = ""
    rows: int = 0
    interval: str = ""
    flags: tuple[str, ...] = ()
