"""A lake of records without a broker: the same writer and catalog, ranges given by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etl.lake.catalog import Catalog, File, State
from etl.lake.exports import Range
from etl.lake.layout import file_name
from etl.lake.query import connect
from etl.lake.storage import open_storage
from etl.model.records import Record
from etl.settings import Settings
from etl.sinks.lake import RecordWriter
from etl.wire.codec import encode


def export_records(settings: Settings, records: Iterable[Record], start: int = 0) -> list[File]:
    """As one export of partition 0 that begins at ``start``; returns the files it added."""
    messages = [(start + n, encode(record)) for n, record in enumerate(records)]
    storage = open_storage(settings)
    span = Range(0, start, start + len(messages))
    writer = RecordWriter(settings, storage, span, file_name(0, span.start, span.end), {})
    assert writer.add_values(messages) == []
    files = writer.write()
    catalog = Catalog(storage)
    state = catalog.read()
    catalog.commit(state, added=files, txns={"topic-id/0": span.end})
    catalog.exports.commit(state.exports, "topic", "topic-id", offsets={0: span.end})
    return files


def complete_until(settings: Settings, until_ns: int) -> None:
    """As an export ends: what was published before ``until_ns`` is in the lake."""
    exports = Catalog(open_storage(settings)).exports
    topic = settings.topics.normalized
    exports.commit(exports.read(), topic, "normalized-id", until_ns=until_ns)


def query(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with connect(settings) as connection:
        return connection.execute(sql).fetchall()


def state_of(settings: Settings) -> State:
    return Catalog(open_storage(settings)).read()
