"""Binance USD-M futures: spot's protocol with the exchange's own time ``T``, back-pointers, and two streams more.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

``@trade`` is served but undocumented: its ids also count insurance fund and ADL prints (``X``), which the
history may never return.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, Literal

from msgspec import Struct

from etl.adapter.contract import Budget, Channel, SequenceRule
from etl.exchanges.binance import (
    Binance,
    InstrumentItem,
    Reader,
    Stream,
    WireId,
    WireLevels,
    WireQuote,
    WireTime,
    WireTrade,
    decimals,
    key_time,
    mismatch,
    nanoseconds,
)
from etl.model.records import BookAction, Frame, Kind, Liquidation, Record, Side, SizeUnit, Stats
from etl.model.times import NS_PER_MINUTE


class BinanceUsdm(Binance):
    name: ClassVar[str] = "binance_usdm"
    websocket_url = "wss://fstream.binance.com"
    rest_url = "https://fapi.binance.com"
    channels = (
        Channel("trade", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 60.0),
        Channel("bookTicker", Kind.QUOTE, SequenceRule.RISING, None, 60.0),
        Channel("depth@100ms", Kind.BOOK, SequenceRule.BACK_POINTER, None, 60.0, family="depth"),
        Channel(
            "kline_1m",
            Kind.BAR,
            SequenceRule.INTERVAL,
            Kind.BAR,
            180.0,
            family="kline",
            interval_ns=NS_PER_MINUTE,
        ),
        Channel("aggTrade", Kind.AGG_TRADE, SequenceRule.CONTIGUOUS, Kind.AGG_TRADE, 60.0),
        Channel("markPrice@1s", Kind.STATS, SequenceRule.NONE, None, 60.0, family="markPrice"),
        Channel("forceOrder", Kind.LIQUIDATION, SequenceRule.NONE, None, 0.0),
    )
    default_channels = ("trade", "bookTicker", "depth@100ms", "kline_1m", "markPrice@1s", "forceOrder")
    ignored_names: ClassVar[Mapping[str, str]] = {
        **Binance.ignored_names,
        "contract_info": "listing, settlement and bracket changes",
        "index": "composite and multi-assets index prices",
    }
    untimed_kinds = frozenset()
    budgets = (Budget(2_400, 60.0),)
    instruments_path = "/fapi/v1/exchangeInfo"

    archive_folder = "/data/futures/um/daily"
    history_path = "/fapi/v1"
    weights: ClassVar[Mapping[str, int]] = {
        "depth": 20,
        "historicalTrades": 20,
        "aggTrades": 20,
        "klines": 5,
    }
    page_rows: ClassVar[Mapping[str, int]] = {"historicalTrades": 500}
    ignored_events = {
        **Binance.ignored_events,
        "contractInfo": "contract_info",
        "compositeIndex": "index",
        "assetIndexUpdate": "index",
    }

    @staticmethod
    def unified_symbol(item: InstrumentItem) -> str:
        pair = f"{item.baseAsset}-{item.quoteAsset}"
        if "PERPETUAL" in item.contractType:
            return f"{pair}-PERP"
        return f"{pair}-{datetime.fromtimestamp(item.deliveryDate // 1_000, UTC):%Y%m%d}"

    def event_readers(self) -> dict[str, Reader]:
        return super().event_readers() | {
            "trade": Reader(_Trade, self._trade, "trade"),
            "bookTicker": Reader(_Quote, self._quote, "bookTicker"),
            "depth": Reader(_Depth, self._futures_depth, "depthUpdate"),
            "depthN": Reader(_Depth, self._partial_depth, "depthUpdate"),
            "markPrice": Reader(_MarkPrice, self._mark_price, "markPriceUpdate"),
            "forceOrder": Reader(_ForceOrder, self._force_order, "forceOrder"),
        }

    def answer_readers(self) -> dict[str, Reader]:
        return super().answer_readers() | {"depth": Reader(_Snapshot, self._futures_snapshot)}

    def _futures_depth(self, frame: Frame, stream: Stream, event: _Depth, index: int) -> Record:
        """``{"e":"depthUpdate","E":…,"T":…,"s":"BTCUSDT","U":5123107832006,"u":5123107837557,
        "pu":5123107831937,"b":[["58710.20","0.014"]],"a":[]}``: ``pu`` is the previous event's ``u``."""
        return self._futures_book(frame, stream, event, index, BookAction.ABSOLUTE)

    def _partial_depth(self, frame: Frame, stream: Stream, event: _Depth, index: int) -> Record:
        """``depth5@100ms``: the same fields, yet the whole of the best levels each time."""
        return self._futures_book(frame, stream, event, index, BookAction.SNAPSHOT)

    def _futures_book(
        self, frame: Frame, stream: Stream, event: _Depth, index: int, action: BookAction
    ) -> Record:
        if event.s != stream.venue_symbol:
            mismatch(stream, event.s)
        times = nanoseconds(event.T), nanoseconds(event.E)
        sequences = event.u, event.U, event.pu
        return self._book(frame, stream, index, action, (event.b, event.a), times, *sequences)

    def _futures_snapshot(self, frame: Frame, stream: Stream, answer: _Snapshot, index: int) -> Record:
        """``/fapi/v1/depth``: ``{"lastUpdateId":5123107852948,"E":…,"T":…,"bids":[["61800.20","2.909"]],…}``"""
        times = nanoseconds(answer.T), nanoseconds(answer.E)
        levels = answer.bids, answer.asks
        return self._book(frame, stream, index, BookAction.SNAPSHOT, levels, times, answer.lastUpdateId)

    def _mark_price(self, frame: Frame, stream: Stream, event: _MarkPrice, index: int) -> Record:
        """``{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","i":"11784.62","P":"11784.25",
        "r":"0.00038167","T":1562306400000}``; dated contracts have no funding: ``r`` "" and ``T`` 0."""
        if event.s != stream.venue_symbol:
            mismatch(stream, event.s)
        mark_price, index_price = decimals(event.p, event.i)
        funding_rate = decimals(event.r)[0] if event.r else None
        time_ns = nanoseconds(event.E)
        next_funding_ns = nanoseconds(event.T) if event.T else 0
        content = _digest(mark_price, index_price, funding_rate, str(next_funding_ns))
        return Stats(
            exchange=self.name,
            symbol=stream.symbol,
            venue_symbol=stream.venue_symbol,
            channel=stream.channel,
            event_time_ns=time_ns,
            receive_time_ns=frame.receive_time_ns,
            source=frame.source,
            connection_id=frame.connection_id,
            frame_sequence=frame.frame_sequence,
            frame_index=index,
            record_key=f"{stream.channel}/{time_ns}/{content}",
            key_time_ns=key_time(time_ns),
            parser_version=self.parser_version,
            flags=stream.flags,
            mark_price=mark_price,
            index_price=index_price,
            funding_rate=funding_rate,
            next_funding_time_ns=next_funding_ns,
        )

    def _force_order(self, frame: Frame, stream: Stream, event: _ForceOrder, index: int) -> Record:
        """``{"e":"forceOrder","E":…,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910",
        "ap":"9910","X":"FILLED","l":"0.014","z":"0.014","T":1568014460893}}``: the liquidation order; its side is
        the taker's. No id, and only the largest of each second is sent."""
        order = event.o
        if order.s != stream.venue_symbol:
            mismatch(stream, order.s)
        price, size = decimals(order.p, order.q)
        time_ns = nanoseconds(order.T)
        content = _digest(order.S, price, size, order.X, order.z)
        return Liquidation(
            exchange=self.name,
            symbol=stream.symbol,
            venue_symbol=stream.venue_symbol,
            channel=stream.channel,
            event_time_ns=time_ns,
            receive_time_ns=frame.receive_time_ns,
            source=frame.source,
            connection_id=frame.connection_id,
            frame_sequence=frame.frame_sequence,
            frame_index=index,
            record_key=f"{stream.channel}/{time_ns}/{content}",
            key_time_ns=key_time(time_ns),
            parser_version=self.parser_version,
            publish_time_ns=nanoseconds(event.E),
            flags=stream.flags,
            last_price=price,
            volume=size,
            side=Side[order.S],
            size_unit=SizeUnit.BASE,
        )


def _digest(*parts: str | None) -> str:
    """What tells events of one time apart where the venue gives no id."""
    return hashlib.blake2b("/".join(part or "" for part in parts).encode(), digest_size=8).hexdigest()


# the wire, in the venue's own names


class _Trade(WireTrade, gc=False, tag_field="e", tag="trade"):
    X: str = "MARKET"  # type: ignore[misc]


class _Quote(WireQuote, gc=False, tag_field="e", tag="bookTicker"):
    T: WireTime  # type: ignore[misc]
    E: WireTime  # type: ignore[misc]


class _Depth(Struct, gc=False, tag_field="e", tag="depthUpdate"):
    E: WireTime
    T: WireTime
    s: str
    U: WireId
    u: WireId
    pu: WireId
    b: WireLevels
    a: WireLevels


class _Snapshot(Struct, gc=False):
    lastUpdateId: WireId
    E: WireTime
    T: WireTime
    bids: WireLevels
    asks: WireLevels


class _MarkPrice(Struct, gc=False, tag_field="e", tag="markPriceUpdate"):
    E: WireTime
    s: str
    p: str
    i: str
    r: str = ""
    T: int = 0


class _Order(Struct, gc=False):
    s: str
    S: Literal["BUY", "SELL"]
    q: str
    p: str
    X: str
    z: str
    T: WireTime


class _ForceOrder(Struct, gc=False, tag_field="e", tag="forceOrder"):
    E: WireTime
    o: _Order
