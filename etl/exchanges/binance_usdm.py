"""Binance USD-M futures: spot's protocol with the exchange's own time ``T``, back-pointers, and two streams more.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

Since 2026-04-23 a connection carries the streams of one group only, ``/public/stream`` or ``/market/stream``; those of
the other group are mute on it, and on the old ``/stream`` all of ``market`` are.

``@trade`` is served but undocumented: its ids also count insurance fund and ADL prints (``X``), which the
history may never return, and placeholders without a price (``X`` NA), which are no prints. ``historicalTrades``, the
only history by id, takes a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, Literal

from msgspec import Struct
from msgspec.structs import replace

from etl.adapter import build
from etl.adapter.build import Stream
from etl.adapter.contract import Budget, Channel, Ignored, SequenceRule, Subscription
from etl.adapter.dispatch import Endpoint, Reader
from etl.adapter.fields import Id, decimals, ms_or_us_ns
from etl.exchanges import _binance_wire as wire
from etl.exchanges import binance as spot
from etl.exchanges.binance import Binance
from etl.model import records
from etl.model.records import Frame, Kind, Liquidation, Side, Stats

_RPI = ("rpi",)
_DATED = frozenset({"CURRENT_MONTH", "NEXT_MONTH", "CURRENT_QUARTER", "NEXT_QUARTER"})
_NO_DELIVERY_FROM_MS = 4_102_444_800_000
"""2100: perpetuals have a delivery date that stands for none (2100-12-25)."""


class Trade(wire.StreamTrade, gc=False, tag_field="e", tag="trade"):
    X: str = "MARKET"


class Quote(wire.StreamQuote, gc=False, tag_field="e", tag="bookTicker"):
    T: int
    E: int


class Depth(wire.Depth, gc=False, tag_field="e", tag="depthUpdate"):
    T: int
    pu: Id


class Snapshot(wire.Snapshot, gc=False):
    T: int
    E: int


class MarkPrice(Struct, gc=False, tag_field="e", tag="markPriceUpdate"):
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


def read_trade(frame: Frame, index: int, event: Trade, stream: Stream) -> records.Trade | Ignored:
    """As spot; ``{"p":"0","q":"0","X":"NA",…}`` has the place of a print in the count of ids and is none."""
    trade = wire.read_trade(frame, index, event, stream)
    if event.X == "NA" and not event.p.strip("0."):
        return Ignored("placeholder", index, trade)
    return trade


def read_trade_row(frame: Frame, index: int, row: wire.TradeRow, stream: Stream) -> records.Trade | Ignored:
    """``{"id":7000,"price":"91000.1",…,"isRPITrade":true}``: against a retail price improvement order. Without a price
    and a size it is the placeholder that the stream calls ``NA``."""
    trade = wire.read_trade(frame, index, row, stream)
    if not row.p.strip("0.") and not row.q.strip("0."):
        return Ignored("placeholder", index, trade)
    return replace(trade, conditions=_RPI) if row.isRPITrade else trade


def contract_name(pair: str, contract_type: str, delivery_ms: int) -> str:
    """``BTC-USDT`` → ``BTC-USDT-PERP``, ``BTC-USDT-20261225``; "" for a type that names neither, as while a contract
    is being listed."""
    if "PERPETUAL" in contract_type:
        return f"{pair}-PERP"
    is_dated = contract_type.partition(" ")[0] in _DATED and 0 < delivery_ms < _NO_DELIVERY_FROM_MS
    return f"{pair}-{datetime.fromtimestamp(delivery_ms // 1_000, UTC):%Y%m%d}" if is_dated else ""


def read_mark_price(frame: Frame, index: int, event: MarkPrice, stream: Stream) -> Stats:
    """``{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","i":"11784.62","P":"11784.25",
    "r":"0.00038167","T":1562306400000}``; dated contracts have no funding: ``T`` 0, ``r`` "" or "0.00000000"."""
    if event.s != stream.venue_symbol:
        wire.mismatch(stream, event.s)
    (mark_price,) = decimals(event.p)
    index_price = decimals(event.i)[0] if event.i else None
    funding_rate = decimals(event.r)[0] if event.r and event.T else None
    time_ns, next_ns = ms_or_us_ns(event.E), ms_or_us_ns(event.T) if event.T else 0
    return build.stats(
        stream, frame, index, time_ns, mark_price=mark_price,
        index_price=index_price, funding_rate=funding_rate, next_funding_ns=next_ns,
        content=f"{mark_price}/{index_price or ''}/{funding_rate or ''}/{next_ns}",
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


TRADES = Reader(wire.TradeRow, read_trade_row)


class BinanceUsdm(Binance):
    name: ClassVar[str] = "binance_usdm"
    changes = {
        "2026-04-23": "streams lie under `/public` and `/market`; on the old address those of `/market` are mute",
        "2026": "historicalTrades tells isRPITrade (condition `rpi`)",
        "2026-09": "mark prices of dated contracts have a funding rate of 0 and no time for it: none",
        "2026-11": "historicalTrades takes a key; a contract being listed has no contractType",
    }
    parser_version = 2
    websocket_url = "wss://fstream.binance.com"
    websocket_url_others = ()
    rest_url = "https://fapi.binance.com"
    channels = (
        *(replace(channel, socket="public") for channel in Binance.channels[:2]),
        Channel("depth@100ms", Kind.BOOK, SequenceRule.BACK_POINTER, None, 60.0, "depth", socket="public"),
        *(replace(channel, socket="market") for channel in Binance.channels[3:]),
        Channel("markPrice@1s", Kind.STATS, SequenceRule.NONE, None, 60.0, "markPrice", socket="market"),
        Channel("forceOrder", Kind.LIQUIDATION, SequenceRule.NONE, None, 0.0, socket="market"),
    )
    default_channels: ClassVar[tuple[str, ...]] = (
        "trade", "bookTicker", "depth@100ms", "kline_1m", "markPrice@1s", "forceOrder",
    )  # fmt: skip
    ignored_names: ClassVar[Mapping[str, str]] = {
        **Binance.ignored_names,
        "placeholder": "a print without price or size, no trade; its id counts as seen",
        "contract_info": "listing, settlement and bracket changes",
        "index": "composite and multi-assets index prices",
    }
    key_variables: ClassVar[tuple[tuple[str, ...], ...]] = (("BINANCE_API_KEY",),)
    keyed_history = frozenset({Kind.TRADE})
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
        "trade": Reader(Trade, read_trade, "trade"),
        "bookTicker": Reader(Quote, wire.read_quote, "bookTicker"),
        "depth": Reader(Depth, wire.read_depth, "depthUpdate"),
        "depthN": Reader(Depth, wire.read_depth, "depthUpdate"),
        "markPrice": Reader(MarkPrice, read_mark_price, "markPriceUpdate"),
        "forceOrder": Reader(_ForceOrder, _read_force_order, "forceOrder"),
    }
    endpoints = {
        "depth": Endpoint("depth", Reader(Snapshot, wire.read_snapshot), 20, spot.DEPTH_LIMIT),
        "trades": Endpoint("trade", TRADES, 5, spot.PAGE_ROWS),
        "historicalTrades": Endpoint("trade", TRADES, 20, 500, spot.TRADE_PAGES),
        "aggTrades": Endpoint("aggTrade", spot.AGG_TRADES, 20, spot.PAGE_ROWS, spot.AGG_TRADE_PAGES),
        "klines": Endpoint("kline_", spot.KLINES, 5, spot.PAGE_ROWS, spot.KLINE_PAGES),
    }

    @classmethod
    def sockets(cls, subscription: Subscription) -> tuple[Subscription, ...]:
        """Trades, which no page of the venue lists, were measured below ``public``; some say below ``market``.
        Where that socket is open anyway it asks for them too: of the two, one stays mute."""
        return tuple(
            replace(one, channels=("trade", *one.channels))
            if one.socket == "market" and "trade" in subscription.channels
            else one
            for one in super().sockets(subscription)
        )

    @staticmethod
    def unified_symbol(item: wire.InstrumentItem) -> str:
        return contract_name(f"{item.baseAsset}-{item.quoteAsset}", item.contractType, item.deliveryDate)
