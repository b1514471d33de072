"""A simulated Bybit inverse: linear with contracts of one dollar."""

from __future__ import annotations

from collections.abc import Mapping

from etl.simulator.market import Instrument
from etl.simulator.venues.bybit import listed
from etl.simulator.venues.bybit_linear import BybitLinear


class BybitInverse(BybitLinear):
    exchange = "bybit_inverse"
    category = "inverse"
    symbols: Mapping[str, Instrument] = {
        "BTCUSD": listed("BTCUSD", "BTC-USD-PERP", 1, 0, 618_376),
        "ETHUSD": listed("ETHUSD", "ETH-USD-PERP", 2, 0, 268_512),
    }
    listing = BybitLinear.listing.replace("Linear", "Inverse").replace(
        '"settleCoin":"$quote"', '"settleCoin":"$base"'
    )
