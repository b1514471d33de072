"""MEXC contracts: wire types and what they are as records. Numbers come as JSON numbers, some with exponents."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream
from etl.adapter.fields import ABSENT, Columns, ContentCounts, DecimalTexts, Id, Name
from etl.model.codes import Code
from etl.model.records import Bar, BarState, Book, BookAction, Frame, Side, Stats, Trade
from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns

SIDES = {1: Side.BUY, 2: Side.SELL}
Level = tuple[Raw, Raw, Raw]
"""Price, contracts, orders; no contracts removes it."""
_decimal_texts = DecimalTexts()


class Message(Struct, gc=False):
    """``{"symbol":"BTC_USDT","data":…,"channel":"push.deal","ts":1755487578276}``"""

    channel: str
    data: Raw = ABSENT
    symbol: str = ""
    ts: int = 0


class Sent(Struct, frozen=True, gc=False):
    """What holds for all events of a message; ``ts`` in ms, 0 = not told."""

    stream: Stream
    contents: ContentCounts
    ts: int = 0


class Deal(Struct, gc=False):
    """``{"p":115309.8,"v":55,"T":2,"O":3,"M":1,"t":1755487578276,"i":"13064218826","cts":"1755487578276"}``"""

    p: Raw
    v: Raw
    T: int
    t: int
    i: str = ""


class Depth(Struct, gc=False):
    """``{"asks":[[6859.5,3251,1]],"bids":[],"begin":8752807948,"end":8752808003,"version":8752808003}``"""

    version: Id
    asks: list[Level]
    bids: list[Level]
    begin: Id | None = None
    end: Id | None = None
    cts: int | None = None
    timestamp: int | None = None


class Ticker(Struct, gc=False):
    """``{"fairPrice":6867.4,"fundingRate":0.0008,"indexPrice":6861.6,"holdVol":2284742,"timestamp":1587442022003,…}``"""

    timestamp: int
    fairPrice: Raw = ABSENT
    indexPrice: Raw = ABSENT
    holdVol: Raw = ABSENT
    fundingRate: Raw = ABSENT


class Price(Struct, gc=False):
    """``{"price":0.001,"symbol":"BTC_USDT"}``"""

    price: Raw


class Funding(Struct, gc=False):
    """``{"rate":0.001,"symbol":"BTC_USDT","nextSettleTime":1587442022000}``"""

    rate: Raw
    nextSettleTime: int = 0


class Kline(Struct, gc=False):
    """``{"a":233.740269343644737245,"c":6885,"h":6910.5,"interval":"Min60","l":6885,"o":6894.5,"q":1611754,"t":1587448800}``"""

    t: int
    o: Raw
    h: Raw
    l: Raw  # noqa: E741
    c: Raw
    q: Raw
    a: Raw
    interval: str = ""


class Klines(Struct, gc=False):
    """Columns of a page."""

    time: list[int]
    open: list[Raw]
    high: list[Raw]
    low: list[Raw]
    close: list[Raw]
    vol: list[Raw]
    amount: list[Raw]


class Answer(Struct, gc=False):
    success: bool
    code: int = 0
    data: Raw = ABSENT
    message: str = ""


class Item(Struct, gc=False):
    symbol: Name
    baseCoin: Name
    quoteCoin: Name
    priceUnit: Raw = ABSENT
    volUnit: Raw = ABSENT
    settleCoin: str = ""
    contractSize: Raw = ABSENT
    """Of the base; of a contract that is paid in its coin, dollars."""
    state: int | None = None


class Listing(Struct, gc=False):
    data: list[Item]


def read_deal(frame: Frame, index: int, event: Deal, sent: Sent) -> Trade:
    """Not every source tells ``i``: the content is the identity, and ``i`` only its order."""
    price, size = number(event.p), number(event.v)
    stream, side = sent.stream, SIDES.get(event.T, Side.NONE)
    content = f"{event.t}/{fields.canonical(price)}/{fields.canonical(size)}/{side.name.lower()}"
    key = sent.contents.key(stream.venue_symbol, content)
    sequence = int(event.i) if event.i.isascii() and event.i.isdecimal() and len(event.i) < 19 else None
    time_ns = fields.time_ns(event.t, NS_PER_MS)
    return build.trade(
        stream, frame, index, time_ns, price, size, side, event.i, sequence, _ms(sent.ts), key=key
    )


def read_depth(frame: Frame, index: int, event: Depth, sent: Sent) -> Book:
    """Merged messages span ``begin`` to ``end``; single ones are their version."""
    last = event.end or event.version
    return _book(frame, index, event, sent, BookAction.ABSOLUTE, last, event.begin or last)


def read_full_depth(frame: Frame, index: int, event: Depth, sent: Sent) -> Book:
    return _book(frame, index, event, sent, BookAction.SNAPSHOT, event.version)


def _book(
    frame: Frame,
    index: int,
    event: Depth,
    sent: Sent,
    action: BookAction,
    last: int,
    first: int | None = None,
) -> Book:
    time_ms = event.cts or event.timestamp or sent.ts
    return build.book(
        sent.stream, frame, index, action, _ms(time_ms), _columns(event.bids), _columns(event.asks), last, first,
        publish_ns=_ms(sent.ts), bid_orders=_orders(event.bids), ask_orders=_orders(event.asks),
    )  # fmt: skip


def read_ticker(frame: Frame, index: int, event: Ticker, sent: Sent) -> Stats:
    mark, index_price, interest, rate = (
        _decimal_texts[bytes(raw)]
        for raw in (event.fairPrice, event.indexPrice, event.holdVol, event.fundingRate)
    )
    content = "/".join(text or "" for text in (mark, index_price, interest, rate))
    time_ns = fields.time_ns(event.timestamp, NS_PER_MS)
    return build.stats(sent.stream, frame, index, time_ns, content, mark, index_price, interest, rate)


def read_fair_price(frame: Frame, index: int, event: Price, sent: Sent) -> Stats:
    price = number(event.price)
    return build.stats(sent.stream, frame, index, fields.time_ns(sent.ts, NS_PER_MS), price, price)


def read_index_price(frame: Frame, index: int, event: Price, sent: Sent) -> Stats:
    price = number(event.price)
    return build.stats(
        sent.stream, frame, index, fields.time_ns(sent.ts, NS_PER_MS), price, index_price=price
    )


def read_funding(frame: Frame, index: int, event: Funding, sent: Sent) -> Stats:
    rate, next_ns = number(event.rate), _ms(event.nextSettleTime)
    return build.stats(
        sent.stream, frame, index, fields.time_ns(sent.ts, NS_PER_MS), f"{rate}/{next_ns}",
        funding_rate=rate, next_funding_ns=next_ns,
    )  # fmt: skip


def read_kline(frame: Frame, index: int, event: Kline, sent: Sent) -> Bar:
    """That it is over only a clock says: the venue's, or ours where a page tells no time."""
    start_ns, length_ns = fields.time_ns(event.t, NS_PER_S), interval_ns(sent.stream.interval)
    now_ns = _ms(sent.ts) or frame.receive_time_ns
    is_over = length_ns and start_ns + length_ns <= now_ns
    return build.bar(
        sent.stream, frame, index, start_ns, BarState.CLOSED if is_over else BarState.OPEN,
        [number(raw) for raw in (event.o, event.h, event.l, event.c)], number(event.q),
        quote_volume=number(event.a), publish_ns=_ms(sent.ts),
    )  # fmt: skip


def rows_of_klines(data: Raw) -> list[Kline]:
    page = msgspec.json.decode(data, type=Klines)
    columns = (page.time, page.open, page.high, page.low, page.close, page.vol, page.amount)
    if len({len(column) for column in columns}) > 1:
        raise fields.FieldFault(Code.LEVELS_UNEVEN, "columns of a page differ in length")
    return [Kline(*row) for row in zip(*columns, strict=True)]


def number(raw: Raw) -> str:
    """Its plain decimal text. Raises ``FieldFault`` for what is none."""
    text = _decimal_texts[bytes(raw)]
    if text is None:
        raise fields.FieldFault(Code.FIELD_MISSING, f"no number: {bytes(raw)[:40]!r}")
    return text


def _columns(levels: list[Level]) -> Columns:
    return tuple(number(level[0]) for level in levels), tuple(number(level[1]) for level in levels)


def _orders(levels: list[Level]) -> tuple[int, ...]:
    counts = [bytes(level[2]) for level in levels]
    if not all(text.isdigit() and len(text) < 10 for text in counts):
        raise fields.FieldFault(Code.FIELD_MALFORMED, "a number of orders that is none")
    return tuple(map(int, counts))


def _ms(count: int) -> int:
    return fields.time_ns(count, NS_PER_MS) if count else 0
