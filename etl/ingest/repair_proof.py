"""Whether what a history gave repairs a gap. Pure.

By ids: all there is ``REPAIRED``; rows beyond, but not these, is ``SOURCE_HOLE``. Without ids both ends of the interval
must be among what came: the last event that we had and the first that we had again.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from etl.adapter.contract import Channel, Ignored, SequenceRule
from etl.ingest.observer import Observer
from etl.model.records import Gap, GapKind, GapState, Record
from etl.model.times import NS_PER_MS
from etl.sequencing.gap import NO_EVENT_BEFORE
from etl.sequencing.spans import Span, bar_length_ns, bars_between


class Verdict(Struct, frozen=True):
    """What became of a gap; ``rows`` are the records that the history gave for it."""

    state: GapState
    reason: str
    rows: int = 0


class Fetched(Observer):
    """What the history gave of one symbol and kind."""

    listens = True

    def __init__(self, symbol: str, channel: Channel) -> None:
        self._symbol = symbol
        self._channel = channel
        self.rows = 0
        self.ids: set[int] = set()
        self.refused_ids: set[int] = set()
        self.times_ms: set[int] = set()
        self.refused_times_ms: set[int] = set()
        self.highest_id = 0
        self.bar_ns = 0
        """The length of bars of which none may be skipped."""

    def judged(self, record: Record, is_good: bool) -> None:
        if record.symbol != self._symbol or record.kind is not self._channel.repair:
            return
        self.rows += 1
        self.bar_ns = self.bar_ns or bar_length_ns(self._channel, record)
        time_ms = record.event_time_ns // NS_PER_MS
        self.times_ms.add(time_ms)
        if not is_good:
            self.refused_times_ms.add(time_ms)
        if record.sequence is not None:
            self.highest_id = max(self.highest_id, record.sequence)
            (self.ids if is_good else self.refused_ids).add(record.sequence)

    def ignored(self, event: Ignored) -> None:
        if event.stands_for is not None:
            self.judged(event.stands_for, is_good=True)


def missing_ids(gap: Gap) -> Span | None:
    """First and last id that ``gap`` misses; ``None`` where it is bounded by times only."""
    if gap.from_sequence is None or gap.to_sequence is None:
        return None
    return gap.from_sequence, gap.to_sequence


def judge_ids(span: Span, fetched: Fetched) -> Verdict:
    missing = [number for number in range(span[0], span[1] + 1) if number not in fetched.ids]
    if not missing:
        return Verdict(GapState.REPAIRED, "all ids are there", fetched.rows)
    refused = [number for number in missing if number in fetched.refused_ids]
    if refused:
        return Verdict(GapState.UNREPAIRABLE, f"{_some(refused)} are in quarantine", fetched.rows)
    if fetched.highest_id > missing[-1]:
        return Verdict(GapState.SOURCE_HOLE, f"the history leaves out {_some(missing)}", fetched.rows)
    return Verdict(GapState.OPEN, f"the history does not reach {_some(missing)} yet", fetched.rows)


def judge_times(gap: Gap, channel: Channel, fetched: Fetched) -> Verdict:
    if not gap.to_time_ns:
        return Verdict(GapState.OPEN, "nothing has come after it yet", fetched.rows)
    if gap.gap_kind is GapKind.RESET:
        reason = "the venue counts anew: no id and no order proves that all is there"
        return Verdict(GapState.UNREPAIRABLE, reason, fetched.rows)
    times_ms = fetched.times_ms
    has_last = NO_EVENT_BEFORE not in gap.flags
    if has_last and gap.from_time_ns // NS_PER_MS not in times_ms:
        return Verdict(GapState.OPEN, "the last good event is not in the history", fetched.rows)
    if gap.to_time_ns // NS_PER_MS not in times_ms:
        return Verdict(GapState.OPEN, "the first good event is not in the history", fetched.rows)
    if channel.rule is SequenceRule.INTERVAL:
        verdict = _judge_bars(gap, fetched)
        if verdict is not None:
            return verdict
    ends = "both ends are" if has_last else "its end is"
    return Verdict(GapState.REPAIRED, f"{ends} in the history", fetched.rows)


def _judge_bars(gap: Gap, fetched: Fetched) -> Verdict | None:
    """Each bar between the ends must be there; ``None`` if it is."""
    if not fetched.bar_ns:
        return Verdict(GapState.OPEN, "the history does not say how long its bars are", fetched.rows)
    first, last = bars_between(gap.from_time_ns, gap.to_time_ns, fetched.bar_ns)
    times_ms = {number * fetched.bar_ns // NS_PER_MS for number in range(first, last + 1)}
    absent = times_ms - fetched.times_ms
    if absent:
        return Verdict(GapState.SOURCE_HOLE, f"the history leaves out {len(absent)} bars", fetched.rows)
    refused = times_ms & fetched.refused_times_ms
    if refused:
        return Verdict(GapState.UNREPAIRABLE, f"{len(refused)} bars are in quarantine", fetched.rows)
    return None


def _some(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"id {numbers[0]}"
    return f"{len(numbers)} ids from {numbers[0]} to {numbers[-1]}"
