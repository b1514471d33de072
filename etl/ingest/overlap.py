"""Two connections that carry the same streams: of each event the first copy is published, the second counted."""

from __future__ import annotations

from etl.model.records import Bar, Record
from etl.telemetry.worker import WorkerCounts

IDENTITIES_MAX = 500_000
"""Identities remembered while two connections carry the same streams; the oldest half goes when it is full."""
OVERLAP_DOUBLE = "overlap_double"
"""Name under which the second copy of an event on overlapping connections is counted."""


class Overlap:
    """Identities seen while any stream has two connections."""

    def __init__(self, counts: WorkerCounts) -> None:
        self._counts = counts
        self._streams: set[str] = set()
        self._seen: dict[tuple[str, str, str], None] = {}

    @property
    def is_on(self) -> bool:
        return bool(self._streams)

    def mark(self, stream: str, begins: bool) -> None:
        """``stream`` has two connections from now on, or no longer has."""
        if begins:
            self._streams.add(stream)
        else:
            self._streams.discard(stream)
        if not self._streams:
            self._seen.clear()

    def is_double(self, record: Record) -> bool:
        """Whether an overlapping connection has given ``record`` before. Bars are never doubles: a newer state of
        one has the same identity."""
        if isinstance(record, Bar):
            return False
        identity = (record.symbol, record.channel, record.record_key)
        if identity in self._seen:
            self._counts.ignored[OVERLAP_DOUBLE] += 1
            return True
        if len(self._seen) >= IDENTITIES_MAX:
            for known in list(self._seen)[: IDENTITIES_MAX // 2]:
                del self._seen[known]
        self._seen[identity] = None
        return False
