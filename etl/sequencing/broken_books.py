"""Books whose checksum did not hold, or that a change did not fit, until a snapshot begins them anew. Pure, bounded.

Whatever the ids prove, such a book is wrong. Its gap has times only, so that whoever rebuilds the book resets it.
"""

from __future__ import annotations

from collections.abc import Sequence

from etl.adapter.contract import Channel
from etl.model.records import Gap, GapKind, Record
from etl.sequencing.gap import completed, declared, first_state
from etl.sequencing.spans import time_of

OF_BROKEN_BOOKS = frozenset((GapKind.CHECKSUM, GapKind.JOIN))
BROKEN_BOOKS_MAX = 100_000
"""Gaps that wait for their snapshot; beyond, a gap is declared all the same and never gets an end."""


class BrokenBooks:
    """By symbol and family of channels: a snapshot by request bears another name than the changes."""

    __slots__ = ("gaps",)

    def __init__(self) -> None:
        self.gaps: dict[tuple[str, str], Gap] = {}

    def lose(
        self, newest: Record, channel: Channel, kind: GapKind, reason: str, now_ns: int
    ) -> Sequence[Gap]:
        """``newest`` is the last record of the book's changes. One gap is enough until a snapshot comes."""
        if (newest.symbol, channel.family) in self.gaps:
            return ()
        from_ns = min(time_of(newest), now_ns)
        gap = declared(
            newest,
            kind,
            first_state(channel),
            f"{kind.name.lower()}/{from_ns}-",
            from_ns,
            reason=reason,
            now_ns=now_ns,
        )
        self.remember(gap, channel)
        return (gap,)

    def renew(self, snapshot: Record, channel: Channel) -> Sequence[Gap]:
        gap = self.gaps.pop((snapshot.symbol, channel.family), None)
        return () if gap is None else (completed(gap, snapshot),)

    def remember(self, gap: Gap, channel: Channel) -> None:
        """The first or a later state of a gap."""
        key = (gap.symbol, channel.family)
        if not gap.to_time_ns:
            if len(self.gaps) < BROKEN_BOOKS_MAX:
                self.gaps[key] = gap
        elif key in self.gaps and self.gaps[key].record_key == gap.record_key:
            del self.gaps[key]
