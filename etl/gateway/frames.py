"""Polars frames in the forms in which ClickHouse answers: the same names, texts and types. Pure."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

PIECE_ROWS = 65_536
"""Of an Arrow stream: as much as is made, sent and forgotten at a time."""
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
"""https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format"""
_TIME = "%Y-%m-%dT%H:%M:%S%.9fZ"
_TEXTS: Mapping[pl.DataType, str] = {pl.List(pl.String): "'", pl.List(pl.Float64): ""}
"""Lists that CSV has as text, and how their values are quoted."""


def exact_text(number: pl.Expr) -> pl.Expr:
    """A decimal without the zeros behind it."""
    text = number.cast(pl.String)
    short = text.str.strip_chars_end("0").str.strip_suffix(".")
    return pl.when(text.str.contains(".", literal=True)).then(short).otherwise(text)


def as_float(number: pl.Expr) -> pl.Expr:
    return number.cast(pl.Float64)


def _json(frame: pl.DataFrame) -> Iterator[bytes]:
    yield _with_iso_times(frame).write_ndjson().encode()


def _csv(frame: pl.DataFrame) -> Iterator[bytes]:
    lists = [
        pl.concat_str(
            pl.lit("["),
            pl.col(name)
            .list.eval(
                pl.concat_str(pl.lit(_TEXTS[kind]), pl.element().cast(pl.String), pl.lit(_TEXTS[kind]))
            )
            .list.join(","),
            pl.lit("]"),
        ).alias(name)
        for name, kind in frame.schema.items()
        if kind in _TEXTS
    ]
    shown = _with_iso_times(frame).with_columns(lists)
    yield shown.write_csv(quote_style="non_numeric", null_value="\\N").encode()


def _with_iso_times(frame: pl.DataFrame) -> pl.DataFrame:
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(name).dt.strftime(_TIME) for name in times)


def _table(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    return table.cast(pa.schema([pa.field(field.name, _small(field.type)) for field in table.schema]))


def _small(kind: pa.DataType) -> pa.DataType:
    """Without offsets of 64 bits."""
    if pa.types.is_large_list(kind):
        return pa.list_(_small(kind.value_type))
    return pa.string() if pa.types.is_large_string(kind) else kind


def _arrow(frame: pl.DataFrame) -> Iterator[bytes]:
    yield _table(frame.clear()).schema.serialize().to_pybytes()
    for piece in frame.iter_slices(PIECE_ROWS):
        for batch in _table(piece).combine_chunks().to_batches():
            yield batch.serialize().to_pybytes()
    yield END_OF_STREAM


def _parquet(frame: pl.DataFrame) -> Iterator[bytes]:
    sink = io.BytesIO()
    pq.write_table(_table(frame), sink)
    yield sink.getvalue()


WRITERS: Mapping[str, Callable[[pl.DataFrame], Iterator[bytes]]] = {
    "json": _json,
    "csv": _csv,
    "arrow": _arrow,
    "parquet": _parquet,
}
"""By the format's name: an answer in pieces."""
