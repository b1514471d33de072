"""The ten best levels of a simulated Kraken's books, told by what changed among them, and their checksum."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from etl.simulator.market import Change
from etl.simulator.words import Words

DEPTH = 10

Side = dict[int, int]


def best_of(side: Side, sign: int) -> Side:
    return dict(sorted(side.items(), key=lambda level: sign * level[0])[:DEPTH])


def _before_and_now(words: Words, name: str, sign: int) -> tuple[Side, Side]:
    """The best levels before and now; none before a snapshot."""
    if not isinstance(words.fact, Change):
        return {}, best_of(dict(getattr(words.fact, f"{name}s")), sign)
    now: Side = getattr(words["listing"], f"{name}s")
    before = dict(now)
    for price, added in getattr(words.fact, f"{name}_deltas"):
        before[price] = before.get(price, 0) - added
    return best_of({price: lots for price, lots in before.items() if lots}, sign), best_of(now, sign)


def levels(name: str, sign: int) -> Callable[[Words], str]:
    def write(words: Words) -> str:
        before, now = _before_and_now(words, name, sign)
        gone = [price for price in before if price not in getattr(words["listing"], f"{name}s")]
        changed = [(price, 0) for price in gone] + [it for it in now.items() if before.get(it[0]) != it[1]]
        return ",".join(
            f'{{"price":{words.price(price)},"qty":{words.size(lots)}}}' for price, lots in changed
        )

    return write


def checksum(words: Words) -> int:
    """Of ticks and lots: they have all the digits, and no zeros before them."""
    levels = [*_before_and_now(words, "ask", 1)[1].items(), *_before_and_now(words, "bid", -1)[1].items()]
    return crc32("".join(f"{price}{lots}" for price, lots in levels).encode())
