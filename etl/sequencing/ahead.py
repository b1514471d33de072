"""What came beyond a hole, and the verdict: the hole is missing, or what lies beyond has a wrong id. Pure, bounded.

    declared up to 7 │  8..10 hole  │ segment 11..14 │ 15 hole │ segment 16..16

A message out of order is no loss: the verdict waits (``Window``) for what may still come.
"""

from __future__ import annotations

from msgspec import Struct

from etl.model.records import Record

REORDER_MESSAGES = 8
REORDER_LEAST_NS = 300_000_000
REORDER_WAIT_NS = 500_000_000
SEGMENTS_MAX = 64
"""Breaks of one channel that wait for their verdict; beyond, the first need not have aged."""
JUMP_IDS_MAX = 1_000
"""A single message that jumps further may be a corrupt id: it needs a second one that goes on from it, or time."""
JUMP_WAIT_NS = 10_000_000_000


class Window(Struct, frozen=True):
    """How long a break waits for its verdict: until more than ``messages`` came after it and ``least_ns`` went by
    (or ``wait_ns``, whatever came)."""

    messages: int = REORDER_MESSAGES
    least_ns: int = REORDER_LEAST_NS
    wait_ns: int = REORDER_WAIT_NS


class Segment(Struct):
    """Consecutive records beyond a hole."""

    first: int
    last: int
    first_record: Record
    last_record: Record
    opened: int
    opened_ns: int
    """The count of messages, and our clock, when it was found."""
    messages: int = 1
    passed: int = 0
    """Messages that came below it since: what lies alone above them has a wrong id."""

    def is_implausible_jump(self, last: int) -> bool:
        """``last`` = the id up to which everything is there or declared."""
        return self.messages == 1 and self.first - last > JUMP_IDS_MAX


class Ahead:
    """The segments beyond one channel's chain, in the order of their ids."""

    __slots__ = ("_messages", "_window", "segments")

    def __init__(self, window: Window) -> None:
        self._window = window
        self._messages = 0
        """Counted while a break waits."""
        self.segments: list[Segment] = []

    def add(self, first: int, last: int, record: Record) -> None:
        opened = self._messages
        self._messages += 1
        place = len(self.segments)
        for index, segment in enumerate(self.segments):
            if segment.first <= first and last <= segment.last:
                return
            if segment.first > last:
                segment.passed += 1
                place = min(place, index)
        segment = Segment(first, last, record, record, opened, record.receive_time_ns)
        self.segments.insert(place, segment)
        if len(self.segments) > 1:
            self._join()

    def pass_below(self) -> None:
        """The chain went on below all of it."""
        if self.segments:
            self._messages += 1
            for segment in self.segments:
                segment.passed += 1

    def absorb(self, last: int) -> Segment | None:
        """Take out what a chain up to ``last`` reaches; the segment with which the chain ends now, ``None`` = it
        ends where it did."""
        reached = None
        while self.segments and self.segments[0].first <= last + 1:
            segment = self.segments.pop(0)
            if segment.last > last:
                last, reached = segment.last, segment
        return reached

    def is_ripe(self, now_ns: int) -> bool:
        """Whether enough came after the first hole. ``now_ns`` 0 = not known."""
        if not self.segments:
            return False
        window, segment = self._window, self.segments[0]
        if self._messages - segment.opened <= window.messages:
            return False
        has_aged = not now_ns or _age_ns(segment, now_ns) >= window.least_ns
        return has_aged or len(self.segments) > SEGMENTS_MAX

    def is_overdue(self, last: int, now_ns: int) -> bool:
        """Whether the first hole has waited long enough, whatever came."""
        if not self.segments:
            return False
        segment = self.segments[0]
        wait_ns = JUMP_WAIT_NS if segment.is_implausible_jump(last) else self._window.wait_ns
        return _age_ns(segment, now_ns) > wait_ns

    def judge(self, last: int) -> Segment | None:
        """The verdict: the segment behind the first hole, which is missing; ``None`` = what lay there alone, while
        the chain went on below, had a wrong id and is dropped."""
        segment = self.segments[0]
        passed_max = 1 if segment.is_implausible_jump(last) else REORDER_MESSAGES
        if segment.messages == 1 and segment.passed >= passed_max:
            del self.segments[0]
            return None
        return segment

    def _join(self) -> None:
        """Make one of neighbours that touch."""
        joined = self.segments[:1]
        for segment in self.segments[1:]:
            before = joined[-1]
            if segment.first > before.last + 1:
                joined.append(segment)
                continue
            before.messages += segment.messages
            before.opened = min(before.opened, segment.opened)
            before.opened_ns = min(before.opened_ns, segment.opened_ns)
            if segment.last > before.last:
                before.last, before.last_record = segment.last, segment.last_record
        self.segments = joined


def _age_ns(segment: Segment, now_ns: int) -> int:
    """Both are stamps of the wall clock. One that lies ahead is of a clock that was set back: how far is not known, and
    a hole that is declared too early is closed by what comes, while one that is not declared is told by nobody."""
    return abs(now_ns - segment.opened_ns)
