"""A synthetic market: random walks with a true order book, prints, and bars made of those prints.

Venue-neutral and free of clocks: the caller says what time it is, the seed says what happens. Prices are
whole ticks and sizes whole lots, so every decimal that a venue file renders is exact.

    Market ── Instrument (facts) ── Listing (state: book, ids, bars)
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

BOOK_LEVELS = 50
"""Levels kept on each side of the true book."""
DEEP_CHANGES_MAX = 6
LOTS_MAX = 5_000
DRAWS = 1_000_003
TEXTS_MAX = 65_536
"""Remembered texts of decimals: prices and sizes repeat, and a text costs 0.6 us anew, 0.1 us again."""
MOVE_SHARE = 0.15
"""Share of book changes that move the best prices by a tick."""


class Instrument(Struct, frozen=True):
    """``symbol`` is the venue's own, ``unified`` ours. ``start_ticks`` is the first price in units of
    10^-price_digits, sizes are in 10^-size_digits."""

    symbol: str
    unified: str
    price_digits: int
    size_digits: int
    start_ticks: int


class Print(Struct, frozen=True, gc=False):
    """``number`` is contiguous, ``sequence`` only rises. ``draw`` is spare chance for the venue to spend."""

    number: int
    sequence: int
    time_ns: int
    price: int
    size: int
    buyer_takes: bool
    draw: int


class Top(Struct, frozen=True, gc=False):
    """``number`` is the book's update id."""

    number: int
    sequence: int
    time_ns: int
    bid: int
    bid_size: int
    ask: int
    ask_size: int
    draw: int


class Change(Struct, frozen=True):
    """Levels changed in updates ``first``..``last``; size 0 removes. ``previous`` is the last change's ``last``.
    ``bid_deltas`` and ``ask_deltas`` are the same changes as what is added to a level's size. ``number`` counts the
    changes themselves."""

    first: int
    last: int
    previous: int
    time_ns: int
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    bid_deltas: tuple[tuple[int, int], ...] = ()
    ask_deltas: tuple[tuple[int, int], ...] = ()
    number: int = 0

    def by_level(self) -> list[LevelChange]:
        """For venues that tell each level by itself. What is taken away comes first: no book is crossed in between."""
        sides = (("bid", self.bid_deltas), ("ask", self.ask_deltas))
        changes = [LevelChange(side, *level, self.time_ns) for side, deltas in sides for level in deltas]
        return sorted((each for each in changes if each.delta), key=lambda each: each.delta)


class LevelChange(Struct, frozen=True):
    side: str
    price: int
    delta: int
    time_ns: int


class Snapshot(Struct, frozen=True):
    """``number`` is that of the last change in it."""

    last: int
    time_ns: int
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    number: int = 0


class Bar(Struct):
    """``turnover`` is in ticks x lots; ``bought`` and ``turnover_bought`` are the taker buys' share."""

    start_ns: int
    interval_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0
    bought: int = 0
    turnover_bought: int = 0
    count: int = 0
    first_number: int = -1
    last_number: int = -1

    @property
    def time_ns(self) -> int:
        return self.start_ns

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.interval_ns

    def add(self, event: Print) -> None:
        self.high = max(self.high, event.price)
        self.low = min(self.low, event.price)
        self.close = event.price
        self.volume += event.size
        self.turnover += event.price * event.size
        if event.buyer_takes:
            self.bought += event.size
            self.turnover_bought += event.price * event.size
        if not self.count:
            self.open = self.high = self.low = event.price
            self.first_number = event.number
        self.count += 1
        self.last_number = event.number


class Listing:
    """One instrument as it trades: the true book, the id counters and the forming bars."""

    def __init__(self, instrument: Instrument, rng: random.Random, first_number: int) -> None:
        self.instrument = instrument
        self._rng = rng
        self.last_print = first_number
        self.last_sequence = first_number
        self.last_update = first_number
        self.last_change = self.last_update
        self.changes = first_number
        """How many there were, from the first number on."""
        self.best_bid = instrument.start_ticks
        self.bids = {self.best_bid - n: self._lots() for n in range(BOOK_LEVELS)}
        self.asks = {self.best_bid + 1 + n: self._lots() for n in range(BOOK_LEVELS)}
        self._former_bids: dict[int, int] = {}
        """What the levels that changed since the last ``change`` had before."""
        self._former_asks: dict[int, int] = {}
        self.bars: dict[int, Bar] = {}

    @property
    def best_ask(self) -> int:
        return self.best_bid + 1

    def print(self, time_ns: int) -> Print:
        draw = self._rng.random()
        spare = int(draw * DRAWS)
        self.last_print += 1
        self.last_sequence += 1 + spare % 3
        buyer_takes = draw < 0.5
        price = self.best_ask if buyer_takes else self.best_bid
        size = 1 + spare % LOTS_MAX
        event = Print(self.last_print, self.last_sequence, time_ns, price, size, buyer_takes, spare)
        for bar in self.bars.values():
            bar.add(event)
        return event

    def top(self, time_ns: int) -> Top:
        """A change at the best price, or a move of it by one tick, and what is best then."""
        draw = self._rng.random()
        if draw < MOVE_SHARE:
            self._move(up=draw < MOVE_SHARE / 2)
        elif draw < 0.5:
            self._set_bid(self.best_bid, self._lots())
        else:
            self._set_ask(self.best_ask, self._lots())
        spare = int(draw * DRAWS)
        self.last_sequence += 1 + spare % 3
        return self.best(time_ns, spare)

    def best(self, time_ns: int, draw: int = 0) -> Top:
        """What is best now; nothing changes."""
        bid, ask = self.best_bid, self.best_ask
        return Top(
            self.last_update, self.last_sequence, time_ns, bid, self.bids[bid], ask, self.asks[ask], draw
        )

    def change(self, time_ns: int) -> Change:
        """All changes of the book since the last ``change``, after a few more deep in it."""
        for _ in range(1 + self._rng.randrange(DEEP_CHANGES_MAX)):
            offset = 1 + self._rng.randrange(BOOK_LEVELS - 1)
            if self._rng.random() < 0.5:
                self._set_bid(self.best_bid - offset, self._lots())
            else:
                self._set_ask(self.best_ask + offset, self._lots())
        self.changes += 1
        event = Change(
            self.last_change + 1,
            self.last_update,
            self.last_change,
            time_ns,
            tuple((price, self.bids.get(price, 0)) for price in sorted(self._former_bids, reverse=True)),
            tuple((price, self.asks.get(price, 0)) for price in sorted(self._former_asks)),
            tuple(
                (price, self.bids.get(price, 0) - size)
                for price, size in sorted(self._former_bids.items(), reverse=True)
            ),
            tuple(
                (price, self.asks.get(price, 0) - size) for price, size in sorted(self._former_asks.items())
            ),
            self.changes,
        )
        self.last_change = self.last_update
        self._former_bids, self._former_asks = {}, {}
        return event

    def snapshot(self, time_ns: int) -> Snapshot:
        return Snapshot(
            self.last_update,
            time_ns,
            tuple(sorted(self.bids.items(), reverse=True)),
            tuple(sorted(self.asks.items())),
            self.changes,
        )

    def told(self, time_ns: int) -> Snapshot:
        """The book as those know it who have heard every ``change``: the next one goes on from here."""
        bids = {price: size for price, size in (self.bids | self._former_bids).items() if size}
        asks = {price: size for price, size in (self.asks | self._former_asks).items() if size}
        return Snapshot(
            self.last_change,
            time_ns,
            tuple(sorted(bids.items(), reverse=True)),
            tuple(sorted(asks.items())),
            self.changes,
        )

    def close_bars(self, interval_ns: int, now_ns: int) -> Iterator[Bar]:
        """Bars whose end has come; the next one is open afterwards, flat at the last close."""
        bar = self.bars.get(interval_ns)
        if bar is None:
            self.bars[interval_ns] = self._open_bar(interval_ns, now_ns, self.best_bid)
            return
        if now_ns >= bar.end_ns:
            yield bar
            self.bars[interval_ns] = self._open_bar(interval_ns, now_ns, bar.close)

    def _open_bar(self, interval_ns: int, now_ns: int, price: int) -> Bar:
        return Bar(now_ns - now_ns % interval_ns, interval_ns, price, price, price, price)

    def skip_numbers(self, count: int) -> None:
        """Ids that the venue leaves out: a hole that no history can fill."""
        self.last_print += count
        self.last_update += count
        self.last_change += count
        self.changes += count

    def reset_numbers(self, first_number: int) -> None:
        """The venue starts counting anew."""
        self.last_print = first_number
        self.last_sequence = first_number
        self.last_update = self.last_change = self.changes = first_number
        self._former_bids, self._former_asks = {}, {}

    def _lots(self) -> int:
        return 1 + int(self._rng.random() * LOTS_MAX)

    def _set_bid(self, price: int, size: int) -> None:
        self.last_update += 1
        self._former_bids.setdefault(price, self.bids.get(price, 0))
        if size:
            self.bids[price] = size
        else:
            self.bids.pop(price, None)

    def _set_ask(self, price: int, size: int) -> None:
        self.last_update += 1
        self._former_asks.setdefault(price, self.asks.get(price, 0))
        if size:
            self.asks[price] = size
        else:
            self.asks.pop(price, None)

    def _move(self, *, up: bool) -> None:
        """Both ladders shift by a tick and keep their length; the walk turns around near zero."""
        if up or self.best_bid <= 2 * BOOK_LEVELS:
            self._set_ask(self.best_ask, 0)
            self._set_bid(self.best_ask, self._lots())
            self._set_bid(self.best_bid - BOOK_LEVELS + 1, 0)
            self._set_ask(self.best_ask + BOOK_LEVELS, self._lots())
            self.best_bid += 1
        else:
            self._set_bid(self.best_bid, 0)
            self._set_ask(self.best_bid, self._lots())
            self._set_ask(self.best_bid + BOOK_LEVELS, 0)
            self._set_bid(self.best_bid - BOOK_LEVELS, self._lots())
            self.best_bid -= 1


@lru_cache(maxsize=TEXTS_MAX)
def decimal_text(units: int, digits: int, width: int = 0) -> str:
    """``units`` x 10^-digits, with all its digits: 6183763, 2 → ``61837.63``; filled up to ``width`` digits."""
    if units < 0:
        return f"-{decimal_text(-units, digits, width)}"
    if width > digits:
        units, digits = units * 10 ** (width - digits), width
    if not digits:
        return str(units)
    text = str(units).rjust(digits + 1, "0")
    return f"{text[:-digits]}.{text[-digits:]}"


@lru_cache(maxsize=TEXTS_MAX)
def number_text(units: int, digits: int) -> str:
    """As ``decimal_text``, shortest form, as JSON numbers are written: ``161.9``, ``162``."""
    text = decimal_text(units, digits)
    return text.rstrip("0").rstrip(".") if digits else text
