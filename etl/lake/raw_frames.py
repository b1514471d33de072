"""Reads the archived raw frames: the frames of an exchange, as ``etl archive raw`` kept them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.parquet as pq

from etl.lake.catalog import Catalog, File
from etl.lake.layout import RAW, RAW_SCHEMA
from etl.lake.storage import Storage, open_storage
from etl.model.records import Frame, Source
from etl.settings import Settings

BATCH_FRAMES = 10_000


def frames(settings: Settings, exchange: str, from_ns: int, to_ns: int) -> Iterator[Frame]:
    """The frames received in [from_ns, to_ns), in the order of the raw topic within each partition.

    Frames of one connection lie in one partition, hence in the order in which they came.
    """
    storage = open_storage(settings)
    for file in Catalog(storage).read().of(RAW):
        if file.exchange == exchange and file.time_ns_min < to_ns and from_ns <= file.time_ns_max:
            yield from (frame for frame in _read(storage, file) if from_ns <= frame.receive_time_ns < to_ns)


def _read(storage: Storage, file: File) -> Iterator[Frame]:
    with storage.open(file.path) as opened:
        for batch in pq.ParquetFile(opened).iter_batches(BATCH_FRAMES, columns=RAW_SCHEMA.names[1:]):
            for connection_id, sequence, endpoint, time_ns, source, payload in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                yield Frame(
                    file.exchange, connection_id, sequence, endpoint, time_ns, payload, Source[source.upper()]
                )
