"""A simulated Binance USD-M: the perpetuals, as spot with other addresses and a few more members.

ws /binance_usdm/public/stream?streams=btcusdt@trade/…   bookTicker, depth; also /public/ws/…
ws /binance_usdm/market/stream?streams=btcusdt@kline_1m/…   all others; also /market/ws/…
Streams of the other group are mute, and on the old /stream those of market are.
GET /binance_usdm/fapi/v1/{depth,historicalTrades,trades,aggTrades,klines,exchangeInfo}
GET /binance_usdm/data/futures/um/daily/{trades,aggTrades,klines}/…
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etl.model.times import NS_PER_HOUR, NS_PER_MS
from etl.simulator import archive
from etl.simulator.archive import Archive
from etl.simulator.connection import Connection
from etl.simulator.market import Instrument, decimal_text
from etl.simulator.venue import BEST, CHANGE, LIQUIDATION, PRINT, TOP, Channel
from etl.simulator.venues.binance import KLINE_LINE, KLINES, LISTED, Binance, combined, listed
from etl.simulator.words import Form, Words

MARK_DIGITS = 8
FUNDING_NS = 8 * NS_PER_HOUR
"""Funding is due every eight hours."""
WORDS: dict[str, Callable[[Words], Any]] = archive.WORDS_OF_LINES | {
    "mark": lambda words: decimal_text(words.fact.bid, words.instrument.price_digits, MARK_DIGITS),
    "index": lambda words: decimal_text(words.fact.ask, words.instrument.price_digits, MARK_DIGITS),
    "funding_ns": lambda words: (words["time_ns"] // FUNDING_NS + 1) * FUNDING_NS,
    "funding_ms": lambda words: words["funding_ns"] // NS_PER_MS,
}


class BinanceUsdm(Binance):
    exchange = "binance_usdm"
    symbols: Mapping[str, Instrument] = {
        one.symbol: listed(one.symbol, one.price_digits, one.size_digits, one.start_ticks, "-PERP")
        for one in Binance.symbols.values()
    }
    words = WORDS
    listing = (Binance.listing[0], LISTED % '"contractType":"PERPETUAL",')
    channels: Mapping[str, Channel] = {
        "trade": Channel(PRINT, combined("trade", "$number", '{"e":"trade","E":$ms,"T":$ms,"s":"$symbol","t":$number,"p":"$price","q":"$size","X":"MARKET","m":$maker}'), 0.35, is_counted=True),
        "aggTrade": Channel(PRINT, combined("agg_trade", "$number", '{"e":"aggTrade","E":$ms,"s":"$symbol","a":$number,"p":"$price","q":"$size","f":$number,"l":$number,"T":$ms,"m":$maker}'), 0.10),
        "bookTicker": Channel(TOP, combined("quote", "$number", '{"e":"bookTicker","u":$number,"s":"$symbol","b":"$bid","B":"$bid_size","a":"$ask","A":"$ask_size","T":$ms,"E":$ms}'), 0.45),
        "depth": Channel(CHANGE, combined("book", "$channel/d/$last", '{"e":"depthUpdate","E":$ms,"T":$ms,"s":"$symbol","U":$first,"u":$last,"pu":$previous,"b":[$bids],"a":[$asks]}'), 0.10, is_counted=True),
        "markPrice@1s": Channel(BEST, combined("stats", "$channel/${ms}000000/$digest", '{"e":"markPriceUpdate","E":$ms,"s":"$symbol","p":"$mark","i":"$index","P":"$index","r":"0.00010000","T":$funding_ms}', says="$mark/$index/0.00010000/$funding_ns"), 0.02),
        "forceOrder": Channel(LIQUIDATION, combined("liquidation", "$channel/${ms}000000/$digest", '{"e":"forceOrder","E":$ms,"o":{"s":"$symbol","S":"SELL","o":"LIMIT","f":"IOC","q":"$bid_size","p":"$bid","ap":"$bid","X":"FILLED","l":"$bid_size","z":"$bid_size","T":$ms}}', says="SELL/$bid/$bid_size/FILLED/$bid_size"), 0.01),
        **KLINES,
    }  # fmt: skip
    snapshot = Form("book", "depth/s/$last", '{"lastUpdateId":$last,"E":$now_ms,"T":$now_ms,"bids":[$bids],"asks":[$asks]}', 0)  # fmt: skip
    trade_row = Form("trade", "$number", '{"id":$number,"price":"$price","qty":"$size","quoteQty":"$worth","time":$ms,"isBuyerMaker":$maker}', NS_PER_MS)  # fmt: skip
    aggregate_row = Form("agg_trade", "$number", '{"a":$number,"p":"$price","q":"$size","f":$number,"l":$number,"T":$ms,"m":$maker}', NS_PER_MS)  # fmt: skip
    files = Archive(
        lines={
            "trades": Form("trade", "$number", "$number,$price,$size,$worth,$at,$maker", NS_PER_MS),
            "aggTrades": Form("agg_trade", "$number", "$number,$price,$size,$number,$number,$at,$maker", NS_PER_MS),
            "klines": KLINE_LINE,
        },
        headings={
            "trades": "id,price,qty,quote_qty,time,is_buyer_maker",
            "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
            "klines": "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
            "taker_buy_quote_volume,ignore",
        },
    )  # fmt: skip

    public: frozenset[str] = frozenset({"trade", "bookTicker", "depth"})

    def path_in_group(self, path: str) -> str:
        return path.removeprefix("public/").removeprefix("market/")

    def subscribe(self, connection: Connection, names: Sequence[str]) -> None:
        is_public = not connection.path.startswith("market/")
        super().subscribe(connection, [name for name in names if self._is_public(name) == is_public])

    def _is_public(self, name: str) -> bool:
        return self.split(name)[1].partition("@")[0].rstrip("0123456789") in self.public

    def unlisted(self, symbol: str) -> Instrument:
        return listed(symbol, 4, 2, 12_345, "-PERP")

    def write(self, units: int, digits: int) -> str:
        """With the digits of the instrument, where spot always has eight."""
        return decimal_text(units, digits)
