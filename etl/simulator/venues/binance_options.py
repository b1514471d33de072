"""Simulated Binance options: as USD-M, with trades and mark prices of their own.

ws /binance_options/public/stream?streams=btc-261225-100000-c@optionTrade/…
ws /binance_options/market/stream?streams=btcusdt@optionMarkPrice   of all options of an underlying
GET /binance_options/eapi/v1/{depth,trades,klines,exchangeInfo}
"""

from __future__ import annotations

from collections.abc import Mapping

from etl.model.times import NS_PER_MS
from etl.simulator.archive import Archive
from etl.simulator.market import Instrument
from etl.simulator.venue import BEST, PRINT, Channel, Response
from etl.simulator.venues.binance import combined
from etl.simulator.venues.binance_usdm import WORDS, BinanceUsdm
from etl.simulator.words import Form, Template

QUOTE = "USDT"
MARK, INTEREST = "optionMarkPrice", "optionOpenInterest"


def of_underlying(channel: str, says: str, event: str) -> Channel:
    text = f'{{"stream":"${{underlying}}@{channel}","data":[{event}]}}'
    return Channel(BEST, Form("stats", "$channel/${ms}000000/$digest", text, NS_PER_MS, says), 0.02)


def listed(symbol: str, start_ticks: int) -> Instrument:
    """Prices of one digit, sizes of two."""
    base, expiry, strike, right = symbol.split("-")
    return Instrument(symbol, f"{base}-{QUOTE}-20{expiry}-{strike}-{right}", 1, 2, start_ticks)


class BinanceOptions(BinanceUsdm):
    exchange = "binance_options"
    symbols: Mapping[str, Instrument] = {
        symbol: listed(symbol, start_ticks)
        for symbol, start_ticks in (
            ("BTC-261225-100000-C", 13_000),
            ("BTC-261225-100000-P", 87_000),
            ("ETH-261225-4000-C", 2_114),
        )
    }
    words = WORDS | {
        "underlying": lambda words: words["lower"].partition("-")[0] + QUOTE.lower(),
        "taker": lambda words: "SELL" if words["maker"] == "true" else "BUY",
        "sign": lambda words: -1 if words["maker"] == "true" else 1,
    }
    channels: Mapping[str, Channel] = {
        **{name: channel for name, channel in BinanceUsdm.channels.items() if name in ("bookTicker", "depth", "kline_1m")},
        "optionTrade": Channel(PRINT, combined("trade", "$number", '{"e":"trade","E":$ms,"T":$ms,"s":"$symbol","t":$number,"p":"$price","q":"$size","X":"MARKET","S":"$taker","m":$maker}'), 0.35, is_counted=True),
        MARK: of_underlying(MARK, "$mark/$index", '{"s":"$symbol","mp":"$mark","E":$ms,"e":"markPrice","i":"$index","P":"0.000","bo":"$bid","ao":"$ask","bq":"$bid_size","aq":"$ask_size","b":"0.34500957","a":"-1.0","vo":"0.349","d":"0.48723426"}'),
        INTEREST: of_underlying(INTEREST, "$bid_size", '{"e":"openInterest","E":$ms,"s":"$symbol","o":"$bid_size","h":"1912992.178168204"}'),
    }  # fmt: skip
    snapshot = Form(
        "book", "depth/s/$last", '{"bids":[$bids],"asks":[$asks],"T":$now_ms,"lastUpdateId":$last}', 0
    )
    trade_row = Form("trade", "$number", '{"id":2323857420768529130,"tradeId":$number,"symbol":"$symbol","price":"$price","qty":"$size","quoteQty":"$worth","side":$sign,"time":$ms}', NS_PER_MS)  # fmt: skip
    listing = (
        '{"timezone":"UTC","optionSymbols":[$rows]}',
        '{"symbol":"$symbol","underlying":"${base}USDT","quoteAsset":"USDT","side":"$side","expiryDate":1798185600000,"strikePrice":"$strike.00000000","unit":1,"filters":[{"filterType":"PRICE_FILTER","tickSize":"0.1"},{"filterType":"LOT_SIZE","stepSize":"0.01"}]}',
    )
    files = Archive(lines={})
    public = frozenset({"optionTrade", "bookTicker", "depth"})

    def unlisted(self, symbol: str) -> Instrument:
        return listed(symbol, 12_345)

    def listings(self, text: str, row: str) -> Response:
        template, rows = Template(row), []
        for one in self.symbols.values():
            base, _, strike, right = one.symbol.split("-")
            side = "CALL" if right == "C" else "PUT"
            rows.append(template({"symbol": one.symbol, "base": base, "strike": strike, "side": side}))
        return Response(200, text.replace("$rows", ",".join(rows)).encode(), is_reference=True)

    def expand(self, name: str) -> set[str]:
        """The stream of an underlying is those of all of its options."""
        symbol, channel = self.split(name)
        channel = channel.partition("@")[0]
        if channel not in (MARK, INTEREST):
            return super().expand(name)
        base = symbol.removesuffix(QUOTE)
        return {self.stream(one, channel) for one in self.symbols if one.partition("-")[0] == base}
