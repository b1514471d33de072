"""Which ids a record covers: the rules by which messages follow each other, once for continuity and for books. Pure.

A ``Span`` is the first and the last id, both included. ``None`` = the record says nothing: it carries no id, or it is a
snapshot, which is no link of the chain of changes.
"""

from __future__ import annotations

from collections.abc import Callable

from etl.adapter.contract import Channel, SequenceRule
from etl.model.records import Bar, BarState, Book, BookAction, Gap, Record
from etl.model.times import interval_ns

Span = tuple[int, int]
SpanReader = Callable[[Record], Span | None]


def time_of(record: Record) -> int:
    """The time by which a record is stored: the venue's, else ours; of a gap, where it ends."""
    if isinstance(record, Gap):
        return record.to_time_ns or record.from_time_ns
    return record.event_time_ns or record.receive_time_ns


def is_snapshot(record: Record) -> bool:
    return isinstance(record, Book) and record.book_action is BookAction.SNAPSHOT


def restart_of(record: Record, last: int, newest: Record) -> Span | None:
    """Of a snapshot with an id below ``last`` and a later time than ``newest``: the venue counts anew from there."""
    is_later = is_snapshot(record) and record.event_time_ns > time_of(newest)
    if not is_later or record.sequence is None or record.sequence >= last:
        return None
    return record.sequence, record.sequence


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


def interval_span(bar_ns: int) -> SpanReader:
    """Of closed bars of this length: their number since 1970."""

    def span(record: Record) -> Span | None:
        if not isinstance(record, Bar) or record.bar_state is BarState.OPEN:
            return None
        number = record.event_time_ns // bar_ns
        return number, number

    return span


_READERS: dict[SequenceRule, SpanReader] = {
    SequenceRule.CONTIGUOUS: contiguous_span,
    SequenceRule.RANGE: range_span,
    SequenceRule.BACK_POINTER: back_pointer_span,
}


def span_reader(channel: Channel, bar_ns: int) -> SpanReader | None:
    """How the channel's records tell what they cover; ``None`` where none proves anything (``RISING``, ``NONE``, bars
    of no fixed length)."""
    return interval_span(bar_ns) if bar_ns else _READERS.get(channel.rule)


def bar_length_ns(channel: Channel, record: Record) -> int:
    """Of the bars of a channel that must not skip one, as ``record`` says, else as the venue declares; 0 elsewhere, and
    where the length is not fixed."""
    if channel.rule is not SequenceRule.INTERVAL:
        return 0
    told_ns = interval_ns(record.interval) if isinstance(record, Bar) else 0
    return told_ns or channel.interval_ns


def bars_between(from_ns: int, to_ns: int, bar_ns: int) -> Span:
    """Numbers of the first and last bar that start after ``from_ns`` and before ``to_ns``; none if last < first."""
    return from_ns // bar_ns + 1, -(-to_ns // bar_ns) - 1


def missed_span(gap: Gap, bar_ns: int) -> Span | None:
    """What ``gap`` missed when it was declared; ``None`` where only its times are known, or it has no end."""
    if bar_ns and gap.from_time_ns and gap.to_time_ns:
        first, last = bars_between(gap.from_time_ns, gap.to_time_ns, bar_ns)
        return (first, last) if first <= last else None
    if gap.from_sequence is None or gap.to_sequence is None:
        return None
    return gap.from_sequence, gap.to_sequence


def last_before(gap: Gap, bar_ns: int) -> int | None:
    """The id up to which nothing is asked for where ``gap`` begins; ``None`` where it tells none."""
    if bar_ns:
        return gap.from_time_ns // bar_ns
    return None if gap.from_sequence is None else gap.from_sequence - 1


def id_before(change: Book) -> int | None:
    """The id right before a change of a book, by what the change carries itself: its back-pointer, else its range."""
    if change.previous_sequence is not None:
        return change.previous_sequence
    return None if change.first_sequence is None else change.first_sequence - 1
