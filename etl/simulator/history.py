"""What a venue can be asked for again: a bounded memory of what was sent, behind it the days before (``past.py``)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from etl.simulator.market import Bar, Print, Top
from etl.simulator.past import Past

HISTORY_ENTRIES_MAX = 200_000
"""Kept per symbol and kind for the request interface; half goes when it is full."""
TAIL_ENTRIES = 5_000
"""Kept per symbol and kind from one life to the next: what a gap over the pause asks for."""

FactKind = str | int
PRINTS, TOPS = "prints", "tops"
RECORDED = "recorded"
"""Stands among the words of a fact that comes from a recording."""


class Entry(Struct, frozen=True, gc=False):
    """One fact that the request interface can give again; ``fact`` is what the venue file made it of."""

    number: int
    time_ns: int
    fact: Any


class History:
    """Bounded memory of what was sent, per symbol and kind, in the order of sending, and the days before.

    A kind is ``PRINTS``, ``TOPS``, or the length of its bars in ns; a recording's facts are of any kind.
    """

    def __init__(self, entries_max: int = HISTORY_ENTRIES_MAX, past: Past | None = None) -> None:
        self._entries_max = entries_max
        self._past = past
        self._entries: dict[tuple[str, FactKind], list[Entry]] = {}
        self._turned_back: set[tuple[str, FactKind]] = set()

    @property
    def past_end_ns(self) -> int:
        """Where the days before end, 0 = there are none."""
        return 0 if self._past is None else self._past.end_ns

    def add(self, symbol: str, kind: FactKind, entry: Entry) -> None:
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
        for symbol, kind, entries in msgspec.msgpack.decode(
            tail, type=list[tuple[str, FactKind, list[Entry]]]
        ):
            if kind not in _FACTS and isinstance(kind, str):
                continue
            for entry in entries:
                known = entry.fact
                if RECORDED not in known:
                    known = msgspec.convert(known, _FACTS.get(kind, Bar))
                self.add(symbol, kind, Entry(entry.number, entry.time_ns, known))

    def last(self, symbol: str, kind: FactKind, limit: int) -> Sequence[Entry]:
        return self._entries.get((symbol, kind), [])[-limit:]

    def from_number(self, symbol: str, kind: FactKind, number: int, limit: int) -> Sequence[Entry]:
        entries = self._entries.get((symbol, kind), [])
        if (symbol, kind) in self._turned_back:
            entries = sorted(entries, key=_number)
        start = bisect_left(entries, number, key=_number)
        older: range | list[int] = []
        if self._past is not None and kind == PRINTS:
            older = self._past.from_number(symbol, number)[:limit]
        found = [*self._of_past(symbol, kind, older), *entries[start : start + limit]]
        # a reset puts today's ids below those of the days before
        return sorted(found, key=_number)[:limit]

    def below(
        self, symbol: str, kind: FactKind, limit: int, number: int | None = None, end_ns: int = 1 << 62
    ) -> Sequence[Entry]:
        """The last ``limit`` entries before ``number``, or before a time, in their order."""
        key, bound = (_time, end_ns) if number is None else (_number, number)
        entries = self._entries.get((symbol, kind), [])
        if (symbol, kind) in self._turned_back:
            entries = sorted(entries, key=key)
        end = bisect_left(entries, bound, key=key)
        older = self._steps_of_past(kind, 0, end_ns)
        if number is not None and self._past is not None:
            older = older[: max(0, len(older) + number - self._past.last_number(symbol) - 1)]
        found = [*self._of_past(symbol, kind, older[-limit:]), *entries[max(0, end - limit) : end]]
        return sorted(found, key=key)[-limit:]

    def between(
        self, symbol: str, kind: FactKind, start_ns: int, end_ns: int, skip: int, limit: int
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

    def _steps_of_past(self, kind: FactKind, start_ns: int, end_ns: int) -> range:
        if self._past is None:
            return range(0)
        if isinstance(kind, int):
            return self._past.bars(kind, start_ns, end_ns)
        return self._past.between(start_ns, end_ns)

    def _of_past(self, symbol: str, kind: FactKind, steps: Sequence[int]) -> list[Entry]:
        if self._past is None or not steps:
            return []
        if isinstance(kind, int):
            return [Entry(start, start, self._past.bar(symbol, kind, start)) for start in steps]
        if kind == PRINTS:
            return [Entry(e.number, e.time_ns, e) for e in self._past.prints(symbol, steps)]
        return [Entry(e.number, e.time_ns, e) for e in self._past.tops(symbol, steps)]


_FACTS: dict[FactKind, type[Struct]] = {PRINTS: Print, TOPS: Top}
"""What the facts of a kind are; a length of time stands for bars. A recording's are the words it was written in."""


def _number(entry: Entry) -> int:
    return entry.number


def _time(entry: Entry) -> int:
    return entry.time_ns
