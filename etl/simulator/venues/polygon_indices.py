"""Simulated indices of Polygon: values, and bars made of them, which have no volume.

ws /polygon_indices/indices   V.I:SPX
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from etl.model.times import NS_PER_MS
from etl.simulator.market import Instrument
from etl.simulator.stocks import PRICE_DIGITS
from etl.simulator.venue import BAR, PRINT, Channel
from etl.simulator.venues.polygon import Polygon
from etl.simulator.words import Form

PRICES = '"o":$open,"c":$close,"h":$high,"l":$low'
BAR_KEY = "$interval/$start_ns"
AGGREGATE = Form("bar", BAR_KEY, '{"ev":"$channel","sym":"$symbol","op":$open,' + PRICES + ',"s":$start_ms,"e":$end_ms}', 1)  # fmt: skip
VALUE = Form("stats", "$channel/${ms}000000/$digest", '{"ev":"V","val":$price,"T":"$symbol","t":$ms}', NS_PER_MS, "$price")  # fmt: skip


class PolygonIndices(Polygon):
    exchange = "polygon_indices"
    symbols: Mapping[str, Instrument] = {
        symbol: Instrument(symbol, symbol, PRICE_DIGITS, 0, start_ticks)
        for symbol, start_ticks in (("I:SPX", 661_240), ("I:NDX", 2_468_015), ("I:VIX", 1_872))
    }
    channels: Mapping[str, Channel] = {
        "V": Channel(PRINT, VALUE, 1.0),
        "A": Channel(BAR, AGGREGATE, interval="1s"),
        "AM": Channel(BAR, AGGREGATE, interval="1m"),
    }
    past: Mapping[str, Form] = {"aggs": Form("bar", BAR_KEY, "{" + PRICES + ',"t":$start_ms}', 1)}

    @cached_property
    def prints(self) -> frozenset[str]:
        """None: an index has one value at a time."""
        return frozenset()
