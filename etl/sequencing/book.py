"""Order books: a snapshot and the changes after it, joined by the venue's rule. Pure, bounded.

    waiting ──snapshot that the held changes continue──▶ joined ──break, crossed book, gap──▶ waiting

While waiting, changes are held (``HELD_MAX``), since the snapshot may be older than the newest of them. Changes that
come out of order are put right: a hole is one when ``REORDER_MESSAGES`` behind it have not filled it. A break costs the
symbol concerned and no other. A hole of a few messages can be tolerated instead: the book goes on, suspect until its
next snapshot, and its changes carry the flag ``BOOK_HOLE``, so that whoever reads them back tolerates the same hole.
How changes follow each other is read off the record itself:

    previous_sequence   it equals the last sequence        first after a snapshot S: previous <= S <= sequence
    first_sequence      it equals the last sequence + 1    first after a snapshot S: first <= S + 1 <= sequence
    neither             the sequence rises, if there is one; only a snapshot or a gap says more

``Join`` follows the sequences alone and is what a worker can afford; ``JoinedBook`` holds the levels too; ``rebuild``
turns a topic's records into the book at each step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from msgspec import Struct

from etl.exchanges import channel_family
from etl.model.records import Book, BookAction, Gap, GapKind, GapState, Record
from etl.sequencing.ahead import REORDER_MESSAGES
from etl.sequencing.gap import NO_EVENT_BEFORE
from etl.sequencing.restart import RESET_MESSAGES

HELD_MAX = 2_000
"""Changes held while waiting for a snapshot; beyond, the oldest go and only a newer snapshot can be joined."""

BOOK_HOLE = "book_hole"
"""Flag of a change that went on over a small hole, and of those after it up to the next snapshot."""

Level = tuple[str, str]
"""Price and size as the venue wrote them."""
_NONE: tuple[Book, ...] = ()


class Join:
    """Whether one symbol's changes continue its snapshot. ``break_reason`` says why it waits, "" at the start.

    ``hole_messages_max``: holes of no more ids than so many of the last messages had are tolerated.
    """

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
        self._held: deque[Book] = deque(maxlen=HELD_MAX)
        """What waits for a snapshot, or, while joined, for the rest of a hole."""
        self._rivals: list[Book] = []
        """Newer changes with older ids: the sequence may have started again."""
        self._spans: deque[int] = deque(maxlen=hole_messages_max)
        """How many ids each of the last messages had."""
        self._passed = 0
        """Changes that went on below what waits: it has a wrong id."""
        self._bridges = False
        """The next change is the first after the snapshot."""

    def take(self, record: Book) -> Sequence[Book]:
        """The records to apply now, in order: none while waiting, or for a change that the book holds already."""
        if record.book_action is BookAction.SNAPSHOT:
            return self._take_snapshot(record)
        if not self.is_joined:
            self._held.append(record)
            return _NONE
        if self._is_old(record):
            self._note_rival(record)
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
        self._rivals.clear()

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
            if 0 < hole_ids <= sum(self._spans) or (hole_ids > 0 and BOOK_HOLE in record.flags):
                self.is_suspect = True
                self.holes += 1
                self._held.remove(first)
                self._advance(first)
                applied += [first, *self._take_held()]
            else:
                held = list(self._held)
                self.reset(f"{_span(first)} does not continue {self.sequence}")
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

    def _note_rival(self, record: Book) -> None:
        """A double or a latecomer; unless newer records keep coming with older ids. Right after a snapshot many may,
        which were under way when it was made."""
        if record.event_time_ns <= self._time_ns:
            return
        self._rivals.append(record)
        if len(self._rivals) >= (HELD_MAX if self._bridges else RESET_MESSAGES):
            rivals = self._rivals.copy()
            self.reset(f"{_span(record)} begins anew after {self.sequence}")
            self._held.extend(rivals)

    def _take_snapshot(self, snapshot: Book) -> Sequence[Book]:
        if self.is_joined and self._is_old(snapshot):
            return _NONE
        # without ids a snapshot stands in the stream: what came before it is in it
        held = [] if snapshot.sequence is None else sorted(_since_restart(self._held), key=_sequence)
        self.is_joined, self.sequence, self._bridges = True, snapshot.sequence, True
        self.is_suspect = False
        self._time_ns = 0
        self._held.clear()
        self._rivals.clear()
        applied = [snapshot]
        for number, record in enumerate(held):
            if self._is_old(record):
                continue
            if self._hole_ids(record):
                self.reset(f"the snapshot at {snapshot.sequence} and {_span(record)} do not meet")
                self._held.extend(held[number:])
                return _NONE
            self._advance(record)
            applied.append(record)
        return applied

    def _advance(self, record: Book) -> None:
        if record.sequence is not None:
            if self._spans.maxlen and self.sequence is not None:
                self._spans.append(record.sequence - self.sequence)
            self.sequence = record.sequence
        self._time_ns = record.event_time_ns
        self._bridges = False
        if self._rivals:
            self._rivals.clear()

    def _is_old(self, record: Book) -> bool:
        if record.sequence is None or self.sequence is None:
            return False
        if self._bridges and record.previous_sequence is not None:
            return record.sequence < self.sequence
        return record.sequence <= self.sequence

    def _hole_ids(self, record: Book) -> int:
        """Ids between the book and ``record``: 0 = it goes on from there, below 0 = it reaches back behind it."""
        last = self.sequence
        if last is None or record.sequence is None:
            return 0
        if record.previous_sequence is not None:
            hole = record.previous_sequence - last
        elif record.first_sequence is not None:
            hole = record.first_sequence - (last + 1)
        else:
            return 0
        return 0 if self._bridges and hole < 0 else hole


class OrderBook:
    """The levels of one symbol. Prices are compared as numbers and given back as they were written."""

    def __init__(self) -> None:
        self._bids: dict[Decimal, Level] = {}
        self._asks: dict[Decimal, Level] = {}

    def apply(self, record: Book) -> None:
        if record.book_action is BookAction.SNAPSHOT:
            self._bids.clear()
            self._asks.clear()
        for side, prices, sizes in (
            (self._bids, record.bid_prices, record.bid_sizes),
            (self._asks, record.ask_prices, record.ask_sizes),
        ):
            for price, size in zip(prices, sizes, strict=True):
                _set(side, price, size, is_relative=record.book_action is BookAction.RELATIVE)
        if record.depth:
            self._truncate(record.depth)

    def bids(self, levels_max: int = 0) -> list[Level]:
        """Best first; 0 = all."""
        return [self._bids[price] for price in sorted(self._bids, reverse=True)[: levels_max or None]]

    def asks(self, levels_max: int = 0) -> list[Level]:
        """Best first; 0 = all."""
        return [self._asks[price] for price in sorted(self._asks)[: levels_max or None]]

    @property
    def is_crossed(self) -> bool:
        """Best bid at or above best ask: within one venue's own book, proof that it is wrong."""
        return bool(self._bids and self._asks) and max(self._bids) >= min(self._asks)

    def _truncate(self, depth: int) -> None:
        for side, worst_first in (
            (self._bids, sorted(self._bids)),
            (self._asks, sorted(self._asks, reverse=True)),
        ):
            for price in worst_first[: max(0, len(worst_first) - depth)]:
                del side[price]


class JoinedBook:
    """One symbol's book, whole or waiting."""

    def __init__(self) -> None:
        self.join = Join()
        self.levels = OrderBook()

    def take(self, record: Book) -> Iterator[Book]:
        """Apply ``record`` and what it releases; each applied record as soon as it is in ``levels``."""
        for applied in self.join.take(record):
            self.levels.apply(applied)
            if self.levels.is_crossed:
                self.join.reset(f"crossed at {applied.sequence}")
                return
            yield applied


class Step(Struct, frozen=True):
    """The book of ``symbol`` after ``record``. ``levels`` is live: read it before taking the next step."""

    exchange: str
    symbol: str
    record: Book
    levels: OrderBook


def rebuild(records: Iterable[Record]) -> Iterator[Step]:
    """The books at each step, from the records of the normalized topic in their order, of any number of symbols.

    A gap of the book's channel that its ids do not show resets that symbol: the next snapshot begins anew.
    """
    books: dict[tuple[str, str, str], JoinedBook] = {}
    for record in records:
        if not isinstance(record, Book | Gap):
            continue
        key = (record.exchange, record.symbol, channel_family(record.exchange, record.channel))
        if isinstance(record, Gap):
            if key in books and _breaks(record, books[key].join):
                books[key].join.reset(record.reason or record.gap_kind.name.lower())
            continue
        book = books.setdefault(key, JoinedBook())
        for applied in book.take(record):
            yield Step(record.exchange, record.symbol, applied, book.levels)


def _breaks(gap: Gap, join: Join) -> bool:
    """Whether the book cannot go on: not where ids prove the hole themselves, or nothing was there before."""
    told_by_ids = gap.from_sequence is not None or gap.to_sequence is not None
    told_by_ids = told_by_ids or (NO_EVENT_BEFORE in gap.flags and join.sequence is not None)
    harmless = gap.gap_kind in (GapKind.START, GapKind.SOURCE_HOLE) or gap.gap_state is GapState.REPAIRED
    return not told_by_ids and not harmless


def _set(side: dict[Decimal, Level], price: str, size: str, is_relative: bool) -> None:
    key = Decimal(price)
    amount = Decimal(size)
    if is_relative and key in side:
        amount += Decimal(side[key][1])
        size = f"{amount:f}"
    if amount == 0:
        side.pop(key, None)
    else:
        side[key] = (price, size)


def _sequence(record: Book) -> int:
    return record.sequence or 0


def _since_restart(held: Iterable[Book]) -> list[Book]:
    """``held`` from where the venue's sequence last started again: a newer change with an older id."""
    since: list[Book] = []
    for record in held:
        if (
            since
            and record.event_time_ns > since[-1].event_time_ns
            and _sequence(record) < _sequence(since[-1])
        ):
            since = []
        since.append(record)
    return since


def _span(record: Book) -> str:
    first = record.previous_sequence if record.previous_sequence is not None else record.first_sequence
    return f"{record.sequence}" if first is None else f"{first}..{record.sequence}"
