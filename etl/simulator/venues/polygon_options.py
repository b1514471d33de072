"""Simulated options of Polygon: as stocks, with trades that have neither an id nor a tape.

ws /polygon_options/options
"""

from __future__ import annotations

from collections.abc import Mapping

from etl.model.times import NS_PER_MS
from etl.simulator.market import Instrument
from etl.simulator.stocks import PRICE_DIGITS, one_of
from etl.simulator.truth import CONTENT_END
from etl.simulator.venue import PRINT, TOP, Channel
from etl.simulator.venues.polygon import AGGREGATE, POLYGON_WORDS, ROWS, Polygon
from etl.simulator.words import Form

MARKETS = (302, 303, 309, 312, 313, 316, 322)
CONDITIONS = ("", "[209]", "[227,233]")
TRADE_KEY = f"$ms/$price/$size/$market/$said{CONTENT_END}"
QUOTE_KEY = "$day/$sequence"


def listed(symbol: str, start_ticks: int) -> Instrument:
    return Instrument(symbol, symbol.removeprefix("O:"), PRICE_DIGITS, 0, start_ticks)


class PolygonOptions(Polygon):
    exchange = "polygon_options"
    symbols: Mapping[str, Instrument] = {
        symbol: listed(symbol, start_ticks)
        for symbol, start_ticks in (
            ("O:SPY261218C00600000", 7_515),
            ("O:SPY261218P00600000", 6_210),
            ("O:AAPL261218C00250000", 9_040),
        )
    }
    words = POLYGON_WORDS | {
        "market": one_of(MARKETS),
        "bid_market": one_of(MARKETS),
        "ask_market": one_of(MARKETS[::-1]),
        "codes": one_of(CONDITIONS),
        "said": lambda words: words["codes"].strip("[]"),
    }
    channels: Mapping[str, Channel] = {
        "T": Channel(PRINT, Form("trade", TRADE_KEY, '{"ev":"T","sym":"$symbol","x":$market,"p":$price,"s":$size,$c"t":$ms,"q":$sequence}', NS_PER_MS), 0.35),
        "Q": Channel(TOP, Form("quote", QUOTE_KEY, '{"ev":"Q","sym":"$symbol","bx":$bid_market,"ax":$ask_market,"bp":$bid,"ap":$ask,"bs":$bid_size,"as":$ask_size,"t":$ms,"q":$sequence}', NS_PER_MS), 0.65),
        **{name: channel for name, channel in Polygon.channels.items() if channel.form is AGGREGATE},
    }  # fmt: skip
    past: Mapping[str, Form] = {
        "trades": Form("trade", TRADE_KEY, '{$conditions"exchange":$market,"participant_timestamp":$time_ns,"price":$price,"sip_timestamp":$time_ns,"size":$size}', 1),
        "quotes": Form("quote", QUOTE_KEY, '{"ask_exchange":$ask_market,"ask_price":$ask,"ask_size":$ask_size,"bid_exchange":$bid_market,"bid_price":$bid,"bid_size":$bid_size,"sequence_number":$sequence,"sip_timestamp":$time_ns}', 1),
        "aggs": ROWS["aggs"],
    }  # fmt: skip

    def unlisted(self, symbol: str) -> Instrument:
        return listed(symbol, 1_000)
