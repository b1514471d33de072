"""A simulated Binance US: spot with pairs against the dollar."""

from __future__ import annotations

from collections.abc import Mapping

from etl.simulator.market import Instrument
from etl.simulator.venues.binance import Binance


class BinanceUs(Binance):
    exchange = "binance_us"
    symbols: Mapping[str, Instrument] = {
        symbol: Instrument(symbol, unified, price_digits, size_digits, start_ticks)
        for symbol, unified, price_digits, size_digits, start_ticks in (
            ("BTCUSD", "BTC-USD", 2, 5, 6_183_764),
            ("ETHUSD", "ETH-USD", 2, 4, 268_512),
            ("SOLUSDT", "SOL-USDT", 2, 3, 15_841),
        )
    }
