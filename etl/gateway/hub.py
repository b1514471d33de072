"""Who wants what of the topic, and its handing out: each message is looked at once, and written once in each form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from etl.gateway.entry import Entry, entry_of
from etl.gateway.latest import Latest
from etl.gateway.ring import Ring
from etl.transports.message import Message
from etl.wire.cursor import cursor_text

ROUTES_MAX = 200_000
"""Instruments and kinds whose clients are remembered."""
HANDED_OUT_MAX = 500
"""Messages after which clients get what they have by then, with the cursor that belongs to it."""


class Listener(Protocol):
    """A client that is told what comes."""

    def wants(self, route: tuple[bytes, int]) -> bool: ...

    def deliver(self, entries: list[Entry], cursor: str) -> None:
        """All that it wants of what was read since the last call; ``cursor`` stands after it."""


class Hub:
    """On the event loop alone. ``topic`` is the mark of the topic in cursors."""

    def __init__(self, topic: str, ring: Ring, latest: Latest) -> None:
        self.topic = topic
        self.ring = ring
        self.latest = latest
        self.read_messages = 0
        self.delivered_records = 0
        self._listeners: dict[int, Listener] = {}
        self._routes: dict[tuple[bytes, int], tuple[int, ...]] = {}

    @property
    def cursor(self) -> str:
        """After all that was read."""
        return cursor_text(self.topic, self.ring.ends)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> None:
        """From the next message on; also for one that wants other things than before."""
        self._listeners[id(listener)] = listener
        self._routes.clear()

    def remove(self, listener: Listener) -> None:
        if self._listeners.pop(id(listener), None) is not None:
            self._routes.clear()

    def take(self, messages: Sequence[Message]) -> None:
        """What came, in the order of each partition."""
        for first in range(0, len(messages), HANDED_OUT_MAX):
            self._hand_out(messages[first : first + HANDED_OUT_MAX])

    def _hand_out(self, messages: Sequence[Message]) -> None:
        wanted: dict[int, list[Entry]] = {}
        written: list[Entry] = []
        for message in messages:
            entry = entry_of(message)
            if entry is None:
                self.ring.skip(message.partition, message.offset)
                continue
            self.ring.add(entry)
            self.latest.take(entry)
            listeners = self._routes.get(entry.route)
            if listeners is None:
                listeners = self._route(entry.route)
            if not listeners:
                continue
            written.append(entry)
            for listener in listeners:
                wanted.setdefault(listener, []).append(entry)
        self.read_messages += len(messages)
        cursor = self.cursor if wanted else ""
        for listener, entries in wanted.items():
            self.delivered_records += len(entries)
            self._listeners[listener].deliver(entries, cursor)
        for entry in written:
            entry.forget()

    def _route(self, route: tuple[bytes, int]) -> tuple[int, ...]:
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        found = tuple(number for number, listener in self._listeners.items() if listener.wants(route))
        self._routes[route] = found
        return found
