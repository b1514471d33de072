"""``etl bench storage``: bytes a row in the production tables, from recorded frames, after merges, lossless.

The same messages also go into plain tables of the landing table's own columns: once exact, to compare a hash over
every column with what the views give, and once as Float64 with default compression, to compare sizes. And they are
written as the lake's Parquet, a file for each venue and kind.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from msgspec import structs

from etl import exchanges
from etl.bench.report import print_result, say
from etl.embedded.clickhouse import clickhouse_part
from etl.embedded.ports import free_ports
from etl.embedded.supervisor import Supervisor
from etl.errors import UsageError
from etl.lake.layout import parquet
from etl.lake.rows import in_order, to_arrow
from etl.model.records import Kind, Record, Source
from etl.settings import Settings, make
from etl.settings.sections import Lake
from etl.simulator import recording
from etl.sinks.clickhouse_batch import delimited
from etl.sinks.clickhouse_writer import MARKET_DATA, batch_path
from etl.sources.recording import frames, read_lines
from etl.stores.clickhouse_http import ClickHouse, connect
from etl.stores.migrate import migrate_clickhouse
from etl.up.plan import child_environment
from etl.wire.codec import encode
from etl.wire.columns import Rows, decode

app = typer.Typer()

VENUES = ("binance", "binance_usdm")
CONNECTION = "0191332e-7c4d-7a51-9f1e-3b6f2f6d1a77"
MESSAGES_MAX = 1_000_000

IDENTITY = ("key_time", "key_prefix", "key_number", "event_offset", "receive_offset")
VENUE_COLUMNS = {
    "trades": (*IDENTITY, "trade_id_is_key", "trade_id_own", "last_price", "volume", "side"),
    "quotes": (*IDENTITY, "sequence_is_key", "sequence_own", "bid", "bid_size", "ask", "ask_size"),
    "books": (
        *(*IDENTITY, "sequence_is_key", "sequence_own", "bid_count"),
        *("prices_narrow", "prices_wide", "sizes_narrow", "sizes_wide"),
    ),
}
"""Both times, the venue's id, prices, sizes and side: what the goals of docs/storage.md are about."""

HASHED = {
    "trades": "event_time_ns, receive_time_ns, record_key, trade_id, toString(last_price), toString(volume), side",
    "quotes": "event_time_ns, receive_time_ns, record_key, sequence, toString(bid), toString(bid_size), toString(ask),"
    " toString(ask_size)",
    "books": "event_time_ns, receive_time_ns, record_key, sequence, first_sequence, previous_sequence, book_action,"
    " arrayMap(x -> toString(x), bid_prices), arrayMap(x -> toString(x), bid_sizes),"
    " arrayMap(x -> toString(x), ask_prices), arrayMap(x -> toString(x), ask_sizes)",
}
HASHED_OF_ALL = (
    "exchange, symbol, venue_symbol, channel, publish_time_ns, participant_time_ns, source, connection_id,"
    " frame_sequence, frame_index, parser_version, size_unit"
)
KINDS = {"trades": "trade", "quotes": "quote", "books": "book"}
PARQUET_COLUMNS = {
    Kind.TRADE: ("event_time_ns", "receive_time_ns", "trade_id", "last_price", "volume", "side"),
    Kind.QUOTE: ("event_time_ns", "receive_time_ns", "sequence", "bid", "bid_size", "ask", "ask_size"),
    Kind.BOOK: (
        *("event_time_ns", "receive_time_ns", "sequence"),
        *("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"),
    ),
}
"""The same in the lake, where the record's key is a column beside the id."""

FLOAT_COLUMNS = {
    "trades": "fromUnixTimestamp64Nano(event_time_ns) AS t, fromUnixTimestamp64Nano(receive_time_ns) AS r, trade_id,"
    " toFloat64(last_price) AS price, toFloat64(volume) AS size, side",
    "quotes": "fromUnixTimestamp64Nano(receive_time_ns) AS r, sequence, toFloat64(bid) AS bid,"
    " toFloat64(bid_size) AS bid_size, toFloat64(ask) AS ask, toFloat64(ask_size) AS ask_size",
    "books": "fromUnixTimestamp64Nano(event_time_ns) AS t, fromUnixTimestamp64Nano(receive_time_ns) AS r, sequence,"
    " (arrayJoin(arrayConcat(arrayMap((p, s) -> (1, toFloat64(p), toFloat64(s)), bid_prices, bid_sizes),"
    " arrayMap((p, s) -> (2, toFloat64(p), toFloat64(s)), ask_prices, ask_sizes))) AS one).1 AS side,"
    " one.2 AS price, one.3 AS size",
}


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of recordings; default: the shipped session.")
    ] = None,
) -> None:
    records = recorded(recordings)
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        (port,) = free_ports(1)
        settings = make(state_dir=folder, clickhouse_port=port)
        result = asyncio.run(_with_server(settings, lambda: _measure(settings, records)))
    print_result("storage", result, as_json)


def recorded(folder: Path | None) -> list[Record]:
    """The records of the Binance recordings, on one connection each. Raises ``UsageError`` if there are none."""
    found: list[Record] = []
    for venue in VENUES:
        path = recording.find(folder, venue) if folder else recording.shipped(venue)
        if path is None:
            continue
        exchange = exchanges.load(venue)()
        with path.open("rb") as file:
            for frame in frames(read_lines(file), venue):
                live = structs.replace(frame, connection_id=CONNECTION, source=Source.STREAM)
                found += [outcome for outcome in exchange.parse(live) if isinstance(outcome, Record)]
    if not found:
        raise UsageError(f"{folder}: no recording of {' or '.join(VENUES)}")
    return found[:MESSAGES_MAX]


async def _with_server(settings: Settings, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    parts = (clickhouse_part(settings),)
    async with Supervisor(parts, child_environment(settings), settings.state_path) as supervisor:
        await supervisor.all_ready()
        return await asyncio.to_thread(measure)


def _measure(settings: Settings, records: Sequence[Record]) -> dict[str, Any]:
    migrate_clickhouse(settings)
    with connect(settings, internal=True) as client:
        _plain_tables(client)
        for table in VENUE_COLUMNS:
            # a part of this size would be compact, and its columns not told apart
            client.execute(f"ALTER TABLE {table}_stored MODIFY SETTING min_bytes_for_wide_part = 0")
        body = delimited([encode(record) for record in records])
        client.insert(batch_path(MARKET_DATA, "storage", len(records)), body)
        for table in VENUE_COLUMNS:
            client.execute(f"OPTIMIZE TABLE {table}_stored FINAL")
            client.execute(f"OPTIMIZE TABLE float_{table} FINAL")
            _compare_hashes(client, table)
        say("lossless: the hash over all columns is that of the plain tables")
        sizes = _sizes(client)
    return {**sizes, **_parquet_sizes(settings.lake, records)}


def _parquet_sizes(limits: Lake, records: Sequence[Record]) -> dict[str, Any]:
    """Bytes a row of the lake's files; of books a level."""
    venue_bytes: Counter[str] = Counter()
    whole_bytes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for rows in _rows_by_venue(records):
        table = in_order(to_arrow(rows))
        file = pq.ParquetFile(pa.BufferReader(parquet(rows.kind, table, limits.row_group_rows)))
        name = {Kind.TRADE: "trades", Kind.QUOTE: "quotes", Kind.BOOK: "book_levels"}[rows.kind]
        levels = (len(side) for name in ("bid_prices", "ask_prices") for side in rows.values.get(name, ()))
        counts[name] += sum(levels) if rows.kind is Kind.BOOK else len(rows)
        for group in range(file.metadata.num_row_groups):
            for index in range(file.metadata.num_columns):
                column = file.metadata.row_group(group).column(index)
                whole_bytes[name] += column.total_compressed_size
                if column.path_in_schema.partition(".")[0] in PARQUET_COLUMNS[rows.kind]:
                    venue_bytes[name] += column.total_compressed_size
    return {
        "parquet": {name: round(venue_bytes[name] / counts[name], 2) for name in counts},
        "parquet_whole_row": {name: round(whole_bytes[name] / counts[name], 2) for name in counts},
    }


def _rows_by_venue(records: Sequence[Record]) -> Iterator[Rows]:
    for venue in VENUES:
        messages = ((0, encode(record)) for record in records if record.exchange == venue)
        yield from decode(messages, skip=set(Kind) - set(PARQUET_COLUMNS))[0]


def _plain_tables(client: ClickHouse) -> None:
    """What was sent, as the landing table has it; and the usual way, Float64 and default compression."""
    client.execute("CREATE TABLE plain AS market_data ENGINE = MergeTree ORDER BY ()")
    client.execute("CREATE MATERIALIZED VIEW plain_fan_out TO plain AS SELECT * FROM market_data")
    for table, columns in FLOAT_COLUMNS.items():
        _float_table(client, table, columns)


def _float_table(client: ClickHouse, table: str, columns: str) -> None:
    client.execute(
        f"CREATE TABLE float_{table} ENGINE = MergeTree ORDER BY (exchange, symbol, r)"  # noqa: S608
        " SETTINGS min_bytes_for_wide_part = 0"
        f" AS SELECT exchange, symbol, {columns} FROM plain WHERE 0"
    )
    client.execute(
        f"CREATE MATERIALIZED VIEW float_{table}_fan_out TO float_{table}"  # noqa: S608
        f" AS SELECT exchange, symbol, {columns} FROM market_data WHERE kind = '{KINDS[table]}'"
    )


def _compare_hashes(client: ClickHouse, table: str) -> None:
    columns = f"{HASHED_OF_ALL}, {HASHED[table]}"
    total = f"SELECT count(), sum(cityHash64({columns}))"
    stored = client.execute(f"{total} FROM {table}")
    sent = client.execute(f"{total} FROM plain WHERE kind = '{KINDS[table]}'")
    if stored != sent:
        raise AssertionError(f"{table}: stored {stored!r}, sent {sent!r}")


def _sizes(client: ClickHouse) -> dict[str, Any]:
    result: dict[str, Any] = {
        "rows": {},
        "bytes_per_row": {},
        "whole_row": {},
        "float64_default": {},
        "columns": {},
    }
    for table, venue_columns in VENUE_COLUMNS.items():
        name = "book_levels" if table == "books" else table
        counted = "sum(length(prices))" if table == "books" else "count()"
        rows = int(client.execute(f"SELECT {counted} FROM {table}_stored"))  # noqa: S608
        columns = _column_bytes(client, f"{table}_stored")
        floats = _column_bytes(client, f"float_{table}")
        result["rows"][name] = rows
        result["bytes_per_row"][name] = round(sum(columns[column] for column in venue_columns) / rows, 2)
        result["whole_row"][name] = round(sum(columns.values()) / rows, 2)
        result["float64_default"][name] = round(sum(floats.values()) / rows, 2)
        result["columns"][name] = {
            column: round(size / rows, 3) for column, size in columns.items() if size / rows >= 0.001
        }
    return result


def _column_bytes(client: ClickHouse, table: str) -> dict[str, int]:
    answer = client.execute(
        "SELECT column, sum(column_data_compressed_bytes) AS bytes FROM system.parts_columns"
        " WHERE active AND database = currentDatabase() AND table = {table:String}"
        " GROUP BY column ORDER BY bytes DESC FORMAT JSONCompactEachRow",
        settings={"output_format_json_quote_64bit_integers": "0"},
        parameters={"table": table},
    )
    return dict(msgspec.json.decode(line) for line in answer.splitlines())
