"""A channel whose ids prove completeness: its chain, what lies ahead of it, and its declared holes. Pure.

chain      everything up to ``_last`` is there or declared
ahead      records beyond a hole, which wait for the verdict     ahead.py
holes      declared gaps whose ids may still come                holes.py
restart    ids that go back                                      restart.py
loss       the connection was lost: the next hole comes of it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from etl.adapter.contract import Channel
from etl.model.codes import REPLAYED
from etl.model.records import Gap, GapKind, GapState, Record
from etl.sequencing.ahead import Ahead, Segment, Window
from etl.sequencing.gap import NOTHING_MISSING, completed, declared, first_state, settled
from etl.sequencing.holes import Holes
from etl.sequencing.restart import Restart
from etl.sequencing.spans import Span, SpanReader, missed_span, restart_of, time_of
from etl.sequencing.standing import Standing
from etl.sequencing.track import FOLLOWED, NO_GAPS, Loss, Track

StartPending = Callable[["Counted"], None]


class Counted(Track):
    """``last`` is the id up to which nothing is asked for, ``bar_ns`` the length of bars that are numbered by their
    times (0 = the records carry ids). ``start_pending`` is called when a break begins to wait for its verdict: somebody
    must ask ``overdue`` from then on."""

    __slots__ = (
        "_ahead",
        "_bar_ns",
        "_holes",
        "_is_quiet",
        "_last",
        "_loss",
        "_restart",
        "_span",
        "_start_pending",
    )

    def __init__(
        self,
        record: Record,
        channel: Channel,
        last: int,
        reader: SpanReader,
        bar_ns: int,
        window: Window,
        start_pending: StartPending,
    ) -> None:
        super().__init__(record, channel)
        self._span = reader
        self._bar_ns = bar_ns
        self._last = last
        self._ahead = Ahead(window)
        self._holes = Holes()
        self._restart = Restart()
        self._loss: Loss | None = None
        self._start_pending = start_pending
        self._is_quiet = True
        """Nothing waits, was lost or goes back: a record that goes on changes nothing else. May be False too long."""

    @property
    def is_pending(self) -> bool:
        return bool(self._ahead.segments)

    def observe(self, record: Record) -> Sequence[Gap]:
        span = self._span(record)
        if span is None:
            restart = restart_of(record, self._last, self.newest)
            return self._start_again([(record, restart)]) if restart else NO_GAPS
        if self._is_quiet and span[0] <= self._last + 1 <= span[1]:
            self._last = span[1]
            self.newest = record
            return NO_GAPS
        if span[1] <= self._last:
            return self._take_older(record, span)
        if REPLAYED in record.flags and time_of(record) < time_of(self.newest):
            return NO_GAPS  # a higher id, and older: from before the venue counted anew
        gaps = self._take_newer(record, span)
        waits = self._ahead.segments and REPLAYED not in record.flags
        return [*gaps, *self._ripe(record.receive_time_ns)] if waits else gaps

    def remember(self, record: Record) -> None:
        """Without verdicts: those that were given stand in the tail, the others are ``decide``'s."""
        span = self._span(record)
        if span is not None:
            self._take(record, span)

    def _take(self, record: Record, span: Span) -> Sequence[Gap]:
        """Take in what came, without a verdict on what is missing."""
        return self._take_older(record, span) if span[1] <= self._last else self._take_newer(record, span)

    # the chain

    def _take_newer(self, record: Record, span: Span) -> Sequence[Gap]:
        """What goes on, or waits beyond a hole."""
        gaps: Sequence[Gap] = NO_GAPS
        if span[0] <= self._last + 1:
            self._last, self.newest = span[1], record
            gaps = self._nothing_was_missing(record)
            self._restart.clear()
            self._absorb()
            self._ahead.pass_below()
        else:
            if not self._ahead.segments:
                self._start_pending(self)
            self._ahead.add(*span, record)
        self._is_quiet = not (self._ahead.segments or self._loss or self._restart)
        return gaps

    def _nothing_was_missing(self, record: Record) -> Sequence[Gap]:
        loss, self._loss = self._loss, None
        if loss is None or loss.gap is None:
            return NO_GAPS
        first = loss.gap.from_sequence
        whole = completed(loss.gap, record, None if first is None else first - 1)
        return [settled(whole, GapState.REPAIRED, record.receive_time_ns, NOTHING_MISSING)]

    def _absorb(self) -> None:
        segment = self._ahead.absorb(self._last)
        if segment is not None:
            self._last, self.newest = segment.last, segment.last_record

    def _take_older(self, record: Record, span: Span) -> Sequence[Gap]:
        """A double or a latecomer; unless newer records keep coming with older ids, or the venue itself says that this
        lower id follows the last."""
        if span[1] < self._last == span[0] - 1 and REPLAYED not in record.flags:
            return self._start_again([(record, span)])
        if time_of(record) <= time_of(self.newest) or REPLAYED in record.flags:
            return self.fill(record) if self._holes.declared else NO_GAPS
        self._is_quiet = False
        return self._start_again() if self._restart.add(record, span) else NO_GAPS

    def _start_again(self, begun: Sequence[tuple[Record, Span]] = ()) -> Sequence[Gap]:
        (first, (_, last)), *others = begun or self._restart.take()
        self._restart.clear()
        gaps = [*self.decide()]
        loss, self._loss = self._loss, None
        if loss is not None and loss.gap is not None:
            gaps.append(msgspec.structs.replace(completed(loss.gap, first), gap_kind=GapKind.RESET))
        else:
            gap_id = f"reset/{self._last + 1}-{time_of(first)}"
            state, from_ns, to_ns = first_state(self.channel), time_of(self.newest), time_of(first)
            gaps.append(declared(first, GapKind.RESET, state, gap_id, from_ns, to_ns, self._last + 1))
        self._last, self.newest = last, first
        for record, span in others:
            gaps += self._take(record, span)
        return gaps

    # a break and its verdict

    def _ripe(self, now_ns: int) -> Sequence[Gap]:
        gaps: list[Gap] = []
        while self._ahead.is_ripe(now_ns):
            gaps += self._verdict()
        return gaps

    def overdue(self, now_ns: int) -> Sequence[Gap]:
        gaps: list[Gap] = []
        while self._ahead.is_overdue(self._last, now_ns):
            gaps += self._verdict()
        return gaps

    def decide(self) -> Sequence[Gap]:
        gaps: list[Gap] = []
        while self._ahead.segments:
            gaps += self._verdict()
        return gaps

    def _verdict(self) -> Sequence[Gap]:
        segment = self._ahead.judge(self._last)
        if segment is None:
            return NO_GAPS
        span = (self._last + 1, segment.first - 1)
        gap = self._hole_before(segment, span)
        self._holes.add(gap, span)
        self._restart.clear()
        self._last = span[1]
        self._absorb()
        return [gap]

    def _hole_before(self, segment: Segment, span: Span) -> Gap:
        loss, self._loss = self._loss, None
        if loss is None:
            return self._hole(Loss(GapKind.SEQUENCE, ""), span, segment.first_record)
        if loss.gap is None:
            return self._hole(loss, span, segment.first_record)
        to_id = None if loss.gap.from_sequence is None else span[1]
        return completed(loss.gap, segment.first_record, to_id)

    def _hole(self, loss: Loss, span: Span, after: Record) -> Gap:
        from_ns, to_ns, state = time_of(self.newest), time_of(after), first_state(self.channel)
        gap_id = f"{from_ns}-{to_ns}" if self._bar_ns else f"{span[0]}-{span[1]}"
        from_id, to_id = (None, None) if self._bar_ns else span
        return declared(after, loss.kind, state, gap_id, from_ns, to_ns, from_id, to_id, loss.reason)

    # losses

    def lose(self, kind: GapKind, reason: str, now_ns: int) -> Sequence[Gap]:
        if self._loss is not None and self._loss.gap is not None:
            return NO_GAPS
        self._is_quiet = False
        self._loss = loss = Loss(kind, reason)
        if kind is GapKind.QUARANTINE:
            return NO_GAPS
        from_ns = time_of(self.newest)
        first = None if self._bar_ns else self._last + 1
        gap_id = f"{from_ns if first is None else first}-"
        gap = self.lost_gap(loss, gap_id, from_ns, first, now_ns)
        self._loss = Loss(kind, reason, gap)
        return [gap]

    def remember_gap(self, gap: Gap) -> None:
        self._holes.forget(gap)
        self._is_quiet = False
        if not gap.to_time_ns:
            self._loss = Loss(gap.gap_kind, gap.reason, gap)
            return
        open_gap = self._loss.gap if self._loss else None
        if open_gap is not None and open_gap.record_key == gap.record_key:
            self._loss = None
        span = missed_span(gap, self._bar_ns)
        if span is None:
            return
        if gap.gap_state is GapState.OPEN:
            self._holes.add(gap, span)
        if span[1] > self._last:
            self._last, self.newest = span[1], gap
            self._loss = None
            self._absorb()

    def standing(self) -> Standing:
        gap = self._loss.gap if self._loss else None
        return Standing(self.newest, self._last, () if gap is None else (gap,))

    # quarantine and holes

    def quarantine(self, record: Record) -> Sequence[Gap]:
        if not self.is_missing(record):
            return NO_GAPS
        if self._bar_ns:
            # its id is its time, which may be what is bad: the next bar proves which one is missing
            return self.lose(GapKind.QUARANTINE, "", record.receive_time_ns)
        # its time may be what is bad: the good neighbour's stands in
        link = msgspec.structs.replace(record, event_time_ns=time_of(self.newest))
        gaps, span = self.observe(link), self._span(link)
        if span is None:
            return gaps
        gap = self._hole(Loss(GapKind.QUARANTINE, ""), span, link)
        self._holes.add(gap, span)
        return [*gaps, gap]

    def is_missing(self, record: Record) -> bool:
        """Whether ``record`` is provably new."""
        span = self._span(record)
        return span is not None and span[1] > self._last

    def missing(self, gap: Gap) -> Sequence[Span]:
        return self._holes.missing(gap)

    def forget(self, gap: Gap) -> None:
        self._holes.forget(gap)

    def fill(self, record: Record) -> Sequence[Gap]:
        """Take ``record`` out of what declared gaps miss; a gap of which nothing is missing any more is repaired."""
        span = self._span(record)
        if span is None:
            return NO_GAPS
        reason = "arrived late" if record.source in FOLLOWED else "repaired"
        return [
            settled(gap, GapState.REPAIRED, record.receive_time_ns, reason) for gap in self._holes.fill(span)
        ]


class Contiguous(Counted):
    """Trades: the shortest way for a message that goes on."""

    __slots__ = ()

    def observe(self, record: Record) -> Sequence[Gap]:
        if record.sequence == self._last + 1 and self._is_quiet:
            self._last += 1
            self.newest = record
            return NO_GAPS
        return super().observe(record)
