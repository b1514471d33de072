"""What the simulated venues of US stocks have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etl.simulator.market import Instrument, number_text
from etl.simulator.words import WORDS, Words

PRICE_DIGITS = 2
LISTED: Mapping[str, Instrument] = {
    symbol: Instrument(symbol, symbol, PRICE_DIGITS, 0, start_ticks)
    for symbol, start_ticks in (
        ("AAPL", 23_750),
        ("MSFT", 47_120),
        ("NVDA", 18_830),
        ("AMZN", 22_045),
        ("TSLA", 41_260),
        ("SPY", 66_340),
    )
}

FIGIS: Mapping[str, str] = {
    "AAPL": "BBG000B9XRY4",
    "MSFT": "BBG000BPH459",
    "NVDA": "BBG000BBJQV0",
    "AMZN": "BBG000BVPV84",
    "TSLA": "BBG000N9MNX3",
    "SPY": "BBG000BDTBL9",
    "META": "BBG000MM2P62",
}
"""Composite ones, by the ticker of today."""


def vwap(digits: int) -> Callable[[Words], str]:
    """Rounded down to ``digits``: the venues' own rounding is not documented."""

    def write(words: Words) -> str:
        bar = words.fact
        return number_text(bar.turnover * 10 ** (digits - PRICE_DIGITS) // bar.volume, digits)

    return write


def stock_words(markets: Sequence[int | str], vwap_digits: int) -> dict[str, Callable[[Words], Any]]:
    """With the market of a print and of each side of a quote."""
    return WORDS | {
        "market": one_of(markets),
        "bid_market": one_of(markets),
        "ask_market": lambda words: markets[words.fact.draw // len(markets) % len(markets)],
        "vwap": vwap(vwap_digits),
    }


def one_of(values: Any) -> Callable[[Words], Any]:
    """By the fact's spare chance."""
    return lambda words: values[words.fact.draw % len(values)]
