"""How a simulated Bitfinex writes numbers, levels and the checksums of its books."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

from etl.simulator.market import number_text
from etl.simulator.words import WORDS, Words

CHECKED_LEVELS = 25


def shortest(units: int, digits: int) -> str:
    """As JavaScript writes a number: below 1e-6 with an exponent."""
    text = number_text(units, digits)
    if not text.startswith("0.000000"):
        return text
    places = text[2:].lstrip("0")
    return f"{places[0]}{places[1:] and '.'}{places[1:]}e-{len(text) - 1 - len(places)}"


def levels_text(words: Words) -> str:
    """Bids first, each side from its best level on."""
    sides = (("", words.fact.bids), ("-", words.fact.asks))
    return ",".join(_level(words, sign, price, lots) for sign, side in sides for price, lots in side)


def _level(words: Words, sign: str, price: int, lots: int) -> str:
    """A level that is gone has no order, and an amount of 1."""
    return f"[{words.price(price)},{min(lots, 3)},{sign}{words.size(lots) if lots else 1}]"


def changed_level(words: Words) -> str:
    fact, listing = words.fact, words["listing"]
    book, sign = (listing.bids, "") if fact.side == "bid" else (listing.asks, "-")
    return _level(words, sign, fact.price, book.get(fact.price, 0))


def checksum(words: Words) -> int:
    """Of the best levels, bid and ask by turns, as they are written; signed."""
    listing, parts = words["listing"], []
    bids, asks = (
        sorted(side.items(), reverse=is_bid) for side, is_bid in ((listing.bids, True), (listing.asks, False))
    )
    for bid, ask in zip(bids[:CHECKED_LEVELS], asks[:CHECKED_LEVELS], strict=True):
        parts += [words.price(bid[0]), words.size(bid[1]), words.price(ask[0]), f"-{words.size(ask[1])}"]
    found = crc32(":".join(parts).encode())
    return found - (1 << 32) if found >> 31 else found


BITFINEX_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "amount": lambda words: words["size"] if words.fact.buyer_takes else f"-{words['size']}",
    "level": changed_level,
    "levels": levels_text,
    "checksum": checksum,
}
