"""Simulated crypto of Alpaca: pairs, trades with ids and takers, books that nothing counts.

ws /alpaca_crypto/v1beta3/crypto/us, /alpaca_crypto_perps/v1beta1/crypto-perps/global
GET /alpaca_crypto/v1beta3/crypto/us/{trades,quotes,bars}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from etl.simulator.connection import Connection
from etl.simulator.market import Instrument
from etl.simulator.session import Item
from etl.simulator.stocks import PRICE_DIGITS, vwap
from etl.simulator.truth import CONTENT_END, PLACED
from etl.simulator.venue import BEST, CHANGE, PRINT, TOP, Channel
from etl.simulator.venues.alpaca import BAR_KEY, BAR_TEXT, Alpaca
from etl.simulator.words import WORDS, Form, Words

SIZE_DIGITS = 9
TRADE = '"p":$price,"s":$size,"t":"$time","i":$number,"tks":"$taker"}'
QUOTE = '"bp":$bid,"bs":$bid_size,"ap":$ask,"as":$ask_size,"t":"$time"}'
QUOTE_KEY = f"$time_ns/$bid/$bid_size//$ask/$ask_size//{CONTENT_END}"
BOOK = '{"T":"o","S":"$symbol","t":"$time","b":[$bid_levels],"a":[$ask_levels]'


def leveled(name: str) -> Callable[[Words], str]:
    """``{"p":71859.53,"s":0.27994},…``"""

    def write(words: Words) -> str:
        pairs = getattr(words.fact, name)
        return ",".join(f'{{"p":{words.price(price)},"s":{words.size(lots)}}}' for price, lots in pairs)

    return write


def listed(*instruments: tuple[str, int]) -> Mapping[str, Instrument]:
    return {
        symbol: Instrument(symbol, symbol.replace("/", "-"), PRICE_DIGITS, SIZE_DIGITS, start_ticks)
        for symbol, start_ticks in instruments
    }


class AlpacaCrypto(Alpaca):
    exchange = "alpaca_crypto"
    symbols = listed(("BTC/USD", 6_183_764), ("ETH/USD", 268_512), ("SOL/USD", 15_841))
    events_per_frame_max = 1
    """A book is known by its frame only, which nothing else may lie in."""
    words = WORDS | {
        "vwap": vwap(6),
        "taker": lambda words: "B" if words.fact.buyer_takes else "S",
        "bid_levels": leveled("bids"),
        "ask_levels": leveled("asks"),
    }
    channels: Mapping[str, Channel] = {
        "trades": Channel(PRINT, Form("trade", "$number", '{"T":"t","S":"$symbol",' + TRADE, 1), 0.35),
        "quotes": Channel(TOP, Form("quote", QUOTE_KEY, '{"T":"q","S":"$symbol",' + QUOTE, 1), 0.45),
        "orderbooks": Channel(
            CHANGE,
            Form("book", PLACED, BOOK + "}", 1),
            0.2,
            opening=Form("book", PLACED, BOOK + ',"r":true}', 1),
        ),
        "bars": Alpaca.channels["bars"],
    }
    lists: Sequence[str] = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "orderbooks")
    past: Mapping[str, Form] = {
        "trades": Form("trade", "$number", "{" + TRADE, 1),
        "quotes": Form("quote", QUOTE_KEY, "{" + QUOTE, 1),
        "bars": Form("bar", BAR_KEY, "{" + BAR_TEXT, 1),
    }
    past_path = "v1beta3/crypto/us"

    def join(self, items: Sequence[Item], connection: Connection | None = None) -> bytes:
        return b"[" + b",".join(item.payload for item in items) + b"]"

    def unlisted(self, symbol: str) -> Instrument:
        return listed((symbol, 10_000))[symbol]


PRICING = '{"T":"p","S":"$symbol","t":"$time","x":"GLOBAL","ip":$ask,"mp":$bid,"fr":0.0001,"oi":$bid_size}'


class AlpacaCryptoPerps(AlpacaCrypto):
    """The same, with prices of the contract; there is no past."""

    exchange = "alpaca_crypto_perps"
    symbols = listed(("BTC-PERP", 6_183_764), ("ETH-PERP", 268_512))
    lists: Sequence[str] = (*AlpacaCrypto.lists, "pricing")
    channels: Mapping[str, Channel] = {
        **AlpacaCrypto.channels,
        "pricing": Channel(BEST, Form("stats", "$channel/$time_ns/$digest", PRICING, 1, "$bid/$ask/$bid_size/0.0001/0"), 0.02),
    }  # fmt: skip
    past: Mapping[str, Form] = {}
