"""Binance COIN-M futures: USD-M's protocol, of contracts that are worth coin: 100 USD each of BTC, 10 of all others.

https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams

Sizes are contracts. What is turned over is said in the base coin, so it is no quote volume and stays out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from msgspec.structs import replace

from etl.adapter.build import Stream
from etl.adapter.dispatch import Endpoint, Reader
from etl.exchanges import _binance_wire as wire
from etl.exchanges import binance as spot
from etl.exchanges import binance_usdm as usdm
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.model.records import Bar, Frame, SizeUnit


class _MarkPrice(usdm.MarkPrice, gc=False, tag_field="e", tag="markPriceUpdate"):
    i: str = ""
    """The index comes by a stream of its own, of the pair."""


def _read_kline(frame: Frame, index: int, event: wire.Kline, stream: Stream) -> Bar:
    return replace(wire.read_kline(frame, index, event, stream), quote_volume=None)


def _read_kline_row(frame: Frame, index: int, row: wire.KlineRow, stream: Stream) -> Bar:
    return replace(wire.read_kline_row(frame, index, row, stream), quote_volume=None)


class BinanceCoinm(BinanceUsdm):
    name = "binance_coinm"
    parser_version = 1
    changes = {"2026-08": "`/public` and `/market` as on USD-M; the old address is said to be on its way out"}
    websocket_url = "wss://dstream.binance.com"
    rest_url = "https://dapi.binance.com"
    default_symbols = ("BTCUSD_PERP", "ETHUSD_PERP", "BTCUSD_261225")
    ignored_names: ClassVar[Mapping[str, str]] = {
        **BinanceUsdm.ignored_names,
        "index": "index prices, of pairs and not of instruments",
    }
    instruments_path = "/dapi/v1/exchangeInfo"

    archive_folder = "/data/futures/cm/daily"
    history_path = "/dapi/v1"
    size_unit = SizeUnit.CONTRACT
    ignored_events = {**BinanceUsdm.ignored_events, "indexPriceUpdate": "index"}
    event_readers = {
        **BinanceUsdm.event_readers,
        "kline": Reader(wire.Kline, _read_kline, "kline"),
        "markPrice": Reader(_MarkPrice, usdm.read_mark_price, "markPriceUpdate"),
    }
    endpoints = {
        **BinanceUsdm.endpoints,
        "klines": Endpoint(
            "kline_", Reader(wire.KlineRow, _read_kline_row), 5, spot.PAGE_ROWS, spot.KLINE_PAGES
        ),
    }
