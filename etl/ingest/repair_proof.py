"""Whether what a history gave repairs a gap. Pure.

By ids: all there is ``REPAIRED``; rows beyond, but not these, is ``SOURCE_HOLE``. Without ids both ends of the interval
must be among what came: the last event that we had and the first that we had again.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from etl.adapter.contract import Channel, Ignored, SequenceRule
from etl.ingest.backfill_runs import Run, Runs, absent, merged
from etl.ingest.observer import Observer
from etl.model.records import Gap, GapKind, GapState, Record
from etl.model.times import NS_PER_MS
from etl.sequencing.gap import NO_EVENT_AFTER, NO_EVENT_BEFORE
from etl.sequencing.spans import Span, bar_length_ns, bars_between


class Verdict(Struct, frozen=True):
    """What became of a gap; ``rows`` are the records that the history gave for it."""

    state: GapState
    reason: str
    rows: int = 0


class Fetched(Observer):
    """What the history gave for one gap. Its size grows with the holes in it, not with its rows, nor with the gap."""

    listens = True

    def __init__(self, gap: Gap, channel: Channel) -> None:
        self._symbol = gap.symbol
        self._channel = channel
        self._ends_ms = {gap.from_time_ns // NS_PER_MS, gap.to_time_ns // NS_PER_MS}
        self._good, self._refused = Runs(), Runs()
        self.rows = 0
        self.ends_ms: set[int] = set()
        """Those ends of the gap that are the time of a row."""
        self.highest_id = 0
        self.bar_ns = 0
        """The length of bars of which none may be skipped: they are numbered by it."""

    def judged(self, record: Record, is_good: bool) -> None:
        if record.symbol != self._symbol or record.kind is not self._channel.repair:
            return
        self.rows += 1
        self.bar_ns = self.bar_ns or bar_length_ns(self._channel, record)
        self.ends_ms |= self._ends_ms & {record.event_time_ns // NS_PER_MS}
        if record.sequence is not None:
            self.highest_id = max(self.highest_id, record.sequence)
        number = self._number(record)
        if number is not None:
            (self._good if is_good else self._refused).add(number, 0)

    def _number(self, record: Record) -> int | None:
        """``None`` where no number proves anything."""
        if self.bar_ns:
            return record.event_time_ns // self.bar_ns
        return record.sequence if self._channel.rule is SequenceRule.CONTIGUOUS else None

    def ignored(self, event: Ignored) -> None:
        if event.stands_for is not None:
            self.judged(event.stands_for, is_good=True)

    def missing(self, first: int, last: int) -> tuple[list[Run], list[Run]]:
        """Of these numbers, what did not come at all, and what came and was refused, and never as good."""
        good, refused = self._good.merged(), self._refused.merged()
        others = absent(refused, first, last)
        return absent(merged([*good, *refused]), first, last), absent(merged([*good, *others]), first, last)


def missing_ids(gap: Gap) -> Span | None:
    """First and last id that ``gap`` misses; ``None`` where it is bounded by times only."""
    if gap.from_sequence is None or gap.to_sequence is None:
        return None
    return gap.from_sequence, gap.to_sequence


def judge_ids(span: Span, fetched: Fetched) -> Verdict:
    holes, refused = fetched.missing(*span)
    if refused:
        return Verdict(GapState.UNREPAIRABLE, f"{_some(refused)} are in quarantine", fetched.rows)
    if not holes:
        return Verdict(GapState.REPAIRED, "all ids are there", fetched.rows)
    if fetched.highest_id > holes[-1].last:
        return Verdict(GapState.SOURCE_HOLE, f"the history leaves out {_some(holes)}", fetched.rows)
    return Verdict(GapState.OPEN, f"the history does not reach {_some(holes)} yet", fetched.rows)


def judge_times(gap: Gap, channel: Channel, fetched: Fetched) -> Verdict:
    if not gap.to_time_ns:
        return Verdict(GapState.OPEN, "nothing has come after it yet", fetched.rows)
    if gap.gap_kind is GapKind.RESET:
        reason = "the venue counts anew: no id and no order proves that all is there"
        return Verdict(GapState.UNREPAIRABLE, reason, fetched.rows)
    has_last = NO_EVENT_BEFORE not in gap.flags
    if has_last and gap.from_time_ns // NS_PER_MS not in fetched.ends_ms:
        return Verdict(GapState.OPEN, "the last good event is not in the history", fetched.rows)
    is_over = NO_EVENT_AFTER in gap.flags
    if not is_over and gap.to_time_ns // NS_PER_MS not in fetched.ends_ms:
        return Verdict(GapState.OPEN, "the first good event is not in the history", fetched.rows)
    if channel.rule is SequenceRule.INTERVAL:
        verdict = _judge_bars(gap, fetched)
        if verdict is not None:
            return verdict
    if is_over:
        return Verdict(GapState.REPAIRED, "of a contract that is over, the history was read", fetched.rows)
    ends = "both ends are" if has_last else "its end is"
    return Verdict(GapState.REPAIRED, f"{ends} in the history", fetched.rows)


def _judge_bars(gap: Gap, fetched: Fetched) -> Verdict | None:
    """Each bar between the ends must be there; ``None`` if it is."""
    if not fetched.bar_ns:
        return Verdict(GapState.OPEN, "the history does not say how long its bars are", fetched.rows)
    holes, refused = fetched.missing(*bars_between(gap.from_time_ns, gap.to_time_ns, fetched.bar_ns))
    if holes:
        return Verdict(GapState.SOURCE_HOLE, f"the history leaves out {_count(holes)} bars", fetched.rows)
    if refused:
        return Verdict(GapState.UNREPAIRABLE, f"{_count(refused)} bars are in quarantine", fetched.rows)
    return None


def _count(runs: Sequence[Run]) -> int:
    return sum(run.last - run.first + 1 for run in runs)


def _some(runs: Sequence[Run]) -> str:
    first, last = runs[0].first, runs[-1].last
    return f"id {first}" if first == last else f"{_count(runs)} ids from {first} to {last}"
