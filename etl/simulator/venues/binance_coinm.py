"""A simulated Binance COIN-M: USD-M with contracts against the dollar, and sizes in contracts."""

from __future__ import annotations

from collections.abc import Mapping

from etl.simulator.market import Instrument
from etl.simulator.venues.binance_usdm import BinanceUsdm


class BinanceCoinm(BinanceUsdm):
    exchange = "binance_coinm"
    symbols: Mapping[str, Instrument] = {
        symbol: Instrument(symbol, unified, price_digits, 0, start_ticks)
        for symbol, unified, price_digits, start_ticks in (
            ("BTCUSD_PERP", "BTC-USD-PERP", 1, 618_376),
            ("ETHUSD_PERP", "ETH-USD-PERP", 2, 268_512),
            ("BTCUSD_261225", "BTC-USD-20261225", 1, 619_412),
        )
    }
