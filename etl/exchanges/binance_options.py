"""Binance European options: USD-M's protocol on USD-M's stream addresses, of contracts that expire at 08:00 UTC.

https://developers.binance.com/docs/derivatives/options-trading

So since 2025-12-17; the streams before, of other letters, lay on ``nbstream.binance.com/eoptions``, which is gone.

Mark prices and open interest come by streams of the underlying and tell all of its options. Trades are counted by
contract, yet no history has them by id: the last 500 of a contract are all there is, so a hole stays one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from etl.adapter import build, fields
from etl.adapter.build import Stream
from etl.adapter.contract import Channel, History, Ignored, SequenceRule
from etl.adapter.dispatch import Endpoint, Reader
from etl.adapter.fields import ABSENT, FieldFault, Id, canonical, decimals, ms_or_us_ns, text_of
from etl.exchanges import _binance_wire as wire
from etl.exchanges import binance as spot
from etl.exchanges import binance_usdm as usdm
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.model import records
from etl.model.codes import Code
from etl.model.instruments import Instrument
from etl.model.records import Frame, Kind, Side, SizeUnit, Stats
from etl.model.times import NS_PER_MS


class _Trade(usdm.Trade, gc=False, tag_field="e", tag="trade", kw_only=True):
    S: Literal["BUY", "SELL"]


class _TradeRow(Struct, gc=False):
    symbol: str
    tradeId: Id
    price: str
    qty: str
    side: Literal[1, -1]
    time: int


class _Snapshot(wire.Snapshot, gc=False):
    T: int


class _MarkPrice(Struct, gc=False, tag_field="e", tag="markPrice"):
    E: int
    s: str
    mp: str
    i: str


class _OpenInterest(Struct, gc=False, tag_field="e", tag="openInterest"):
    E: int
    s: str
    o: str


class _Option(Struct, gc=False):
    """One entry of ``optionSymbols``."""

    symbol: str
    underlying: str
    quoteAsset: str
    expiryDate: Annotated[int, Meta(ge=0, le=fields.MS_MAX)]
    strikePrice: str
    side: Literal["CALL", "PUT"]
    unit: int = 1
    filters: Sequence[wire.Filter] = ()


class _Underlying(Struct, gc=False):
    """One entry of ``optionContracts``."""

    underlying: str = ""
    settleAsset: str = ""


class _OptionList(Struct, gc=False):
    optionSymbols: list[_Option]
    optionContracts: Sequence[_Underlying] = ()


def _read_trade(frame: Frame, index: int, event: _Trade, stream: Stream) -> records.Trade | Ignored:
    """``{"e":"trade","E":1762856064204,"T":1762856064203,"s":"BTC-251123-126000-C","t":4,"p":"1300.000","q":"0.1000",
    "X":"MARKET","S":"BUY","m":false}``; ``X`` may be BLOCK, and ``S``, the taker's side, says what ``m`` says."""
    if event.m != (event.S == "SELL"):
        raise FieldFault(Code.FIELD_MALFORMED, f"S {event.S} and m {event.m}: who took?")
    return usdm.read_trade(frame, index, event, stream)


def _read_trade_row(frame: Frame, index: int, row: _TradeRow, stream: Stream) -> records.Trade:
    """``{"id":2323857420768529130,"tradeId":1,"symbol":"BTC-251123-126000-C","price":"1300","qty":"0.1",
    "quoteQty":"130","side":-1,"time":1762780453623}``: the stream's id is ``tradeId``, -1 sold."""
    if row.symbol != stream.venue_symbol:
        wire.mismatch(stream, row.symbol)
    price, size = fields.two(row.price, row.qty)
    side = Side.BUY if row.side == 1 else Side.SELL
    return build.trade(
        stream, frame, index, ms_or_us_ns(row.time), price, size, side, str(row.tradeId), row.tradeId
    )


def _read_mark_price(frame: Frame, index: int, event: _MarkPrice, stream: Stream) -> Stats:
    """``{"e":"markPrice","E":…,"s":"BTC-260925-86000-C","mp":"809.784","i":"85879.82826087",…}``; the rest are greeks,
    volatilities and the best prices of that second."""
    mark_price, index_price = decimals(event.mp, event.i)
    return build.stats(
        stream, frame, index, ms_or_us_ns(event.E), f"{mark_price}/{index_price}", mark_price, index_price
    )


def _read_open_interest(frame: Frame, index: int, event: _OpenInterest, stream: Stream) -> Stats:
    """``{"e":"openInterest","E":…,"s":"ETH-221125-2700-C","o":"1580.87","h":"1912992.178168204"}``: contracts, and
    their worth."""
    (open_interest,) = decimals(event.o)
    return build.stats(stream, frame, index, ms_or_us_ns(event.E), open_interest, open_interest=open_interest)


class BinanceOptions(BinanceUsdm):
    name = "binance_options"
    parser_version = 1
    changes = {
        "2025-12-17": "streams lie under USD-M's addresses and speak as USD-M; no trades by id any more",
        "2026-09": "the address before, `nbstream.binance.com/eoptions`, answers 404",
    }
    rest_url = "https://eapi.binance.com"
    channels = (
        Channel("optionTrade", Kind.TRADE, SequenceRule.CONTIGUOUS, None, socket="public"),
        *(replace(channel, stale_after_s=0.0) for channel in BinanceUsdm.channels[1:4]),
        Channel("optionMarkPrice", Kind.STATS, SequenceRule.NONE, None, 60.0, socket="market"),
        Channel("optionOpenInterest", Kind.STATS, SequenceRule.NONE, None, 300.0, socket="market"),
    )
    default_channels = ("optionTrade", "bookTicker", "depth@100ms", "kline_1m", "optionMarkPrice")
    default_symbols = ("BTC-261225-100000-C", "BTC-261225-100000-P", "ETH-261225-4000-C")
    ignored_names: ClassVar[Mapping[str, str]] = {
        **BinanceUsdm.ignored_names,
        "contract_info": "options that are listed",
        "index": "index prices, of underlyings and not of instruments",
    }
    key_variables = ()
    keyed_history = frozenset()
    history: ClassVar[Mapping[Kind, History]] = {Kind.BAR: History("time"), Kind.BOOK: History("time")}
    instruments_path = "/eapi/v1/exchangeInfo"

    archive_url = ""
    archive_kinds = frozenset()
    history_path = "/eapi/v1"
    ignored_events = {
        **spot.Binance.ignored_events,
        "indexPrice": "index",
        "optionSymbol": "contract_info",
        "OPTION_PAIR": "contract_info",
    }
    event_readers = {
        **{name: BinanceUsdm.event_readers[name] for name in ("bookTicker", "depth", "depthN", "kline")},
        "optionTrade": Reader(_Trade, _read_trade, "trade"),
        "optionMarkPrice": Reader(_MarkPrice, _read_mark_price, "markPrice"),
        "optionOpenInterest": Reader(_OpenInterest, _read_open_interest, "openInterest"),
    }
    endpoints = {
        "depth": Endpoint("depth", Reader(_Snapshot, wire.read_snapshot), 20, spot.DEPTH_LIMIT),
        "trades": Endpoint("optionTrade", Reader(_TradeRow, _read_trade_row), 5, 500),
        "klines": Endpoint("kline_", spot.KLINES, 1, spot.PAGE_ROWS, spot.KLINE_PAGES),
    }

    def stream_name(self, venue_symbol: str, channel: str) -> str:
        """``btcusdt@optionMarkPrice`` and ``btcusdt@optionOpenInterest@261225`` for all options of an underlying."""
        if channel not in _OF_THE_UNDERLYING:
            return super().stream_name(venue_symbol, channel)
        base, expiry, *_ = [*venue_symbol.split("-"), ""]
        listed = self.instruments.symbol(venue_symbol).split("-")
        quote = listed[1] if len(listed) == 5 else _QUOTE
        end = f"@{expiry}" if channel == "optionOpenInterest" else ""
        return f"{super().stream_name(base + quote, channel)}{end}"

    @staticmethod
    def place(name: str, event: Mapping[str, Raw]) -> tuple[str, str]:
        """As spot; of which option an event of an underlying's stream is, the event says."""
        symbol, channel = spot.place_of(name, event)
        family = channel.partition("@")[0]
        channel = _UNNAMED.get(channel, family if family in _OF_THE_UNDERLYING else channel)
        return (symbol if "-" in symbol else text_of(event.get("s", ABSENT))), channel

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        """``{"optionSymbols":[{"symbol":"BTC-261225-100000-C","underlying":"BTCUSDT","quoteAsset":"USDT","side":"CALL",
        "expiryDate":1798185600000,"strikePrice":"100000.00000000","unit":1,…}]}``; a contract is ``unit`` of the
        base."""
        listed = fields.listing(payload, _OptionList)
        settle = {one.underlying: one.settleAsset for one in listed.optionContracts}
        for item in listed.optionSymbols:
            day = datetime.fromtimestamp(item.expiryDate / 1_000, UTC)
            base, strike = (
                item.underlying.removesuffix(item.quoteAsset),
                canonical(*decimals(item.strikePrice)),
            )
            yield Instrument(
                item.symbol, f"{base}-{item.quoteAsset}-{day:%Y%m%d}-{strike}-{item.side[0]}",
                *wire.steps_of(item.filters),
                SizeUnit.NONE if item.unit == 1 else SizeUnit.CONTRACT, expires_ns=item.expiryDate * NS_PER_MS,
                settle=settle.get(item.underlying, ""), contract_size=str(item.unit),
            )  # fmt: skip


_QUOTE = "USDT"
"""Of every option so far: an underlying that the list does not name yet is asked for under it."""
_OF_THE_UNDERLYING = frozenset({"optionMarkPrice", "optionOpenInterest"})
_UNNAMED = {"trade": "optionTrade", "markPrice": "optionMarkPrice", "openInterest": "optionOpenInterest"}
"""An event's type → its channel, where neither the frame nor its address names a stream."""
