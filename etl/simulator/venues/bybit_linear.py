"""A simulated Bybit linear: perpetuals, as spot with ids that count nothing, tickers, liquidations and daily files."""

from __future__ import annotations

from collections.abc import Mapping

from etl.model.times import NS_PER_HOUR, NS_PER_MS, NS_PER_S
from etl.simulator import archive
from etl.simulator.archive import Archive
from etl.simulator.market import Instrument
from etl.simulator.session import Session
from etl.simulator.venue import BEST, LIQUIDATION, Channel, Response
from etl.simulator.venues.bybit import BYBIT_WORDS, Bybit, listed, trades
from etl.simulator.words import Form

FUNDING_NS = 8 * NS_PER_HOUR
WORDS = BYBIT_WORDS | {
    "coin": lambda words: words["symbol"].partition("-")[0],
    "seconds": lambda words: f"{words['time_ns'] // NS_PER_S}.{words['time_ns'] % NS_PER_S // NS_PER_MS:03d}",
    "funding_ns": lambda words: (words["time_ns"] // FUNDING_NS + 1) * FUNDING_NS,
    "funding_ms": lambda words: words["funding_ns"] // NS_PER_MS,
}
CONTENT = "$channel/${ms}000000/$digest"
TICKER_TEXT = '{"topic":"tickers.$symbol","type":"delta","data":{"symbol":"$symbol","markPrice":"$bid","indexPrice":"$ask","openInterest":"$bid_size","fundingRate":"0.0001","nextFundingTime":"$funding_ms"},"cs":$sequence,"ts":$ms}'  # fmt: skip
LIQUIDATION_TEXT = '{"topic":"allLiquidation.$symbol","type":"snapshot","ts":$ms,"data":[{"T":$ms,"s":"$symbol","S":"Sell","v":"$bid_size","p":"$bid"}]}'  # fmt: skip

FILES = Archive(
    path=r"/(?P<kind>trading)/(?P<symbol>\w+)/(?P<name>(?P=symbol)(?P<day>\d{4}-\d\d-\d\d))\.csv\.gz",
    lines={
        "trading": Form(
            "trade", "$uuid", "$seconds,$symbol,$taker,$size,$price,ZeroMinusTick,$uuid,0,0,0,0", NS_PER_MS
        )
    },
    headings={
        "trading": "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI"
    },
)


class BybitLinear(Bybit):
    exchange = "bybit_linear"
    category = "linear"
    symbols: Mapping[str, Instrument] = {
        symbol: listed(symbol, f"{one.unified}-PERP", one.price_digits, 3, one.start_ticks)
        for symbol, one in Bybit.symbols.items()
    }
    words = WORDS
    channels: Mapping[str, Channel] = {
        **Bybit.channels,
        "publicTrade": trades("$uuid"),
        "tickers": Channel(BEST, Form("stats", CONTENT, TICKER_TEXT, NS_PER_MS, "$bid/$ask/$bid_size/0.0001/$funding_ns"), 0.02),
        "allLiquidation": Channel(LIQUIDATION, Form("liquidation", CONTENT, LIQUIDATION_TEXT, NS_PER_MS, "Sell/$bid/$bid_size"), 0.01),
    }  # fmt: skip
    trade_row = Form("trade", "$uuid", Bybit.trade_row.text.text.replace('"$number"', '"$uuid"'), NS_PER_MS)
    listing = '{"symbol":"$symbol","contractType":"LinearPerpetual","baseCoin":"$base","quoteCoin":"$quote","settleCoin":"$quote","status":"Trading","deliveryTime":"0","priceFilter":{"tickSize":"$tick"},"lotSizeFilter":{"qtyStep":"$step"}}'  # fmt: skip

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        if path.startswith("/trading/"):
            return archive.answer(self, FILES, path, session)
        return super().answer(path, query, session, now_ns)
