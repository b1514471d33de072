"""Which ids a record covers: the rules by which messages follow each other, once for continuity and for books. Pure.

A ``Span`` is the first and the last id, both included. ``None`` = the record says nothing: it carries no id, or it is a
snapshot, which is no link of the chain of changes.
"""

from __future__ import annotations

from collections.abc import Callable

from etl.adapter.contract import SequenceRule
from etl.model.records import Bar, BarState, Book, BookAction, Gap, Record
from etl.model.times import interval_ns

Span = tuple[int, int]


def time_of(record: Record) -> int:
    """The time by which a record is stored: the venue's, else ours; of a gap, where it ends."""
    if isinstance(record, Gap):
        return record.to_time_ns or record.from_time_ns
    return record.event_time_ns or record.receive_time_ns


def is_snapshot(record: Record) -> bool:
    return isinstance(record, Book) and record.book_action is BookAction.SNAPSHOT


def contiguous_span(record: Record) -> Span | None:
    if record.sequence is None or is_snapshot(record):
        return None
    return record.sequence, record.sequence


def range_span(record: Record) -> Span | None:
    if record.sequence is None or record.first_sequence is None or is_snapshot(record):
        return None
    return record.first_sequence, record.sequence


def back_pointer_span(record: Record) -> Span | None:
    if record.sequence is None or record.previous_sequence is None or is_snapshot(record):
        return None
    return record.previous_sequence + 1, record.sequence


def interval_span(record: Record) -> Span | None:
    """A closed bar's number since 1970."""
    if not isinstance(record, Bar) or record.bar_state is BarState.OPEN:
        return None
    length_ns = interval_ns(record.interval)
    number = record.event_time_ns // length_ns if length_ns else None
    return None if number is None else (number, number)


SPANS: dict[SequenceRule, Callable[[Record], Span | None]] = {
    SequenceRule.CONTIGUOUS: contiguous_span,
    SequenceRule.RANGE: range_span,
    SequenceRule.BACK_POINTER: back_pointer_span,
    SequenceRule.INTERVAL: interval_span,
}
"""The rules that prove completeness; of the others (``RISING``, ``NONE``) no record says what lies before it."""


def change_span(change: Book) -> Span | None:
    """Of a change of a book, by what it carries itself: its back-pointer, else its range; ``None`` = neither."""
    return range_span(change) if change.previous_sequence is None else back_pointer_span(change)
