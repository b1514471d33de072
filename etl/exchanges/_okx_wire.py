"""What OKX sends, in its own names, and what becomes of it.

Numbers are texts without exponents, times ms as text, ``seqId`` and ``checksum`` integers. Identity: trades ``tradeId``
(the stream's, the history's and the archive's are one), aggregates their last ``tradeId``, quotes ``seqId``, books
``channel/d|s/seqId``, bars ``interval/start``. An id that comes again after a maintenance has another key time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream
from etl.adapter.contract import Fault, FaultCode, FaultKind, Ignored
from etl.adapter.dispatch import Reader
from etl.adapter.fields import INT64_MAX, FieldFault, Id
from etl.model import records
from etl.model.codes import Code
from etl.model.instruments import Instrument
from etl.model.records import BarState, BookAction, Frame, Side
from etl.model.times import NS_PER_MS

LIMIT_WAIT_S = 2.0
"""After too many requests; no answer says how long."""
BOOK, LIQUIDATIONS = "books", "liquidation-orders"
Level = tuple[str, str, str, str]
"""Price, size, a dead "0", number of orders."""
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_CONDITIONS = {"1": ("rpi",)}
"""By ``source``: the maker was a retail price improvement order."""
_STATES = {"0": BarState.OPEN, "1": BarState.CLOSED}


class Trade(Struct, gc=False):
    instId: str
    tradeId: str
    px: str
    sz: str
    side: Literal["buy", "sell"]
    ts: str
    count: str = "1"
    source: str = ""


class Book(Struct, gc=False):
    asks: list[Level]
    bids: list[Level]
    ts: str
    seqId: Id | None = None
    prevSeqId: Annotated[int, Meta(ge=-1, le=INT64_MAX)] | None = None
    checksum: int = 0


class Bar(Struct, array_like=True, gc=False):
    ts: str
    open: str
    high: str
    low: str
    close: str
    vol: str
    volCcy: str
    volCcyQuote: str
    confirm: Literal["0", "1"]


class MarkPrice(Struct, gc=False):
    instId: str
    markPx: str
    ts: str


class FundingRate(Struct, gc=False):
    instId: str
    fundingRate: str
    fundingTime: str
    ts: str


class OpenInterest(Struct, gc=False):
    instId: str
    oi: str
    ts: str


class Liquidation(Struct, gc=False):
    """One of the ``details`` of an instrument."""

    side: Literal["buy", "sell"]
    bkPx: str
    sz: str
    ts: str
    posSide: str = ""


def read_trade(frame: Frame, index: int, event: Trade, stream: Stream) -> records.Trade:
    """``{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy","source":"0",
    "ts":"1630048897897"}``: ``side`` is the taker's. Rows of the history are the same."""
    build.require_same(stream, event.instId)
    price, size = fields.two(event.px, event.sz)
    number = fields.whole(event.tradeId)
    return build.trade(
        stream, frame, index, time_of(event.ts), price, size, _SIDES[event.side], str(number), number,
        conditions=_CONDITIONS.get(event.source, ()),
    )  # fmt: skip


def read_agg_trade(frame: Frame, index: int, event: Trade, stream: Stream) -> records.AggTrade:
    """As a trade, of ``count`` fills of one order at one price; ``tradeId`` is the last of them. Without a count, as
    before October 2023, each is one."""
    build.require_same(stream, event.instId)
    price, size = fields.two(event.px, event.sz)
    last, count = fields.whole(event.tradeId), fields.whole(event.count)
    first = last + 1 - count
    if not 0 <= first <= last:
        raise FieldFault(Code.RANGE_REVERSED, f"{count} trades up to {last}")
    return build.agg_trade(
        stream, frame, index, time_of(event.ts), price, size, _SIDES[event.side], str(last), last,
        first_trade_id=str(first), last_trade_id=str(last), trade_count=count, first_sequence=first,
        conditions=_CONDITIONS.get(event.source, ()),
    )  # fmt: skip


def read_snapshot(frame: Frame, index: int, event: Book, stream: Stream) -> records.Book:
    """``{"asks":[["30249.4","0.5","0","1"]],"bids":[],"ts":"1652459225464","checksum":-914047754,"seqId":15,
    "prevSeqId":-1}``; ``books5`` and an answer have neither checksum nor ``prevSeqId``."""
    return _book(frame, index, event, stream, BookAction.SNAPSHOT, None)


def read_change(frame: Frame, index: int, event: Book, stream: Stream) -> records.Book | Ignored:
    """As a snapshot; size 0 removes. Of a quiet book an empty change comes each minute, of one id and no other. Without
    ids a change proves its place by its checksum, as in May 2022, or not at all."""
    if event.prevSeqId is None and (event.seqId is not None or not event.checksum):
        raise FieldFault(Code.FIELD_MISSING, "a change without prevSeqId")
    if event.seqId is not None and event.seqId == event.prevSeqId and not (event.bids or event.asks):
        return Ignored("keep_alive", index)
    return _book(frame, index, event, stream, BookAction.ABSOLUTE, event.prevSeqId)


def _book(
    frame: Frame, index: int, event: Book, stream: Stream, action: BookAction, previous: int | None
) -> records.Book:
    return build.book(
        stream, frame, index, action, time_of(event.ts), fields.columns(event.bids), fields.columns(event.asks),
        event.seqId, previous_sequence=previous, bid_orders=_orders(event.bids), ask_orders=_orders(event.asks),
    )  # fmt: skip


def read_quote(frame: Frame, index: int, event: Book, stream: Stream) -> records.Quote:
    """``{"asks":[["111.06","55154","0","2"]],"bids":[["111.05","57745","0","2"]],"ts":"1670324386802",
    "seqId":363996337}``: a side without orders is empty. A quiet one is repeated each minute under its id."""
    (bid, bid_size), (ask, ask_size) = _best(event.bids), _best(event.asks)
    place = f"{frame.connection_id}/{frame.frame_sequence}/{index}"
    key = place if event.seqId is None else str(event.seqId)
    return build.quote(
        stream, frame, index, key, time_of(event.ts), bid, bid_size, ask, ask_size, event.seqId
    )


def _best(levels: Sequence[Level]) -> Sequence[str | None]:
    return fields.two(*levels[0][:2]) if levels else (None, None)


def _orders(levels: Sequence[Level]) -> tuple[int, ...]:
    return tuple([fields.whole(level[3]) for level in levels])


def read_bar(frame: Frame, index: int, row: Bar, stream: Stream) -> records.Bar:
    """``["1786540440000","63913.0","63951.8","63913.0","63951.8","1803.61","18.0361","1153203.99426000","0"]``: start,
    open, high, low, close, volume (of contracts, where there are any), in coin, in quote, whether it is over."""
    *prices, volume, quote_volume = fields.decimals(
        row.open, row.high, row.low, row.close, row.vol, row.volCcyQuote
    )
    return build.bar(
        stream, frame, index, time_of(row.ts), _STATES[row.confirm], prices, volume, quote_volume=quote_volume
    )


def read_mark_price(frame: Frame, index: int, event: MarkPrice, stream: Stream) -> records.Stats:
    """``{"instType":"SWAP","instId":"BTC-USDT-SWAP","markPx":"42310.6","ts":"1630049139746"}``."""
    build.require_same(stream, event.instId)
    (mark_price,) = fields.decimals(event.markPx)
    return build.stats(stream, frame, index, time_of(event.ts), mark_price, mark_price=mark_price)


def read_funding_rate(frame: Frame, index: int, event: FundingRate, stream: Stream) -> records.Stats:
    """``{"instId":"BTC-USD-SWAP","fundingRate":"0.00018","fundingTime":"1700726400000","nextFundingTime":
    "1700755200000","ts":"1700724675402",…}``: the rate is due at ``fundingTime``; ``next…`` is the one after."""
    build.require_same(stream, event.instId)
    (rate,), due_ns = fields.decimals(event.fundingRate), time_of(event.fundingTime)
    content = f"{rate}/{due_ns}"
    return build.stats(
        stream, frame, index, time_of(event.ts), content, funding_rate=rate, next_funding_ns=due_ns
    )


def read_open_interest(frame: Frame, index: int, event: OpenInterest, stream: Stream) -> records.Stats:
    """``{"instId":"LTC-USD-SWAP","oi":"5000","oiCcy":"555.55","oiUsd":"50000","ts":"1743041250440",…}``: contracts, in
    coin, in dollars."""
    build.require_same(stream, event.instId)
    (interest,) = fields.decimals(event.oi)
    return build.stats(stream, frame, index, time_of(event.ts), interest, open_interest=interest)


def read_liquidation(frame: Frame, index: int, event: Liquidation, stream: Stream) -> records.Liquidation:
    """``{"side":"buy","posSide":"short","bkPx":"0.007831","sz":"13","bkLoss":"0","ccy":"","ts":"1692266434010"}``: the
    side of the order that closed the position, at its bankruptcy price."""
    price, size = fields.two(event.bkPx, event.sz)
    return build.liquidation(
        stream, frame, index, time_of(event.ts), price=price, size=size, side=_SIDES[event.side],
        content=f"{event.side}/{price}/{size}/{event.posSide}",
    )  # fmt: skip


def time_of(text: str) -> int:
    return fields.time_ns(fields.whole(text), NS_PER_MS)


class _Instrument(Struct, gc=False):
    instId: str
    tickSz: str = ""
    lotSz: str = ""
    expTime: str = ""
    settleCcy: str = ""
    ctVal: str = ""
    state: str = ""
    listTime: str = ""


class _Instruments(Struct, gc=False):
    code: str
    data: list[_Instrument]


def read_instruments(payload: bytes) -> list[Instrument]:
    """``{"code":"0","data":[{"instId":"BTC-USDT-SWAP","tickSz":"0.1","lotSz":"0.01",…}],"msg":""}``. Raises
    ``ValueError``."""
    listed = fields.listing(payload, _Instruments)
    if listed.code != "0":
        raise ValueError(f"code {listed.code}")
    return [
        Instrument(
            one.instId,
            unified(one.instId),
            one.tickSz,
            one.lotSz,
            expires_ns=_told_ns(one.expTime),
            settle=one.settleCcy,
            contract_size=one.ctVal,
            status=one.state,
            listed_ns=_told_ns(one.listTime),
        )
        for one in listed.data
    ]


def _told_ns(text: str) -> int:
    return time_of(text) if text.strip("0") else 0


def unified(venue_symbol: str) -> str:
    """``BTC-USD_UM-SWAP`` → ``BTC-USD_UM-PERP``, ``BTC-USD-261225-50000-C`` → ``BTC-USD-20261225-50000-C``."""
    base, quote, *end = venue_symbol.split("-")
    if end and end[0].isdecimal() and len(end[0]) == 6:
        end[0] = f"20{end[0]}"
    return "-".join((base, quote, *("PERP" if part == "SWAP" else part for part in end)))


def interval_of(channel: str) -> str:
    """Of candles: ``candle1H`` → ``1h``, ``candle1Dutc`` → ``1d``; "" of others. What opens at midnight in Hong Kong
    is no day of ours and keeps the venue's spelling, ``1D``; so do months."""
    found = _CANDLE.fullmatch(channel)
    if found is None:
        return ""
    length, zone = found[1], found[2]
    opens_anywhere_alike = length[-1] in "smH" and length not in ("6H", "12H")
    is_ours = opens_anywhere_alike or (zone and length[-1] != "M")
    return length.lower() if is_ours else length + zone


def reader_of(channel: str, action: str) -> Reader | None:
    if action:
        return _BOOKS.get(action) if channel == BOOK else None
    return READERS.get("candle" if interval_of(channel) else channel)


def ignored_as(channel: str) -> str:
    """The name under which a channel is left aside, "" = it is not."""
    return _IGNORED.get(channel) or next(
        (name for start, name in _IGNORED_FAMILIES.items() if channel.startswith(start)), ""
    )


def fault(code: str, reason: str) -> Fault:
    """https://www.okx.com/docs-v5/en/#error-code; what is not listed here calls what we asked wrong."""
    kind = _FAULTS.get(code, FaultKind.REQUEST)
    return Fault(kind, code, reason, LIMIT_WAIT_S if kind is FaultKind.RATE_LIMIT else 0.0)


_CANDLE = re.compile(r"candle([0-9]{1,2}[smHDWM])(utc|)")
_FAULTS = {
    **dict.fromkeys(("63999", "64007", "50001", "50004", "50005", "50013", "50026"), FaultKind.TRANSIENT),
    **dict.fromkeys(map(str, range(60_004, 60_008)), FaultKind.AUTHENTICATION),
    **dict.fromkeys(("60009", "60024", "60026", "60031", "60032"), FaultKind.AUTHENTICATION),
    **dict.fromkeys(map(str, (*range(50_100, 50_115), 50_119)), FaultKind.AUTHENTICATION),
    **dict.fromkeys(("60011", "64003", "50030", "50035"), FaultKind.ENTITLEMENT),
    **dict.fromkeys(("60014", "60023", "50011", "50040"), FaultKind.RATE_LIMIT),
    "channel-conn-count-error": FaultKind.SUBSCRIPTION_LIMIT,
}  # fmt: skip
COLUMNS = ("instId", "tradeId", "side", "px", "sz", "ts", "source")
"""Of a daily file of trades; the last since 2026."""
HEADERS = (b"instrument_name", b"trade_id")
"""How the first line begins, some with Chinese words behind."""
FAULT_CODES = (
    FaultCode(429, FaultKind.TRANSIENT, "50013"),  # the venue is busy; otherwise we ask too often
    FaultCode(429, FaultKind.RATE_LIMIT, wait_s=LIMIT_WAIT_S),
    FaultCode(410, FaultKind.TRANSIENT),
    FaultCode(1009, FaultKind.REQUEST),
    FaultCode(4001, FaultKind.AUTHENTICATION),
    FaultCode(4002, FaultKind.REQUEST),
    FaultCode(4003, FaultKind.SUBSCRIPTION_LIMIT),
    FaultCode(4004, FaultKind.TRANSIENT),  # nothing was sent for 30 s
    FaultCode(4005, FaultKind.SLOW_CLIENT),
    FaultCode(4006, FaultKind.TRANSIENT),
    FaultCode(4007, FaultKind.AUTHENTICATION),
    FaultCode(4008, FaultKind.SUBSCRIPTION_LIMIT),
    FaultCode(4009, FaultKind.SUBSCRIPTION_LIMIT),
)
TRADES, _CANDLES = Reader(Trade, read_trade), Reader(Bar, read_bar)
_SNAPSHOT = Reader(Book, read_snapshot)
_BOOKS = {"snapshot": _SNAPSHOT, "update": Reader(Book, read_change)}
"""By the action."""
READERS = {
    "trades-all": TRADES,
    "trades": Reader(Trade, read_agg_trade),
    "bbo-tbt": Reader(Book, read_quote),
    "books5": _SNAPSHOT,
    "candle": _CANDLES,
    "mark-price": Reader(MarkPrice, read_mark_price),
    "funding-rate": Reader(FundingRate, read_funding_rate),
    "open-interest": Reader(OpenInterest, read_open_interest),
    LIQUIDATIONS: Reader(Liquidation, read_liquidation),
}
ANSWERS = {
    "trades": ("trades-all", TRADES),
    "history-trades": ("trades-all", TRADES),
    "candles": ("candle", _CANDLES),
    "history-candles": ("candle", _CANDLES),
    "books": (BOOK, _SNAPSHOT),
}
"""By the last part of the path: the channel whose facts the rows are (that of candles goes on with the bar)."""
_IGNORED = {
    "tickers": "24h_statistics",
    **dict.fromkeys(("instruments", "status", "price-limit", "estimated-price", "adl-warning"), "instrument_state"),
    "opt-summary": "greeks",
    "index-tickers": "index",
    **dict.fromkeys(("books-rpi", "books-elp"), "rpi_book"),
    **dict.fromkeys(("public-block-trades", "public-struc-block-trades", "block-tickers"), "other_market"),
}  # fmt: skip
_IGNORED_FAMILIES = {"sprd-": "other_market", "index-candle": "index", "mark-price-candle": "index"}
