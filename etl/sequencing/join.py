"""Whether the changes of a book continue its snapshot. Pure, bounded.

    waiting ──snapshot that the held changes continue──▶ joined ──break, crossed book, gap──▶ waiting

While waiting, changes are held (``HELD_MAX``), since the snapshot may be older than the newest of them. Changes that
come out of order are put right: a hole is one when ``REORDER_MESSAGES`` behind it have not filled it. A break costs the
symbol concerned and no other. A hole of a few messages can be tolerated instead: the book goes on, suspect until its
next snapshot, and its changes carry the flag ``BOOK_HOLE``, so that whoever reads them back tolerates the same hole.
How changes follow each other is read off the record itself (``spans.id_before``):

    previous_sequence   it equals the last sequence        first after a snapshot S: previous <= S <= sequence
    first_sequence      it equals the last sequence + 1    first after a snapshot S: first <= S + 1 <= sequence
    neither             the sequence rises, if there is one; only a snapshot or a gap says more
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from etl.model.records import Book, BookAction
from etl.sequencing.ahead import REORDER_MESSAGES
from etl.sequencing.restart import RESET_MESSAGES
from etl.sequencing.spans import id_before

HELD_MAX = 2_000
"""Changes held while waiting for a snapshot; beyond, the oldest go and only a newer snapshot can be joined."""

BOOK_HOLE = "book_hole"
"""Flag of a change that went on over a small hole, and of those after it up to the next snapshot."""

_NONE: tuple[Book, ...] = ()


class Join:
    """Whether one symbol's changes continue its snapshot. ``break_reason`` says why it waits, "" at the start.

    ``hole_messages_max``: holes of no more ids than so many of the last messages had are tolerated.
    """

    __slots__ = (
        "_backward_ids",
        "_held",
        "_id_counts",
        "_is_fresh",
        "_passed",
        "_snapshot_ns",
        "_time_ns",
        "break_reason",
        "breaks",
        "holes",
        "is_joined",
        "is_suspect",
        "sequence",
    )

    def __init__(self, hole_messages_max: int = 0) -> None:
        self.is_joined = False
        self.is_suspect = False
        """A hole was tolerated since the last snapshot."""
        self.holes = 0
        """How many were tolerated."""
        self.break_reason = ""
        self.breaks = 0
        self.sequence: int | None = None
        """Of the last record that is part of the book."""
        self._time_ns = 0
        self._snapshot_ns = 0
        self._held: deque[Book] = deque(maxlen=HELD_MAX)
        """What waits for a snapshot, or, while joined, for the rest of a hole."""
        self._backward_ids: list[Book] = []
        """Newer changes with older ids: the sequence may have started again."""
        self._id_counts: deque[int] = deque(maxlen=hole_messages_max)
        """How many ids each of the last messages had."""
        self._passed = 0
        """Changes that went on below what waits: it has a wrong id."""
        self._is_fresh = False
        """The next change is the first after the snapshot."""

    @property
    def held_messages(self) -> int:
        """Changes that wait for a snapshot, or for one that is missing before them."""
        return len(self._held)

    def take(self, record: Book) -> Sequence[Book]:
        """The records to apply now, in order: none while waiting, or for a change that the book holds already."""
        if record.book_action is BookAction.SNAPSHOT:
            return self._take_snapshot(record)
        if not self.is_joined:
            self._held.append(record)
            return _NONE
        if not self._is_next(record):
            if self._is_old(record):
                self._note_backward(record)
                return _NONE
            if self._hole_ids(record):
                return self._take_ahead(record)
        self._advance(record)
        if not self._held:
            return (record,)
        self._passed += 1
        applied = (record, *self._take_held())
        if self._passed > REORDER_MESSAGES:
            self._held.clear()
        return applied

    def reset(self, reason: str) -> None:
        """Wait for a snapshot."""
        self.breaks += self.is_joined
        self.is_joined = False
        self.break_reason = reason
        self._held.clear()
        self._backward_ids.clear()

    def _take_ahead(self, record: Book) -> Sequence[Book]:
        """A change beyond a hole waits; when enough have, or whoever wrote it down went on, the hole is judged."""
        self._held.append(record)
        self._passed = 0
        if len(self._held) <= REORDER_MESSAGES and BOOK_HOLE not in record.flags:
            return _NONE
        applied: list[Book] = []
        while self._held and self.is_joined:
            first = min(self._held, key=_sequence)
            hole_ids = self._hole_ids(first)
            if 0 < hole_ids <= sum(self._id_counts) or (hole_ids > 0 and BOOK_HOLE in record.flags):
                self.is_suspect = True
                self.holes += 1
                self._held.remove(first)
                self._advance(first)
                applied += [first, *self._take_held()]
            else:
                held = list(self._held)
                self.reset(f"{_ids_of(first)} does not continue {self.sequence}")
                self._held.extend(held)
        return applied

    def _take_held(self) -> Iterator[Book]:
        """What waited for the change that was just applied."""
        for record in sorted(self._held, key=_sequence):
            if not self._is_old(record):
                if self._hole_ids(record):
                    return
                self._advance(record)
                yield record
            self._held.remove(record)

    def _note_backward(self, record: Book) -> None:
        """A double or a latecomer; unless newer records keep coming with older ids. Right after a snapshot many may,
        which were under way when it was made."""
        if record.event_time_ns <= self._time_ns:
            return
        self._backward_ids.append(record)
        if len(self._backward_ids) >= (HELD_MAX if self._is_fresh else RESET_MESSAGES):
            backward = self._backward_ids.copy()
            self.reset(f"{_ids_of(record)} begins anew after {self.sequence}")
            self._held.extend(backward)

    def _take_snapshot(self, snapshot: Book) -> Sequence[Book]:
        if self.is_joined and self._is_old(snapshot) and not self._begins_anew(snapshot):
            return _NONE
        # without ids a snapshot stands in the stream: what came before it is in it
        held = [] if snapshot.sequence is None else sorted(_since_restart(self._held), key=_sequence)
        self.is_joined, self.sequence, self._is_fresh = True, snapshot.sequence, True
        self.is_suspect = False
        self._time_ns, self._snapshot_ns = 0, snapshot.event_time_ns
        self._held.clear()
        self._backward_ids.clear()
        applied = [snapshot]
        for number, record in enumerate(held):
            if self._is_old(record):
                continue
            if self._hole_ids(record):
                self.reset(f"the snapshot at {snapshot.sequence} and {_ids_of(record)} do not meet")
                self._held.extend(held[number:])
                return _NONE
            self._advance(record)
            applied.append(record)
        return applied

    def _advance(self, record: Book) -> None:
        if record.sequence is not None:
            if self._id_counts.maxlen and self.sequence is not None:
                self._id_counts.append(max(1, record.sequence - self.sequence))
            self.sequence = record.sequence
        self._time_ns = record.event_time_ns
        self._is_fresh = False
        if self._backward_ids:
            self._backward_ids.clear()

    def _begins_anew(self, snapshot: Book) -> bool:
        """A lower id at a later time of the venue: it counts anew."""
        is_lower = (snapshot.sequence or 0) < (self.sequence or 0)
        return is_lower and snapshot.event_time_ns > max(self._time_ns, self._snapshot_ns) > 0

    def _is_next(self, record: Book) -> bool:
        """The common case, told first: it begins right behind the book, and is neither old nor beyond a hole. A lower
        id that points back at the book's own is the venue counting anew."""
        last, sequence = self.sequence, record.sequence
        return sequence is not None and last is not None and sequence != last == id_before(record)

    def _is_old(self, record: Book) -> bool:
        if record.sequence is None or self.sequence is None:
            return False
        if self._is_fresh and record.previous_sequence is not None:
            return record.sequence < self.sequence
        return record.sequence <= self.sequence

    def _hole_ids(self, record: Book) -> int:
        """Ids between the book and ``record``: 0 = it goes on from there, below 0 = it reaches back behind it."""
        before = id_before(record)
        if before is None or self.sequence is None or record.sequence is None:
            return 0
        hole = before - self.sequence
        return 0 if self._is_fresh and hole < 0 else hole


def _sequence(record: Book) -> int:
    return record.sequence or 0


def _since_restart(held: Iterable[Book]) -> list[Book]:
    """``held`` from where the venue's sequence last started again: a newer change with an older id."""
    since: list[Book] = []
    for record in held:
        is_newer = bool(since) and record.event_time_ns > since[-1].event_time_ns
        if is_newer and _sequence(record) < _sequence(since[-1]):
            since = []
        since.append(record)
    return since


def _ids_of(record: Book) -> str:
    first = record.previous_sequence if record.previous_sequence is not None else record.first_sequence
    return f"{record.sequence}" if first is None else f"{first}..{record.sequence}"
