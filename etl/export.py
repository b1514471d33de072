"""``export``: the normalized topic into the lake, up to the high watermark seen at the start.

    plan      commit the ranges: from the last boundary on, bounded        boundaries are kept before files are made
    write     rows of a range → sorted, cut by place → files               same range, same bytes, same names
    switch    commit files and offsets together                            now the catalog shows them

A crash before the switch leaves files that no catalog names; the next export finds the plan, writes the same bytes
under the same names, and switches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import cast

from msgspec import Struct

from etl import crash
from etl.columns import decode, without
from etl.errors import StoreRejected
from etl.lake.catalog import Catalog, File, Range, State
from etl.lake.storage import Storage, open_storage
from etl.settings import Settings
from etl.sinks.lake import RangeWriter
from etl.sinks.refusals import quarantine
from etl.transports.ranges import Bounds, RangeReader

STORE = "lake"
GROUP = "lake-export"
"""Shows the export's lag beside the real consumer groups; the export itself goes by the catalog."""
DECODE_MESSAGES = 20_000


class Exported(Struct, frozen=True):
    """What one export did: messages read, rows per table, files and their bytes, messages refused."""

    messages: int
    rows: dict[str, int]
    files: int
    bytes: int
    refused: int


def export(settings: Settings, until_ns: int | None = None) -> Exported:
    """Everything published before ``until_ns`` (now, if None), in rounds of at most ``lake_range_messages_max``
    messages per partition.

    Raises ``StoreUnavailable``, ``TransportError``, ``RangeLost``; whole rounds done by then stay.
    """
    storage = open_storage(settings)
    catalog = Catalog(storage)
    messages = refused = 0
    files: list[File] = []
    with RangeReader(settings, settings.normalized_topic, GROUP) as reader:
        topic_id, bounds = reader.topic_id(), reader.bounds()
        if until_ns is not None:
            ends = reader.offsets_at(until_ns)
            bounds = {partition: Bounds(bound.low, ends[partition]) for partition, bound in bounds.items()}
        while planned := _planned(settings, catalog, topic_id, bounds):
            state, ranges = planned
            added: list[File] = []
            for span in ranges:
                written, turned_away = _write(settings, storage, reader, span, _mark(state, topic_id))
                added += written
                refused += turned_away
                messages += span.end - span.start
            crash.reach(settings, crash.BETWEEN_LAKE_FILE_AND_CATALOG)
            offsets = {span.partition: span.end for span in ranges}
            catalog.commit(state, added=added, topic_id=topic_id, offsets=offsets, planned=())
            for partition, end in offsets.items():
                reader.show_progress(partition, end)
            files += added
    return Exported(messages, _rows(files), len(files), sum(file.bytes for file in files), refused)


def _planned(
    settings: Settings, catalog: Catalog, topic_id: str, bounds: dict[int, Bounds]
) -> tuple[State, tuple[Range, ...]] | None:
    """The state and the ranges to write next: what a dead export had planned, or a new plan; None at the end."""
    state = catalog.read()
    if state.planned and topic_id in state.offsets:
        return state, state.planned
    done = state.offsets.get(topic_id, {})
    ranges = tuple(
        Range(partition, start, min(bound.high, start + settings.lake_range_messages_max))
        for partition, bound in bounds.items()
        if (start := done.get(partition, bound.low)) < bound.high
    )
    if not ranges:
        return None
    catalog.commit(state, topic_id=topic_id, planned=ranges)
    return state, ranges


def _mark(state: State, topic_id: str) -> str:
    """Empty for the first topic of the lake; a topic made anew counts its offsets from 0 again, its files differ."""
    number = list(state.offsets).index(topic_id)
    return f"t{number}-" if number else ""


def _write(
    settings: Settings, storage: Storage, reader: RangeReader, span: Range, mark: str
) -> tuple[list[File], int]:
    """The files of one range, and how many of its messages went to the quarantine instead."""
    writer = RangeWriter(settings, storage, span, mark)
    refused = sum(_add(settings, writer, pairs) for pairs in _read(reader, span))
    return writer.write(), refused


def _read(reader: RangeReader, span: Range) -> Iterator[list[tuple[int, bytes]]]:
    for messages in reader.read(span.partition, span.start, span.end, DECODE_MESSAGES):
        yield [(cast(int, m.offset()), cast(bytes, m.value())) for m in messages]


def _add(settings: Settings, writer: RangeWriter, pairs: list[tuple[int, bytes]]) -> int:
    batch, refused = decode(pairs)
    try:
        writer.add(batch)
    except StoreRejected:
        found = [item for rows in batch for item in writer.refused(rows)]
        refused = [*refused, *found]
        writer.add(without(batch, {item.offset for item in found}))
    if refused:
        values = dict(pairs)
        quarantine(settings, [(item, values[item.offset]) for item in refused], STORE)
    return len(refused)


def _rows(files: list[File]) -> dict[str, int]:
    rows: Counter[str] = Counter()
    for file in files:
        rows[file.table] += file.rows
    return dict(rows)
