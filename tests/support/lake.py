"""A lake of records without a broker: the same writer and catalog, ranges given by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from msgspec import structs

from etl.lake.catalog import Catalog, File, Range, State
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
    writer = RecordWriter(settings, storage, span, file_name(0, span.start, span.end))
    assert writer.add_values(messages) == []
    files = writer.write()
    catalog = Catalog(storage)
    catalog.commit(catalog.read(), added=files, topic="topic", topic_id="topic-id", offsets={0: span.end})
    return files


def as_layout_1(settings: Settings) -> None:
    """The files of now as code of before 2026-11-29 wrote them: the column ``wide_decimals`` was named ``beyond``."""
    storage = open_storage(settings)
    catalog = Catalog(storage)
    state = catalog.read()
    former = []
    for file in state.files.values():
        path = Path(settings.lake_path, file.path)
        rows = pq.read_table(path, partitioning=None)
        names = ["beyond" if name == "wide_decimals" else name for name in rows.column_names]
        pq.write_table(rows.rename_columns(names), path)
        former.append(structs.replace(file, layout=1))
    catalog.commit(state, added=former)


def query(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with connect(settings) as connection:
        return connection.execute(sql).fetchall()


def state_of(settings: Settings) -> State:
    return Catalog(open_storage(settings)).read()
