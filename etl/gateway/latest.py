"""What stands now of each instrument: its last trade, quote, status, statistics, and the bar of each length."""

from __future__ import annotations

from etl.gateway.entry import Entry
from etl.gateway.selection import Selection
from etl.model.records import Kind, Source
from etl.wire.codec import parse
from etl.wire.glance import glance

INSTRUMENTS_MAX = 200_000
"""Whose state is kept; the one that came first goes."""
KEPT = frozenset(map(int, (Kind.TRADE, Kind.AGG_TRADE, Kind.QUOTE, Kind.STATUS, Kind.STATS, Kind.BAR)))
_BAR = int(Kind.BAR)
_STREAM = int(Source.STREAM)

State = dict[tuple[int, str], Entry]
"""By kind and, of bars, their length."""


class Latest:
    def __init__(self) -> None:
        self._states: dict[bytes, State] = {}

    def take(self, entry: Entry) -> None:
        key, kind = entry.route
        if kind not in KEPT or glance(entry.value).source != _STREAM:
            return  # what was repaired is older than what stands
        interval = parse(entry.value).interval if kind == _BAR else ""
        state = self._states.get(key)
        if state is None:
            if len(self._states) >= INSTRUMENTS_MAX:
                del self._states[next(iter(self._states))]
            state = self._states[key] = {}
        state[kind, interval] = entry

    def of(self, selection: Selection) -> list[Entry]:
        """In the order in which they were read."""
        found = [
            entry
            for key, state in self._states.items()
            if selection.has(key)
            for entry in state.values()
            if selection.matches(entry.route)
        ]
        found.sort(key=lambda entry: entry.number)
        return found
