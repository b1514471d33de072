"""What a venue has to send: a synthetic session here, a recorded one in ``replay.py``.

A session says what is due at a given time; it opens nothing and reads no clock.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from etl.model.times import NS_PER_S
from etl.simulator.history import History
from etl.simulator.market import Bar, Instrument, Listing
from etl.simulator.truth import UNTOLD, TruthEvent

FIRST_NUMBER = 1_000_000_000
"""The first id of every counter of a session without a past."""
BURST_ITEMS = 512
"""Items at once when there is no rate: as fast as the clients read."""
OWED_S_MAX = 1.0
"""A session that was held up for longer does not make up for it."""
SAME_TIME_SHARE = 0.2
"""Share of prints with the time of the one before: pages of history are cut inside a timestamp."""
FORMING_BAR_NS = 2 * NS_PER_S


class Item(Struct, frozen=True, gc=False):
    """One event on one stream, as the venue writes it, and what it is; ``position`` is its line in a recording, and
    ``whole`` the frame there, if it is a part of one."""

    stream: str
    payload: bytes
    event: TruthEvent = UNTOLD
    position: int = 0
    whole: bytes = b""


class RecordedResponse(Struct, frozen=True):
    """An answer out of a recording, and what it is."""

    payload: bytes
    event: TruthEvent


class Session(Protocol):
    label: str
    """``synthetic`` or ``recording``."""
    history: History
    skew_ns: int
    """How far the venue's clock is ahead."""
    tempo: int
    """How many times its rate it goes at; one without a rate keeps its pace."""

    def subscribe(self, stream: str) -> None: ...

    def end(self, symbol: str) -> None:
        """No more of this symbol."""

    def due(self, now_ns: int) -> list[Item]:
        """What is to be sent now, in order."""

    def snapshot(self, symbol: str, now_ns: int) -> Any:
        """The book as it is: a market's ``Snapshot``, a ``RecordedResponse``, or ``None`` = not there yet."""

    def listing(self, symbol: str) -> Listing:
        """The market behind a symbol; only a synthetic session has one."""

    @property
    def finished(self) -> bool: ...


class MessageWriter(Protocol):
    """What a venue adds to the market: which streams there are, and how their events are written."""

    @property
    def shares(self) -> Mapping[str, float]:
        """Channel → its share of events; bars come by time."""

    @property
    def prints(self) -> frozenset[str]:
        """Channels of trades: several may have one time."""

    @property
    def bar_channels(self) -> Mapping[str, int]:
        """Channel → length of its bars in ns."""

    sends_forming_bars: bool

    def instrument(self, symbol: str) -> Instrument: ...

    def split(self, stream: str) -> tuple[str, str]:
        """Stream → (symbol, channel)."""

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]: ...

    def bar(
        self, listing: Listing, channel: str, bar: Bar, now_ns: int, closed: bool, history: History
    ) -> list[Item]: ...


class SyntheticSession:
    """Seeded: the same subscriptions, times and seed give the same bytes. ``rate`` is in events/s, 0 = no pace."""

    label = "synthetic"

    def __init__(
        self,
        writer: MessageWriter,
        rate: float,
        seed: int,
        first_number: int = FIRST_NUMBER,
        history: History | None = None,
    ) -> None:
        self.history = history or History()
        self.skew_ns = 0
        self.tempo = 1
        self._writer = writer
        self._rate = rate
        self._seed = seed
        self._rng = random.Random(seed)
        self._first_number = first_number
        self._last_ns = 0
        self._owed = 0.0
        self._streams: frozenset[str] = frozenset()
        self._listings: dict[str, Listing] = {}
        self._choices: list[tuple[Listing, str]] = []
        self._weights: list[float] = []
        self._bars: list[tuple[Listing, str, int]] = []
        self._formed_ns = 0

    @property
    def finished(self) -> bool:
        return False

    def listing(self, symbol: str) -> Listing:
        if symbol not in self._listings:
            rng = random.Random(f"{self._seed}/{symbol}")
            self._listings[symbol] = Listing(self._writer.instrument(symbol), rng, self._first_number)
        return self._listings[symbol]

    @property
    def listings(self) -> Mapping[str, Listing]:
        return self._listings

    def subscribe(self, stream: str) -> None:
        if stream in self._streams:
            return
        self._follow(self._streams | {stream})

    def end(self, symbol: str) -> None:
        self._follow(frozenset(each for each in self._streams if self._writer.split(each)[0] != symbol))
        self._listings.pop(symbol, None)

    def _follow(self, streams: frozenset[str]) -> None:
        self._streams, self._choices, self._bars = streams, [], []
        total = 0.0
        self._weights = []
        for name in sorted(self._streams):
            symbol, channel = self._writer.split(name)
            listing = self.listing(symbol)
            if channel in self._writer.bar_channels:
                self._bars.append((listing, channel, self._writer.bar_channels[channel]))
            elif channel in self._writer.shares:
                total += self._writer.shares[channel]
                self._choices.append((listing, channel))
                self._weights.append(total)

    def snapshot(self, symbol: str, now_ns: int) -> Any:
        return self.listing(symbol).snapshot(now_ns + self.skew_ns)

    def due(self, now_ns: int) -> list[Item]:
        if now_ns <= self._last_ns:
            return []
        count = self._count(now_ns)
        items = self._due_bars(now_ns)
        # every bar ends on a whole second: what is drawn now lies after all the ends that have come
        start_ns = max(self._last_ns, now_ns - now_ns % NS_PER_S)
        step_ns = max(1, (now_ns - start_ns) // (count + 1))
        time_ns = start_ns + self.skew_ns
        for _ in range(count if self._choices else 0):
            draw = self._rng.random()
            listing, channel = self._choices[bisect_left(self._weights, draw * self._weights[-1])]
            if draw * 1_000 % 1 >= SAME_TIME_SHARE or channel not in self._writer.prints:
                time_ns += step_ns
            items += self._writer.draw(listing, channel, time_ns, self._streams, self.history)
        self._last_ns = max(now_ns, time_ns - self.skew_ns)
        return items

    def _count(self, now_ns: int) -> int:
        if not self._rate:
            return BURST_ITEMS
        elapsed_s = (now_ns - self._last_ns) / NS_PER_S if self._last_ns else 0.0
        self._owed += self._rate * self.tempo * min(OWED_S_MAX, elapsed_s)
        count = int(self._owed)
        self._owed -= count
        return count

    def _due_bars(self, now_ns: int) -> list[Item]:
        items: list[Item] = []
        forming = self._writer.sends_forming_bars and now_ns - self._formed_ns >= FORMING_BAR_NS
        if forming:
            self._formed_ns = now_ns
        for listing, channel, interval_ns in self._bars:
            for bar in listing.close_bars(interval_ns, now_ns):
                items += self._writer.bar(listing, channel, bar, now_ns, True, self.history)
            if forming and listing.bars[interval_ns].count:
                items += self._writer.bar(
                    listing, channel, listing.bars[interval_ns], now_ns, False, self.history
                )
        return items
