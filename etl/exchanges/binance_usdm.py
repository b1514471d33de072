"""Binance USD-M futures: spot's protocol with the exchange's own time ``T``, back-pointers, and two streams more.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

Since 2026-04-23 a connection carries the streams of one group only, ``/public/stream`` or ``/market/stream``; those of
the other group are mute on it, and on the old ``/stream`` all of ``market`` are.

``@trade`` is served but undocumented: its ids also count insurance fund and ADL prints (``X``), which the
history may never return.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, Literal

from msgspec import Struct
from msgspec.structs import replace

from etl.adapter import build
from etl.adapter.build import Stream
from etl.adapter.contract import Budget, Channel, SequenceRule
from etl.adapter.dispatch import Endpoint, Reader
from etl.adapter.fields import Id, decimals, ms_or_us_ns
from etl.exchanges import _binance_wire as wire
from etl.exchanges import binance as spot
from etl.exchanges.binance import Binance
from etl.model.records import Frame, Kind, Liquidation, Side, Stats


class _Trade(wire.StreamTrade, gc=False, tag_field="e", tag="trade"):
    X: str = "MARKET"


class _Quote(wire.StreamQuote, gc=False, tag_field="e", tag="bookTicker"):
    T: int
    E: int


class _Depth(wire.Depth, gc=False, tag_field="e", tag="depthUpdate"):
    T: int
    pu: Id


class _Snapshot(wire.Snapshot, gc=False):
    T: int
    E: int


class _MarkPrice(Struct, gc=False, tag_field="e", tag="markPriceUpdate"):
    E: int
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
    T: int


class _ForceOrder(Struct, gc=False, tag_field="e", tag="forceOrder"):
    E: int
    o: _Order


def _read_mark_price(frame: Frame, index: int, event: _MarkPrice, stream: Stream) -> Stats:
    """``{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","i":"11784.62","P":"11784.25",
    "r":"0.00038167","T":1562306400000}``; dated contracts have no funding: ``r`` "" and ``T`` 0."""
    if event.s != stream.venue_symbol:
        wire.mismatch(stream, event.s)
    mark_price, index_price = decimals(event.p, event.i)
    funding_rate = decimals(event.r)[0] if event.r else None
    time_ns, next_ns = ms_or_us_ns(event.E), ms_or_us_ns(event.T) if event.T else 0
    return build.stats(
        stream, frame, index, time_ns, mark_price=mark_price,
        index_price=index_price, funding_rate=funding_rate, next_funding_ns=next_ns,
        content=f"{mark_price}/{index_price}/{funding_rate or ''}/{next_ns}",
    )  # fmt: skip


def _read_force_order(frame: Frame, index: int, event: _ForceOrder, stream: Stream) -> Liquidation:
    """``{"e":"forceOrder","E":…,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910",
    "ap":"9910","X":"FILLED","l":"0.014","z":"0.014","T":1568014460893}}``: the liquidation order; its side is the
    taker's. No id, and only the largest of each second is sent."""
    order = event.o
    if order.s != stream.venue_symbol:
        wire.mismatch(stream, order.s)
    price, size = decimals(order.p, order.q)
    time_ns = ms_or_us_ns(order.T)
    return build.liquidation(
        stream, frame, index, time_ns, price=price, size=size,
        side=Side[order.S], publish_ns=ms_or_us_ns(event.E),
        content=f"{order.S}/{price}/{size}/{order.X}/{order.z}",
    )  # fmt: skip


class BinanceUsdm(Binance):
    name: ClassVar[str] = "binance_usdm"
    websocket_url = "wss://fstream.binance.com"
    rest_url = "https://fapi.binance.com"
    channels = (
        *(replace(channel, socket="public") for channel in Binance.channels[:2]),
        Channel("depth@100ms", Kind.BOOK, SequenceRule.BACK_POINTER, None, 60.0, "depth", socket="public"),
        *(replace(channel, socket="market") for channel in Binance.channels[3:]),
        Channel("markPrice@1s", Kind.STATS, SequenceRule.NONE, None, 60.0, "markPrice", socket="market"),
        Channel("forceOrder", Kind.LIQUIDATION, SequenceRule.NONE, None, 0.0, socket="market"),
    )
    default_channels = ("trade", "bookTicker", "depth@100ms", "kline_1m", "markPrice@1s", "forceOrder")
    ignored_names: ClassVar[Mapping[str, str]] = {
        **Binance.ignored_names,
        "contract_info": "listing, settlement and bracket changes",
        "index": "composite and multi-assets index prices",
    }
    untimed_kinds = frozenset()
    messages_per_s = 10.0
    budgets = (Budget(2_400, 60.0),)
    instruments_path = "/fapi/v1/exchangeInfo"

    archive_folder = "/data/futures/um/daily"
    history_path = "/fapi/v1"
    ignored_events = {
        **Binance.ignored_events,
        "contractInfo": "contract_info",
        "compositeIndex": "index",
        "assetIndexUpdate": "index",
    }
    event_readers = {
        **Binance.event_readers,
        "trade": Reader(_Trade, wire.read_trade, "trade"),
        "bookTicker": Reader(_Quote, wire.read_quote, "bookTicker"),
        "depth": Reader(_Depth, wire.read_depth, "depthUpdate"),
        "depthN": Reader(_Depth, wire.read_depth, "depthUpdate"),
        "markPrice": Reader(_MarkPrice, _read_mark_price, "markPriceUpdate"),
        "forceOrder": Reader(_ForceOrder, _read_force_order, "forceOrder"),
    }
    endpoints = {
        "depth": Endpoint("depth", Reader(_Snapshot, wire.read_snapshot), 20, spot.DEPTH_LIMIT),
        "trades": Endpoint("trade", spot.TRADES, 5, spot.PAGE_ROWS),
        "historicalTrades": Endpoint("trade", spot.TRADES, 20, 500, spot.TRADE_PAGES),
        "aggTrades": Endpoint("aggTrade", spot.AGG_TRADES, 20, spot.PAGE_ROWS, spot.AGG_TRADE_PAGES),
        "klines": Endpoint("kline_", spot.KLINES, 5, spot.PAGE_ROWS, spot.KLINE_PAGES),
    }

    @staticmethod
    def unified_symbol(item: wire.InstrumentItem) -> str:
        pair = f"{item.baseAsset}-{item.quoteAsset}"
        if "PERPETUAL" in item.contractType:
            return f"{pair}-PERP"
        return f"{pair}-{datetime.fromtimestamp(item.deliveryDate // 1_000, UTC):%Y%m%d}"
