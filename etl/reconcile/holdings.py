"""What each store holds, by identity, in batches: the other side of every comparison with the truth.

Every function yields Arrow tables of ``HELD``: one row per row of the store, so that a double shows as two.
Each store is read through the names that users read.
"""

# ruff: noqa: S608  (queries are put together from the names of tables, etl/model/tables.py)

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.sql import SQL, Identifier, Literal

from etl.lake import query as lake_query
from etl.model.records import Kind
from etl.model.tables import TABLE_BY_KIND
from etl.settings import Settings
from etl.stores.clickhouse_http import connect
from etl.stores.timescale import session

ROWS_PER_BATCH = 50_000

HELD = pa.schema(
    [("exchange", pa.string()), ("kind", pa.string()), ("symbol", pa.string()), ("key", pa.string())]
)
"""An identity; ``key`` is the record_key."""

EVENT_KINDS = tuple(kind for kind in Kind if kind is not Kind.GAP)
"""A gap is ours: no venue sends one."""


def kinds_of(store: str, settings: Settings) -> Sequence[Kind]:
    """The kinds that ``store`` should hold."""
    if store == "timescale" and not settings.load.books:
        return [kind for kind in EVENT_KINDS if kind is not Kind.BOOK]
    return EVENT_KINDS


CLICKHOUSE_VIEWS = TABLE_BY_KIND | {Kind.BOOK: "books"}
"""A book is a message in ``books``, and a row per level in ``book_updates``."""


def clickhouse(settings: Settings, exchanges: Sequence[str]) -> Iterator[pa.Table]:
    """Raises ``StoreError``."""
    with connect(settings) as client:
        for kind in kinds_of("clickhouse", settings):
            for exchange in exchanges:
                answer = client.execute(
                    "SELECT toString(exchange) AS exchange, toString(symbol) AS symbol, record_key "
                    f"FROM {CLICKHOUSE_VIEWS[kind]} WHERE exchange = {{exchange:String}} FORMAT Parquet",
                    {"output_format_parquet_string_as_string": "1"},
                    {"exchange": exchange},
                )
                rows = pq.read_table(io.BytesIO(answer))
                yield _held(kind, rows["exchange"], rows["symbol"], rows["record_key"])


def clickhouse_physical_duplicates(settings: Settings, exchanges: Sequence[str]) -> Mapping[str, int]:
    """Rows in the tables under the views beyond one per identity, by exchange."""
    found = dict.fromkeys(exchanges, 0)
    with connect(settings, internal=True) as client:
        for kind in EVENT_KINDS:
            answer = client.execute(
                "SELECT exchange, count() - uniqExact(symbol, record_key) "
                f"FROM {CLICKHOUSE_VIEWS[kind]}_stored GROUP BY exchange FORMAT TSV"
            )
            for line in answer.decode().splitlines():
                exchange, doubles = line.split("\t")
                if exchange in found:
                    found[exchange] += int(doubles)
    return found


def clickhouse_latency_ms(settings: Settings, exchanges: Sequence[str]) -> tuple[float, float]:
    """p50 and p99 from the receipt of a streamed event to its storing, over all kinds."""
    parts = " UNION ALL ".join(
        f"SELECT (toUnixTimestamp64Nano(stored_time) - receive_time_ns) / 1e6 AS ms "
        f"FROM {CLICKHOUSE_VIEWS[kind]}_stored "
        "WHERE source = 'stream' AND has({exchanges:Array(String)}, toString(exchange))"
        for kind in EVENT_KINDS
    )
    with connect(settings, internal=True) as client:
        answer = client.execute(
            f"SELECT quantileTDigest(0.5)(ms), quantileTDigest(0.99)(ms) FROM ({parts}) FORMAT TSV",
            parameters={"exchanges": "[" + ",".join(f"'{name}'" for name in exchanges) + "]"},
        )
    p50, p99 = answer.decode().split("\t")
    return float(p50), float(p99)


def timescale(settings: Settings, exchanges: Sequence[str]) -> Iterator[pa.Table]:
    """Raises ``StoreError``."""
    with session(settings) as connection:
        for kind in kinds_of("timescale", settings):
            query = SQL(
                "COPY (SELECT exchange, symbol, record_key FROM {} WHERE exchange = ANY({})) TO STDOUT"
            ).format(Identifier(TABLE_BY_KIND[kind]), Literal(list(exchanges)))
            with connection.cursor().copy(query) as copy:
                copy.set_types(["text", "text", "text"])
                yield from _batches(kind, copy.rows())


def _batches(kind: Kind, rows: Iterator[tuple[str, ...]]) -> Iterator[pa.Table]:
    batch: list[tuple[str, ...]] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= ROWS_PER_BATCH:
            yield _held(kind, *map(list, zip(*batch, strict=True)))
            batch = []
    if batch:
        yield _held(kind, *map(list, zip(*batch, strict=True)))


def lake(settings: Settings, exchanges: Sequence[str]) -> Iterator[pa.Table]:
    """Through the lake's views: until a compaction two files may hold one identity, and users see one row."""
    connection = lake_query.connect(settings)
    try:
        for kind in kinds_of("lake", settings):
            query = f"SELECT exchange, symbol, record_key FROM {TABLE_BY_KIND[kind]} WHERE list_contains(?, exchange)"
            rows = connection.sql(query, params=[list(exchanges)]).to_arrow_reader(ROWS_PER_BATCH)
            for batch in rows:
                yield _held(kind, batch["exchange"], batch["symbol"], batch["record_key"])
    finally:
        connection.close()


def _held(kind: Kind, exchange: object, symbol: object, key: object) -> pa.Table:
    kinds = pa.repeat(kind.name.lower(), len(key))  # type: ignore[arg-type]
    return pa.table({"exchange": exchange, "kind": kinds, "symbol": symbol, "key": key}).cast(HELD)


STORES: Mapping[str, Callable[[Settings, Sequence[str]], Iterator[pa.Table]]] = {
    "clickhouse": clickhouse,
    "timescale": timescale,
    "lake": lake,
}
