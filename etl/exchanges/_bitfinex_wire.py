"""What Bitfinex sends, as arrays by position, and what becomes of it. https://docs.bitfinex.com/reference/ws-public-trades

Identity: a trade's id, of books and quotes connection and number, ``interval/start in ns`` of bars, of statistics and
liquidations time and content. Numbers are JSON's, below 1e-6 with an exponent; the sign of an amount is the side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Raw, Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream
from etl.adapter.contract import Ignored, Outcome
from etl.adapter.fields import ABSENT, Columns, FieldFault, Id, Name
from etl.model.codes import REPLAYED, Code
from etl.model.records import Bar, BarState, Book, BookAction, Frame, Quote, Side, Trade
from etl.model.times import NS_PER_MS, interval_ns

Count = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
_decimal_texts = fields.DecimalTexts()


class Stamp(Struct, frozen=True, gc=False):
    """What a frame says of all that is in it: its number on the connection and the venue's time; 0 = it has none."""

    sequence: int = 0
    time_ns: int = 0


class Sent(Struct, frozen=True, gc=False):
    stream: Stream
    stamp: Stamp = Stamp()

    @property
    def time_ns(self) -> int:
        return self.stamp.time_ns

    def key(self, frame: Frame, index: int = 0) -> str:
        """Of what has no id: numbers begin at 1 on each connection."""
        place = str(self.stamp.sequence) if self.stamp.sequence else f"{frame.frame_sequence}/{index}"
        return f"{frame.connection_id}/{place}"


class TradeRow(Struct, gc=False, array_like=True):
    id: Id
    ms: int
    amount: Raw
    price: Raw


class Level(Struct, gc=False, array_like=True):
    price: Raw
    count: Count
    amount: Raw


class Ticker(Struct, gc=False, array_like=True):
    """Sizes are of the 25 best levels together, and so of no level."""

    bid: Raw
    bids_size: Raw
    ask: Raw
    asks_size: Raw


class Candle(Struct, gc=False, array_like=True):
    ms: int
    open: Raw
    close: Raw
    high: Raw
    low: Raw
    volume: Raw


class Status(Struct, gc=False, array_like=True):
    """In 2019 it ended with the funding."""

    ms: int
    place_1: Raw = ABSENT
    last_price: Raw = ABSENT
    spot_price: Raw = ABSENT
    place_4: Raw = ABSENT
    insurance_fund: Raw = ABSENT
    place_6: Raw = ABSENT
    next_funding_ms: int | None = None
    next_funding: Raw = ABSENT
    step: Raw = ABSENT
    place_10: Raw = ABSENT
    funding: Raw = ABSENT
    place_12: Raw = ABSENT
    place_13: Raw = ABSENT
    mark_price: Raw = ABSENT
    place_15: Raw = ABSENT
    place_16: Raw = ABSENT
    open_interest: Raw = ABSENT


class LiquidationRow(Struct, gc=False, array_like=True):
    type: str
    id: Id
    ms: int
    place_3: Raw
    symbol: Name
    amount: Raw
    base_price: Raw
    place_7: Raw
    is_match: int
    is_market_sold: Raw = ABSENT
    place_10: Raw = ABSENT
    price: Raw = ABSENT


def read_trade(frame: Frame, index: int, row: TradeRow, sent: Sent, flags: tuple[str, ...] = ()) -> Trade:
    """``[382489563,1564617600709,0.00705845,10087.98969503]``: an amount above 0 was bought by the taker."""
    size, side = _signed(row.amount)
    return build.trade(
        sent.stream, frame, index, fields.time_ns(row.ms, NS_PER_MS), number(row.price), size, side,
        str(row.id), row.id, sent.time_ns, flags=flags,
    )  # fmt: skip


def read_old_trade(frame: Frame, index: int, row: TradeRow, sent: Sent) -> Trade:
    """Of the 30 that are sent on subscribing."""
    return read_trade(frame, index, row, sent, (REPLAYED,))


def read_book(
    frame: Frame, bids: Sequence[Level], asks: Sequence[Level], action: BookAction, sent: Sent,
    flags: tuple[str, ...] = (),
) -> Book:  # fmt: skip
    """``[60400,1,0.68826974]``: price, number of orders, amount: of bids above 0, of asks below. Without an order the
    level is gone, and the amount says nothing but its side."""
    return build.book(
        sent.stream, frame, 0, action, sent.time_ns, _columns(bids), _columns(asks), key=sent.key(frame), flags=flags,
        bid_orders=tuple([level.count for level in bids]), ask_orders=tuple([level.count for level in asks]),
    )  # fmt: skip


def sides_of(levels: Sequence[Level]) -> tuple[list[Level], list[Level]]:
    """Bids and asks."""
    bids: list[Level] = []
    asks: list[Level] = []
    for level in levels:
        (bids if _signed(level.amount)[1] is Side.BUY else asks).append(level)
    return bids, asks


def _columns(levels: Sequence[Level]) -> Columns:
    sizes = [_signed(level.amount)[0] if level.count else "0" for level in levels]
    return tuple([number(level.price) for level in levels]), tuple(sizes)


def as_written(levels: Sequence[Level]) -> Columns:
    """Prices and sizes with the digits of the frame, of which the venue makes its checksums: ``2e-8``, and the amounts
    of asks below 0."""
    sizes = [_text(level.amount) if level.count else "0" for level in levels]
    return tuple([_text(level.price) for level in levels]), tuple(sizes)


def _text(raw: Raw) -> str:
    return bytes(raw).decode().strip('"')


def read_ticker(frame: Frame, index: int, event: Ticker, sent: Sent) -> Quote:
    """``[0.068965,60157.36709703,0.0774,48578.50804052,0.001969,0.0262,0.076989,101459.39453471,0.0828,0.068961]``, by
    2026 with a null behind: best bid, best ask. An empty side is null."""
    bid, ask = _decimal_texts[bytes(event.bid)], _decimal_texts[bytes(event.ask)]
    return build.quote(sent.stream, frame, index, sent.key(frame, index), sent.time_ns, bid, None, ask, None)


def read_candle(frame: Frame, index: int, row: Candle, sent: Sent, newest_ns: int = 0) -> Bar:
    """``[1364824380000,99.01,99.02,99.03,99.0,10.5]``: open, close, high, low. It is over once a later one
    (``newest_ns``) has begun, or its end has passed by the venue's clock, or by ours where a frame has none."""
    start_ns = fields.time_ns(row.ms, NS_PER_MS)
    length_ns = interval_ns(sent.stream.interval)
    now_ns = sent.time_ns or frame.receive_time_ns
    is_over = start_ns < newest_ns or (length_ns > 0 and start_ns + length_ns <= now_ns)
    prices = [number(raw) for raw in (row.open, row.high, row.low, row.close)]
    return build.bar(
        sent.stream, frame, index, start_ns, BarState.CLOSED if is_over else BarState.OPEN, prices,
        number(row.volume), publish_ns=sent.time_ns,
    )  # fmt: skip


def read_status(frame: Frame, index: int, event: Status, sent: Sent) -> Outcome:
    """``[1596124822000,null,0.896,0.771995,null,1396531.673,null,1596153600000,-0.00013,2,null,-0.00021,null,null,0.7664,
    null,null,246502.1]``: spot price, time of the next funding, funding, mark price, open interest."""
    mark, index_price, interest, funding = (
        _decimal_texts[bytes(raw)]
        for raw in (event.mark_price, event.spot_price, event.open_interest, event.funding)
    )
    next_ns = fields.time_ns(event.next_funding_ms, NS_PER_MS) if event.next_funding_ms else 0
    texts = [text or "" for text in (mark, index_price, interest, funding)]
    if not (any(texts) or next_ns):
        return Ignored("empty", index)
    return build.stats(
        sent.stream, frame, index, fields.time_ns(event.ms, NS_PER_MS), "/".join((*texts, str(next_ns))),
        mark, index_price, interest, funding, next_ns,
    )  # fmt: skip


def read_liquidation(frame: Frame, index: int, row: LiquidationRow, sent: Sent) -> Outcome:
    """``["pos",143683674,1593522802742,null,"tBTCF0:USTF0",0.00268657,9135.97,null,0,1,null,9080]``: a position above 0
    is sold. What comes after it, of the trades that close it, is a match."""
    if row.is_match:
        return Ignored("liquidation_match", index)
    size, side = _signed(row.amount)
    price = number(row.price)
    return build.liquidation(
        sent.stream, frame, index, fields.time_ns(row.ms, NS_PER_MS), price, size,
        Side.SELL if side is Side.BUY else Side.BUY, f"{row.id}/{price}/{size}", sent.time_ns,
    )  # fmt: skip


def number(raw: Raw) -> str:
    """Its plain decimal text. Raises ``FieldFault`` for what is none."""
    text = _decimal_texts[bytes(raw)]
    if text is None:
        raise FieldFault(Code.FIELD_MISSING, "a number that is null")
    return text


def _signed(raw: Raw) -> tuple[str, Side]:
    """The amount without its sign, and what the sign says."""
    text = number(raw)
    if not text.strip("-0."):
        raise FieldFault(Code.FIELD_MALFORMED, "an amount of 0, which is of no side")
    return (text[1:], Side.SELL) if text[0] == "-" else (text, Side.BUY)
