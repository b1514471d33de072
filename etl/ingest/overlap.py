"""Two connections that carry the same streams: of each event the first copy is published, the second counted."""

from __future__ import annotations

from etl.ingest.observer import Observer
from etl.model.records import Bar, Gap, Quarantined, Record
from etl.telemetry.worker import WorkerCounts

IDENTITIES_MAX = 500_000
"""Identities remembered while two connections carry the same streams; the oldest half goes when it is full."""
OVERLAP_DOUBLE = "overlap_double"
"""Name under which the second copy of an event on overlapping connections is counted."""


class Overlap(Observer):
    """Of all connections of a feed; it listens while any stream has two."""

    def __init__(self, counts: WorkerCounts) -> None:
        self._counts = counts
        self._streams: set[str] = set()
        self._seen: dict[tuple[str, str, str], None] = {}

    def mark(self, stream: str, begins: bool) -> None:
        """From before a successor of ``stream`` is opened until after the old connection is closed."""
        if begins:
            self._streams.add(stream)
        else:
            self._streams.discard(stream)
        self.listens = bool(self._streams)
        if not self.listens:
            self._seen.clear()

    def admits(self, event: Record | Quarantined) -> bool:
        """Not what an overlapping connection has given before. Bars are never doubles: a newer state of one has the
        same identity."""
        if isinstance(event, Bar | Gap | Quarantined):
            return True
        identity = (event.symbol, event.channel, event.record_key)
        if identity in self._seen:
            self._counts.ignored[OVERLAP_DOUBLE] += 1
            return False
        if len(self._seen) >= IDENTITIES_MAX:
            for known in list(self._seen)[: IDENTITIES_MAX // 2]:
                del self._seen[known]
        self._seen[identity] = None
        return True
