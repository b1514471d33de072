"""``export`` and ``archive``: a topic into the lake, up to the high watermark seen at the start.

    plan      keep the ranges: from the last boundary on, bounded          boundaries are kept before files are made
    write     rows of a range → sorted, cut by place → files               same range, same bytes, same names
    commit    each table: its files, and the offset it has reached         now the table shows them
    advance   keep the offsets; the plan is done

A crash before a commit leaves files that no table names; the next export finds the plan, writes the same bytes under
the same names, and commits. Tables that were committed before the crash say so themselves (``txn``): their rows of the
range are left out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from etl import crash
from etl.errors import RangeLost
from etl.lake.catalog import Catalog, File, State
from etl.lake.exports import UNTIL, Range
from etl.lake.layout import file_name
from etl.lake.storage import Storage, open_storage
from etl.settings import Settings
from etl.sinks import readers
from etl.sinks.collection import rare_collection
from etl.sinks.lake import RangeWriter, RawWriter, RecordWriter
from etl.sinks.losses import BEGINS_LATER, declare_lost, require_end
from etl.sinks.refusals import quarantine
from etl.transports.frames import TOGETHER_FRAMES_MAX
from etl.transports.ranges import Bounds, Overtaken, RangeReader
from etl.transports.transport import transport_of

STORE = "lake"
READ_MESSAGES = 20_000
RANGE_GROWTH_MAX = 4
"""How many times as long as the range before a range is at most."""


class Exported(Struct, frozen=True):
    """What one export did: messages read, rows per table, files and their bytes, messages refused."""

    messages: int
    rows: dict[str, int]
    files: int
    bytes: int
    refused: int


def export(settings: Settings, until_ns: int | None = None) -> Exported:
    """The normalized topic: what was published before ``until_ns`` (None: now) and is not exported yet.

    Works in rounds of at most ``lake_range_messages_max`` messages per partition. Raises ``StoreUnavailable``,
    ``TransportError``, ``RangeLost``; whole rounds done by then stay.
    """
    return _drain(settings, settings.topics.normalized, readers.EXPORT, RecordWriter, until_ns)


def archive(settings: Settings, until_ns: int | None = None) -> Exported:
    """The raw topic, every frame with its exact bytes: the frames that outlive the topic's retention. Of a partition, a
    round has about ``lake_range_messages_max`` frames at most."""
    return _drain(settings, settings.topics.raw, readers.ARCHIVE, RawWriter, until_ns, TOGETHER_FRAMES_MAX)


class _NewWriter(Protocol):
    def __call__(
        self, settings: Settings, storage: Storage, span: Range, name: str, done: Mapping[str, int]
    ) -> RangeWriter: ...


@rare_collection()
def _drain(
    settings: Settings,
    topic: str,
    group: str,
    new_writer: _NewWriter,
    until_ns: int | None,
    message_rows_max: int = 1,
) -> Exported:
    """``group`` shows the lag beside the real consumer groups; the export itself goes by the lake. A message may give
    ``message_rows_max`` rows; how many it does give, the rounds so far tell."""
    range_messages = max(1, settings.lake.range_messages_max // message_rows_max)
    storage = open_storage(settings)
    catalog = Catalog(storage)
    catalog.repair()
    messages = refused = 0
    files: list[File] = []
    began_ns = time.time_ns()
    with transport_of(settings).reader(topic, group) as reader:
        bounds = reader.bounds()
        topic_id = _require_ends(settings, catalog, reader, bounds)
        if until_ns is not None:
            ends = reader.offsets_at(until_ns)
            bounds = {partition: Bounds(bound.low, ends[partition]) for partition, bound in bounds.items()}
        while planned := _planned(settings, catalog, topic, topic_id, bounds, range_messages):
            state, ranges = planned
            try:
                written = _written(settings, storage, reader, new_writer, state, ranges, topic_id)
            except Overtaken:  # the plan is cut, what the topic has now is planned
                now = reader.bounds()
                bounds = {
                    partition: Bounds(now[partition].low, bounds[partition].high) for partition in bounds
                }
                continue
            offsets = {span.partition: span.end for span in ranges}
            _commit(catalog, state, written, topic_id, offsets)
            catalog.exports.commit(
                state.exports, topic, topic_id, offsets=offsets, leader_epochs=written.leader_epochs
            )
            for partition, end in offsets.items():
                reader.show_progress(partition, end)
            read = sum(span.end - span.start for span in ranges)
            messages += read
            rows = sum(file.rows for file in written.files)
            range_messages = _next_range(settings.lake.range_messages_max, range_messages, read, rows)
            refused += written.refused
            files += written.files
    _advance_boundary(catalog, topic, topic_id, min(began_ns, until_ns or began_ns))
    return Exported(messages, _rows(files), len(files), sum(file.bytes for file in files), refused)


def _next_range(rows_max: int, range_messages: int, messages: int, rows: int) -> int:
    """Messages of the next round's ranges, so that one holds ``rows_max`` rows if it is like the round that is done,
    whose ``messages`` gave ``rows``."""
    return max(1, min(rows_max, RANGE_GROWTH_MAX * range_messages, rows_max * messages // max(1, rows)))


def _commit(
    catalog: Catalog, state: State, written: _Written, topic_id: str, offsets: Mapping[int, int]
) -> None:
    """A commit a table, each with how far it has come now, and up to when everything is there as of the last export."""
    txns = {app_id(topic_id, partition): end for partition, end in offsets.items()}
    if until_ns := state.exports.until_ns.get(topic_id):
        txns[f"{UNTIL}{topic_id}"] = until_ns
    crash.reach(crash.BETWEEN_LAKE_FILE_AND_CATALOG)
    for table in sorted({file.table for file in written.files}):
        added = [file for file in written.files if file.table == table]
        catalog.commit(state, added=added, txns=txns)
        crash.reach(crash.BETWEEN_LAKE_COMMITS)


def app_id(topic_id: str, partition: int) -> str:
    """Under which name a table keeps the offset that it has reached."""
    return f"{topic_id}/{partition}"


def _advance_boundary(catalog: Catalog, topic: str, topic_id: str, until_ns: int) -> None:
    """What was published before ``until_ns`` is in the lake."""
    exports = catalog.exports.read()
    if topic_id in exports.topics and exports.until_ns.get(topic_id, 0) < until_ns:
        planned = exports.planned.get(topic_id, ())
        catalog.exports.commit(exports, topic, topic_id, planned=planned, until_ns=until_ns)


ANEW = "~"
"""Before the number of times that a topic, which had lost its end, was begun anew."""


def _require_ends(
    settings: Settings, catalog: Catalog, reader: RangeReader, bounds: dict[int, Bounds]
) -> str:
    """The id under which the catalog keeps the offsets of this topic.

    Raises ``RangeLost`` if the topic ends before what was exported of it, or planned. The next export begins it anew,
    under an id of its own, so that no file takes another's name: the views tell what is there already."""
    state, topic, topic_id = catalog.read().exports, reader.topic, reader.topic_id()
    known = [name for name in state.topics if name.partition(ANEW)[0] == topic_id]
    current = known[-1] if known else topic_id
    done, epochs = state.offsets.get(current, {}), state.leader_epochs.get(current, {})
    planned = {span.partition: span.end for span in state.planned.get(current, ())}
    try:
        for partition, bound in bounds.items():
            end = done.get(partition, 0)
            kept = reader.known_end(partition, end, epochs.get(partition, -1), bound.high)
            require_end(settings, STORE, topic, partition, topic_id, end, kept)
            require_end(settings, STORE, topic, partition, topic_id, planned.get(partition, 0), bound.high)
    except RangeLost:
        catalog.exports.commit(state, topic, f"{topic_id}{ANEW}{len(known)}")
        raise
    return current


def _planned(
    settings: Settings,
    catalog: Catalog,
    topic: str,
    topic_id: str,
    bounds: dict[int, Bounds],
    range_messages: int,
) -> tuple[State, tuple[Range, ...]] | None:
    """The state and the ranges to write next: what a dead export had planned, or a new plan; None at the end.

    What retention took before it was exported is declared as a gap, and the offsets move past it; a plan that it has
    cut is made anew."""
    state = catalog.read()
    exports = state.exports
    planned = exports.planned.get(topic_id, ())
    if planned and all(span.start >= bounds[span.partition].low for span in planned):
        return state, planned
    begun = exports.offsets.get(topic_id, {}) | {span.partition: span.start for span in planned}
    lost = {
        partition: bound.low
        for partition, bound in bounds.items()
        if begun.get(partition, bound.low) < bound.low
    }
    for partition, low in lost.items():
        declare_lost(settings, STORE, topic, partition, topic_id, begun[partition], low, BEGINS_LATER)
    ranges = tuple(
        Range(partition, start, min(bound.high, start + range_messages))
        for partition, bound in bounds.items()
        if (start := max(bound.low, begun.get(partition, bound.low))) < bound.high
    )
    if ranges or lost:
        # under which leader the message before came, nobody can know any more
        epochs = dict.fromkeys(lost, -1)
        catalog.exports.commit(exports, topic, topic_id, offsets=lost, leader_epochs=epochs, planned=ranges)
    return (state, ranges) if ranges else None


class _Written(Struct, frozen=True):
    """A plan's files, how many of its messages went to the quarantine instead, and under which leader the last message
    of each partition came."""

    files: list[File]
    refused: int
    leader_epochs: dict[int, int]


def _written(
    settings: Settings,
    storage: Storage,
    reader: RangeReader,
    new_writer: _NewWriter,
    state: State,
    ranges: tuple[Range, ...],
    topic_id: str,
) -> _Written:
    """Raises ``Overtaken``."""
    generation = state.exports.generation(topic_id)
    files: list[File] = []
    refused, epochs = 0, {}
    for span in ranges:
        name = file_name(span.partition, span.start, span.end, generation)
        place = app_id(topic_id, span.partition)
        done = {table: state.done(table, place) for table in state.tables}
        writer = new_writer(settings, storage, span, name, done)
        turned_away, epochs[span.partition] = _read_into(settings, writer, reader, span, place)
        refused += turned_away
        files += writer.write()
    return _Written(files, refused, epochs)


def _read_into(
    settings: Settings, writer: RangeWriter, reader: RangeReader, span: Range, place: str
) -> tuple[int, int]:
    """How many messages of ``span`` went to the quarantine instead, and under which leader the last one came."""
    refused, leader_epoch = 0, -1
    for messages in reader.read(span.partition, span.start, span.end, READ_MESSAGES):
        if items := writer.add(messages):
            quarantine(settings, items, STORE, place)
            refused += len(items)
        leader_epoch = messages[-1].leader_epoch
    return refused, leader_epoch


def _rows(files: list[File]) -> dict[str, int]:
    rows: Counter[str] = Counter()
    for file in files:
        rows[file.table] += file.rows
    return dict(rows)
