"""Simulated crypto of Polygon: pairs, whose trades tell the taker, whose quotes have no number.

ws /polygon_crypto/crypto                  XT.BTC-USD
GET /polygon_crypto/v3/trades/X:BTC-USD
GET /polygon_crypto/v2/aggs/ticker/X:BTCUSD/range/1/minute/{from}/{to}
GET /polygon_crypto/v3/reference/tickers
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from etl.model.times import NS_PER_MS
from etl.simulator.market import Instrument
from etl.simulator.session import Session
from etl.simulator.stocks import PRICE_DIGITS, one_of
from etl.simulator.truth import CONTENT_END
from etl.simulator.venue import BAR, PRINT, TOP, Channel, Response
from etl.simulator.venues.polygon import POLYGON_WORDS, ROWS, Polygon
from etl.simulator.words import Form

MARKETS = (1, 2, 6, 10)
TICKER = re.compile(r"X:(\w+?)-?(USD|EUR|GBP)")


class PolygonCrypto(Polygon):
    exchange = "polygon_crypto"
    symbols: Mapping[str, Instrument] = {
        symbol: Instrument(symbol, symbol, PRICE_DIGITS, 8, start_ticks)
        for symbol, start_ticks in (("BTC-USD", 6_183_764), ("ETH-USD", 268_512), ("SOL-USD", 15_841))
    }
    words = POLYGON_WORDS | {
        "market": one_of(MARKETS),
        "taker": lambda words: 2 if words.fact.buyer_takes else 1,
    }
    channels: Mapping[str, Channel] = {
        "XT": Channel(PRINT, Form("trade", "$market/$number", '{"ev":"XT","pair":"$symbol","p":$price,"t":$ms,"s":$size,"c":[$taker],"i":"$number","x":$market,"r":$ms}', NS_PER_MS), 0.35),
        "XQ": Channel(TOP, Form("quote", f"$ms/$bid/$bid_size/$ask/$ask_size///$market{CONTENT_END}", '{"ev":"XQ","pair":"$symbol","bp":$bid,"bs":$bid_size,"ap":$ask,"as":$ask_size,"t":$ms,"x":$market,"r":$ms}', NS_PER_MS), 0.65),
        "XA": Channel(BAR, Form("bar", "$interval/$start_ns", '{"ev":"XA","pair":"$symbol","v":$volume,"vw":$vwap,"z":$mean_size,"o":$open,"c":$close,"h":$high,"l":$low,"s":$start_ms,"e":$end_ms}', 1), interval="1m"),
    }  # fmt: skip
    past: Mapping[str, Form] = {
        "trades": Form("trade", "$market/$number", '{"conditions":[$taker],"exchange":$market,"id":"$number","participant_timestamp":$time_ns,"price":$price,"size":$size}', 1),
        "aggs": ROWS["aggs"],
    }  # fmt: skip
    listing = (
        '{"results":[$rows],"status":"OK","request_id":"0"}',
        '{"ticker":"X:$base$quote","market":"crypto","base_currency_symbol":"$base","currency_symbol":"$quote"}',
    )

    def asked_for(self, ticker: str) -> str:
        return TICKER.sub(r"\1-\2", ticker)

    def unlisted(self, symbol: str) -> Instrument:
        return Instrument(symbol, symbol, PRICE_DIGITS, 8, 10_000)

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        if path.endswith("/v3/reference/tickers"):
            return self.listings(*self.listing)
        return super().answer(path, query, session, now_ns)
