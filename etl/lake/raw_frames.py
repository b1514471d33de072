"""Reads the archived raw frames: the frames of an exchange, as ``etl archive raw`` kept them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import pyarrow.parquet as pq

from etl.lake.catalog import Catalog, File
from etl.lake.layout import RAW, RAW_SCHEMA
from etl.lake.storage import Storage, open_storage
from etl.model.records import Frame, Source
from etl.settings import Settings
from etl.transports.frames import FrameJoiner, Piece

BATCH_FRAMES = 10_000


def frames(settings: Settings, exchange: str, from_ns: int, to_ns: int) -> Iterator[Frame]:
    """The frames received in [from_ns, to_ns), in the order of the raw topic within each partition.

    Frames of one connection lie in one partition, hence in the order in which they came.
    """
    storage, joiner = open_storage(settings), FrameJoiner()
    for file in Catalog(storage).read().of(RAW):
        if file.exchange == exchange and file.time_ns_min < to_ns and from_ns <= file.time_ns_max:
            for piece in _read(storage, file):
                frame = joiner.add(piece)
                if frame is not None and from_ns <= frame.receive_time_ns < to_ns:
                    yield frame


def _read(storage: Storage, file: File) -> Iterator[Piece]:
    with storage.open(file.path) as opened:
        for batch in pq.ParquetFile(opened).iter_batches(BATCH_FRAMES, columns=RAW_SCHEMA.names[1:]):
            columns = batch.to_pydict()
            encodings = columns.get("encoding") or repeat(None)  # older files have none
            rows = zip(*(columns[name] for name in RAW_SCHEMA.names[1:-1]), strict=True)
            for (connection_id, sequence, endpoint, time_ns, source, payload), encoding in zip(
                rows, encodings, strict=False
            ):
                frame = Frame(
                    file.exchange, connection_id, sequence, endpoint, time_ns, payload, Source[source.upper()]
                )
                yield Piece(frame, encoding or "")
