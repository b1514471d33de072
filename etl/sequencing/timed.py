"""A channel that proves nothing (``RISING``, ``NONE``): what it missed is known by times only. Pure.

    last good ─▶ lost ─▶ first record again ── LATE_NS ──▶ the gap ends at the latest record of that time

The first record after a loss may have been sent late, from before others that were missed: only what came in the time
after it shows where all of it is there again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from etl.adapter.contract import Channel
from etl.model.codes import REPLAYED
from etl.model.records import Gap, GapKind, GapState, Record
from etl.model.times import NS_PER_S
from etl.sequencing.gap import REPEATED, completed, ended, settled
from etl.sequencing.spans import time_of
from etl.sequencing.standing import Standing
from etl.sequencing.track import NO_GAPS, Loss, Track

LATE_NS = NS_PER_S
"""By our clock: a record is not sent later than that behind those that follow it."""


class Timed(Track):
    __slots__ = ("_again", "_latest", "_open", "_start_pending")

    def __init__(self, record: Record, channel: Channel, start_pending: Callable[[Track], None]) -> None:
        super().__init__(record, channel)
        self._open: Gap | None = None
        self._again: Record | None = None
        """The first record after ``_open`` began."""
        self._latest = record
        """Since then."""
        self._start_pending = start_pending

    @property
    def is_pending(self) -> bool:
        return self._again is not None

    def begin_within(self, gap: Gap) -> Sequence[Gap]:
        self._open = gap
        self._come_again()
        return NO_GAPS

    def observe(self, record: Record) -> Sequence[Gap]:
        if not self._is_newer(record):
            return NO_GAPS
        if self.channel.replayed_max and record.flags and REPLAYED in record.flags:
            return self._observe_replayed(record)
        self.newest = record
        if self._open is None:
            return NO_GAPS
        if self._again is None:
            self._come_again()
        elif time_of(record) >= time_of(self._latest):
            self._latest = record
        return self.overdue(record.receive_time_ns)

    def remember(self, record: Record) -> None:
        """Where the gap ended stands in the tail."""
        if self._is_newer(record):
            self.newest = record

    def _is_newer(self, record: Record) -> bool:
        sequence, before = record.sequence, self.newest
        if sequence is not None and before.sequence is not None:
            return sequence > before.sequence or time_of(record) > time_of(before)
        if record.flags and REPLAYED in record.flags:
            # elsewhere nothing tells whether it is newer
            return bool(self.channel.replayed_max) and time_of(record) >= time_of(before)
        return True

    def _observe_replayed(self, record: Record) -> Sequence[Gap]:
        """The newest events come again, in their order and none left out: with the last good one all that followed it,
        and without it the gap ends where they begin."""
        gap, before = self._open, self.newest
        if gap is not None and record.record_key == before.record_key:
            self._open = self._again = None
            now_ns = record.receive_time_ns
            return [settled(ended(gap, now_ns), GapState.REPAIRED, now_ns, REPEATED)]
        if time_of(record) <= time_of(before):
            return NO_GAPS
        self.newest, self._open, self._again = record, None, None
        return NO_GAPS if gap is None else [completed(gap, record)]

    # a loss and its end

    def lose(self, kind: GapKind, reason: str, now_ns: int) -> Sequence[Gap]:
        if self._open is not None:
            return NO_GAPS
        from_ns, last = time_of(self.newest), self.newest.sequence
        if self.channel.repair is None:
            # a venue's clock may be ahead; what has a history is proved by the event
            from_ns = min(from_ns, now_ns)
        from_id = None if last is None else last + 1
        self._open = self.lost_gap(Loss(kind, reason), self._gap_id(from_ns), from_ns, from_id, now_ns)
        return [self._open]

    def _gap_id(self, from_ns: int) -> str:
        """Names the last good record, too: of two losses within a millisecond of it, the repair of the first would
        otherwise settle the second."""
        newest = self.newest
        return str(from_ns) if isinstance(newest, Gap) else f"{from_ns}/{newest.record_key}"

    def _come_again(self) -> None:
        self._again = self._latest = self.newest
        self._start_pending(self)

    def overdue(self, now_ns: int) -> Sequence[Gap]:
        again = self._again
        # a clock that was put back tells nothing: it is not waited for
        if again is None or 0 <= now_ns - again.receive_time_ns < LATE_NS:
            return NO_GAPS
        return self.decide()

    def decide(self) -> Sequence[Gap]:
        gap, latest = self._open, self._latest
        if gap is None or self._again is None:
            return NO_GAPS
        self._open = self._again = None
        first, next_id = gap.from_sequence, latest.sequence
        if first is None or next_id is None or next_id < first:  # the venue counts anew
            return [msgspec.structs.replace(completed(gap, latest), from_sequence=None)]
        return [completed(gap, latest, next_id - 1)]

    def resume(self, now_ns: int) -> Sequence[Gap]:
        gap, self._open, self._again = self._open, None, None
        return NO_GAPS if gap is None else [ended(gap, now_ns)]

    def remember_gap(self, gap: Gap) -> None:
        if not gap.to_time_ns:
            self._open = gap
        elif self._open is not None and self._open.record_key == gap.record_key:
            self._open = self._again = None

    def standing(self) -> Standing:
        return Standing(self.newest, None, () if self._open is None else (self._open,))
