"""One connection's books by their sequences alone: which went on over a small hole, which need a snapshot."""

from __future__ import annotations

import msgspec

from etl.model.records import Book
from etl.model.times import NS_PER_MINUTE
from etl.sequencing.join import BOOK_HOLE, Join
from etl.telemetry.worker import WorkerCounts

SUSPECT_BOOK_NS = NS_PER_MINUTE
"""How long a book may go on over a small hole: further ones in that time cost no snapshot either."""


class BookWatch:
    """Holes of no more ids than ``hole_messages_max`` messages had are tolerated."""

    def __init__(self, hole_messages_max: int, counts: WorkerCounts) -> None:
        self.snapshots_due_ns: dict[str, int] = {}
        """Venue symbols whose book needs a snapshot, and from when: a suspect book can wait."""
        self._hole_messages_max = hole_messages_max
        self._counts = counts
        self.joins: dict[str, Join] = {}
        """By symbol."""

    def forget(self, symbol: str, venue_symbol: str) -> None:
        """A book that is no more."""
        self.joins.pop(symbol, None)
        self.snapshots_due_ns.pop(venue_symbol, None)

    def track(self, record: Book) -> Book:
        """``record``, flagged where its book went on over a small hole."""
        join = self.joins.get(record.symbol)
        if join is None:
            join = self.joins[record.symbol] = Join(self._hole_messages_max)
        was_suspect, reason, holes = join.is_suspect, join.break_reason, join.holes
        join.take(record if join.is_joined else _without_levels(record))
        if not join.is_joined and join.break_reason != reason:
            self.snapshots_due_ns[record.venue_symbol] = record.receive_time_ns
        if not join.is_suspect:
            return record
        if not was_suspect:
            due_ns = record.receive_time_ns + SUSPECT_BOOK_NS
            self.snapshots_due_ns.setdefault(record.venue_symbol, due_ns)
        self._counts.snapshots_saved += join.holes - holes
        return msgspec.structs.replace(record, flags=(*record.flags, BOOK_HOLE))


def _without_levels(record: Book) -> Book:
    """Many may have to wait for a snapshot."""
    return msgspec.structs.replace(record, bid_prices=(), bid_sizes=(), ask_prices=(), ask_sizes=())
