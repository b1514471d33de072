"""A channel that proves nothing (``RISING``, ``NONE``): what it missed is known by times only. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from etl.adapter.contract import Channel
from etl.model.codes import REPLAYED
from etl.model.records import Gap, GapKind, GapState, Record
from etl.sequencing.gap import NOTHING_MISSING, REPEATED, completed, ended, settled
from etl.sequencing.spans import time_of
from etl.sequencing.standing import Standing
from etl.sequencing.track import NO_GAPS, Loss, Track


class Timed(Track):
    __slots__ = ("_open",)

    def __init__(self, record: Record, channel: Channel) -> None:
        super().__init__(record, channel)
        self._open: Gap | None = None

    def observe(self, record: Record) -> Sequence[Gap]:
        sequence, before = record.sequence, self.newest
        if sequence is not None and before.sequence is not None:
            if sequence <= before.sequence and time_of(record) <= time_of(before):
                return NO_GAPS
        elif record.flags and REPLAYED in record.flags:
            # elsewhere nothing tells whether it is newer
            return self._observe_replayed(record) if self.channel.replayed_max else NO_GAPS
        self.newest = record
        return NO_GAPS if self._open is None else self._close(self._open, before, record)

    def _observe_replayed(self, record: Record) -> Sequence[Gap]:
        """The newest events come again, in their order and none left out: with the last good one all that followed it,
        and without it the gap ends where they begin."""
        gap, before = self._open, self.newest
        if gap is not None and record.record_key == before.record_key:
            self._open = None
            now_ns = record.receive_time_ns
            return [settled(ended(gap, now_ns), GapState.REPAIRED, now_ns, REPEATED)]
        if time_of(record) <= time_of(before):
            return NO_GAPS
        self.newest, self._open = record, None
        return NO_GAPS if gap is None else [completed(gap, record)]

    def _close(self, gap: Gap, before: Record, record: Record) -> Sequence[Gap]:
        self._open = None
        last, first = before.sequence, record.sequence
        if last is None or first is None or first <= last:
            return [completed(gap, record)]
        closed = msgspec.structs.replace(completed(gap, record, first - 1), from_sequence=last + 1)
        if first == last + 1:
            closed = settled(closed, GapState.REPAIRED, record.receive_time_ns, NOTHING_MISSING)
        return [closed]

    def lose(self, kind: GapKind, reason: str, now_ns: int) -> Sequence[Gap]:
        if self._open is not None:
            return NO_GAPS
        from_ns = time_of(self.newest)
        if self.channel.repair is None:
            # a venue's clock may be ahead; what has a history is proved by the event
            from_ns = min(from_ns, now_ns)
        self._open = self.lost_gap(Loss(kind, reason), str(from_ns), from_ns, None, now_ns)
        return [self._open]

    def resume(self, now_ns: int) -> Sequence[Gap]:
        gap, self._open = self._open, None
        return NO_GAPS if gap is None else [ended(gap, now_ns)]

    def remember_gap(self, gap: Gap) -> None:
        if not gap.to_time_ns:
            self._open = gap
        elif self._open is not None and self._open.record_key == gap.record_key:
            self._open = None

    def standing(self) -> Standing:
        return Standing(self.newest, None, () if self._open is None else (self._open,))
