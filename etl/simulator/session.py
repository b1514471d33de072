"""What a venue has to send: a synthetic session here, a recorded one in ``recording.py``.

A session says what is due at a given time; it opens nothing and reads no clock.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from etl.simulator.market import Bar, Instrument, Listing, Print, Top
from etl.simulator.past import Past

SECOND = 1_000_000_000
FIRST_NUMBER = 1_000_000_000
"""The first id of every counter of a session without a past."""
BURST_ITEMS = 512
"""Items at once when there is no rate: as fast as the clients read."""
OWED_S_MAX = 1.0
"""A session that was held up for longer does not make up for it."""
SAME_TIME_SHARE = 0.2
"""Share of prints with the time of the one before: pages of history are cut inside a timestamp."""
HISTORY_ENTRIES_MAX = 200_000
"""Kept per symbol and kind for the request interface; half goes when it is full."""
FORMING_BAR_NS = 2 * SECOND
TAIL_ENTRIES = 5_000
"""Kept per symbol and kind from one life to the next: what a gap over the pause asks for."""


class Item(Struct, frozen=True, gc=False):
    """One event on one stream, as the venue writes it; ``position`` is its line in a recording."""

    stream: str
    payload: bytes
    position: int = 0


class Entry(Struct, frozen=True, gc=False):
    """One fact that the request interface can give again; ``fact`` is what the venue file made it of."""

    number: int
    time_ns: int
    fact: Any


class History:
    """Bounded memory of what was sent, per symbol and kind, in the order of sending, and the days before.

    ``past_kinds`` says what a kind is in the past: ``prints``, ``tops``, or the length of its bars in ns.
    """

    def __init__(
        self,
        entries_max: int = HISTORY_ENTRIES_MAX,
        past: Past | None = None,
        past_kinds: Mapping[str, str | int] | None = None,
    ) -> None:
        self._entries_max = entries_max
        self._past = past
        self._past_kinds = past_kinds or {}
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        self._turned_back: set[tuple[str, str]] = set()

    @property
    def past_end_ns(self) -> int:
        """Where the days before end, 0 = there are none."""
        return 0 if self._past is None else self._past.end_ns

    def add(self, symbol: str, kind: str, entry: Entry) -> None:
        entries = self._entries.setdefault((symbol, kind), [])
        if entries and (entry.time_ns < entries[-1].time_ns or entry.number < entries[-1].number):
            self._turned_back.add((symbol, kind))
        entries.append(entry)
        if len(entries) > self._entries_max:
            del entries[: self._entries_max // 2]

    def tail(self) -> bytes:
        """The end of what was sent, for ``load`` in a later life."""
        tails = [(*place, entries[-TAIL_ENTRIES:]) for place, entries in self._entries.items()]
        return msgspec.msgpack.encode(tails)

    def load(self, tail: bytes) -> None:
        """Before anything is added."""
        for symbol, kind, entries in msgspec.msgpack.decode(tail, type=list[tuple[str, str, list[Entry]]]):
            fact = _FACTS.get(self._past_kinds.get(kind, ""), Bar)
            for entry in entries:
                is_plain = kind not in self._past_kinds or "p" in entry.fact
                known = entry.fact if is_plain else msgspec.convert(entry.fact, fact)
                self.add(symbol, kind, Entry(entry.number, entry.time_ns, known))

    def last(self, symbol: str, kind: str, limit: int) -> Sequence[Entry]:
        return self._entries.get((symbol, kind), [])[-limit:]

    def from_number(self, symbol: str, kind: str, number: int, limit: int) -> Sequence[Entry]:
        entries = self._entries.get((symbol, kind), [])
        if (symbol, kind) in self._turned_back:
            entries = sorted(entries, key=_number)
        start = bisect_left(entries, number, key=_number)
        older: range | list[int] = []
        if self._past is not None and self._past_kinds.get(kind) == "prints":
            older = self._past.from_number(symbol, number)[:limit]
        found = [*self._of_past(symbol, kind, older), *entries[start : start + limit]]
        # a reset puts today's ids below those of the days before
        return sorted(found, key=_number)[:limit]

    def between(
        self, symbol: str, kind: str, start_ns: int, end_ns: int, skip: int, limit: int
    ) -> Sequence[Entry]:
        """Entries with start_ns <= time < end_ns, without the first ``skip`` of them."""
        entries = self._entries.get((symbol, kind), [])
        if (symbol, kind) in self._turned_back:
            entries = sorted(entries, key=_time)
        older = self._steps_of_past(kind, start_ns, end_ns)
        chosen = older[skip : skip + limit]
        skip, limit = max(0, skip - len(older)), limit - len(chosen)
        start = bisect_left(entries, start_ns, key=_time) + skip
        end = bisect_left(entries, end_ns, key=_time)
        return [*self._of_past(symbol, kind, chosen), *entries[start : min(end, start + limit)]]

    def _steps_of_past(self, kind: str, start_ns: int, end_ns: int) -> range:
        what = self._past_kinds.get(kind)
        if self._past is None or what is None:
            return range(0)
        if isinstance(what, int):
            return self._past.bars(what, start_ns, end_ns)
        return self._past.between(start_ns, end_ns)

    def _of_past(self, symbol: str, kind: str, steps: Sequence[int]) -> list[Entry]:
        what = self._past_kinds.get(kind)
        if self._past is None or what is None or not steps:
            return []
        if isinstance(what, int):
            return [Entry(start, start, self._past.bar(symbol, what, start)) for start in steps]
        if what == "prints":
            return [Entry(e.number, e.time_ns, e) for e in self._past.prints(symbol, steps)]
        return [Entry(e.number, e.time_ns, e) for e in self._past.tops(symbol, steps)]


_FACTS: dict[str | int, type[Struct]] = {"prints": Print, "tops": Top}
"""What the facts of a kind are, by ``past_kinds``; a length of time stands for bars. A recording's are plain."""


def _number(entry: Entry) -> int:
    return entry.number


def _time(entry: Entry) -> int:
    return entry.time_ns


class Session(Protocol):
    label: str
    """``synthetic`` or ``recording``."""
    history: History
    skew_ns: int
    """How far the venue's clock is ahead."""

    def subscribe(self, stream: str) -> None: ...

    def due(self, now_ns: int) -> list[Item]:
        """What is to be sent now, in order."""

    def snapshot(self, symbol: str, now_ns: int) -> Any:
        """The book as it is: a market's ``Snapshot``, a recorded answer, or ``None`` = not there yet."""

    def listing(self, symbol: str) -> Listing:
        """The market behind a symbol; only a synthetic session has one."""

    @property
    def finished(self) -> bool: ...


class Quill(Protocol):
    """What a venue file adds to the market: which streams there are, and how their events are written."""

    weights: Mapping[str, float]
    """Channel → its share of events; bars come by time."""
    bar_channels: Mapping[str, int]
    """Channel → length of its bars in ns."""
    sends_forming_bars: bool
    past_kinds: Mapping[str, str | int]
    """What each kind of the history is in the past, see ``History``."""

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
        quill: Quill,
        rate: float,
        seed: int,
        first_number: int = FIRST_NUMBER,
        history: History | None = None,
    ) -> None:
        self.history = history or History()
        self.skew_ns = 0
        self._quill = quill
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
            self._listings[symbol] = Listing(self._quill.instrument(symbol), rng, self._first_number)
        return self._listings[symbol]

    @property
    def listings(self) -> Mapping[str, Listing]:
        return self._listings

    def subscribe(self, stream: str) -> None:
        if stream in self._streams:
            return
        self._streams |= {stream}
        self._choices, self._bars = [], []
        total = 0.0
        self._weights = []
        for name in sorted(self._streams):
            symbol, channel = self._quill.split(name)
            listing = self.listing(symbol)
            if channel in self._quill.bar_channels:
                self._bars.append((listing, channel, self._quill.bar_channels[channel]))
            elif channel in self._quill.weights:
                total += self._quill.weights[channel]
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
        start_ns = max(self._last_ns, now_ns - now_ns % SECOND)
        step_ns = max(1, (now_ns - start_ns) // (count + 1))
        time_ns = start_ns + self.skew_ns
        for _ in range(count if self._choices else 0):
            draw = self._rng.random()
            listing, channel = self._choices[bisect_left(self._weights, draw * self._weights[-1])]
            if draw * 1_000 % 1 >= SAME_TIME_SHARE or channel not in _PRINTS:
                time_ns += step_ns
            items += self._quill.draw(listing, channel, time_ns, self._streams, self.history)
        self._last_ns = max(now_ns, time_ns - self.skew_ns)
        return items

    def _count(self, now_ns: int) -> int:
        if not self._rate:
            return BURST_ITEMS
        elapsed_s = (now_ns - self._last_ns) / SECOND if self._last_ns else 0.0
        self._owed += self._rate * min(OWED_S_MAX, elapsed_s)
        count = int(self._owed)
        self._owed -= count
        return count

    def _due_bars(self, now_ns: int) -> list[Item]:
        items: list[Item] = []
        forming = self._quill.sends_forming_bars and now_ns - self._formed_ns >= FORMING_BAR_NS
        if forming:
            self._formed_ns = now_ns
        for listing, channel, interval_ns in self._bars:
            for bar in listing.close_bars(interval_ns, now_ns):
                items += self._quill.bar(listing, channel, bar, now_ns, True, self.history)
            if forming and listing.bars[interval_ns].count:
                items += self._quill.bar(
                    listing, channel, listing.bars[interval_ns], now_ns, False, self.history
                )
        return items


_PRINTS = frozenset(("trade", "aggTrade", "T", "trades"))
