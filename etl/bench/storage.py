"""``etl bench storage``: bytes a row in the production tables, from recorded frames, after merges, lossless.

The same messages also go into plain tables of the landing table's own columns: once exact, to compare a hash over
every column with what the views give, and once as Float64 with default compression, to compare sizes. And they are
written as the lake's Parquet, a file for each venue and kind. Then once more with UUIDs for the ids of trades.

``--venues all`` does so for each recording by itself, by column.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from msgspec import structs

from etl import exchanges
from etl.adapter.contract import Exchange
from etl.adapter.versions import parser_at
from etl.bench.report import print_result, say
from etl.embedded.clickhouse_start import clickhouse_part
from etl.embedded.ports import free_ports
from etl.embedded.supervisor import Supervisor
from etl.errors import UsageError
from etl.lake.layout import parquet
from etl.lake.rows import in_order, to_arrow
from etl.model.decimals import FRACTION_DIGITS_MAX
from etl.model.records import Kind, Record, Source, Trade
from etl.settings import Settings, make
from etl.settings.sections import Lake
from etl.simulator import recording
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sources.recording import frames, read_lines
from etl.stores.clickhouse_http import ClickHouse, connect, parse_address
from etl.stores.migrate import migrate_clickhouse
from etl.up.plan import child_environment
from etl.wire.codec import encode
from etl.wire.columns import Rows, decode

app = typer.Typer()

VENUES = ("binance", "binance_usdm")
ALL = "all"
RECORDED_AS = {"coinbase_exchange": "coinbase"}
"""Recordings that bear another name than the feed."""
CONNECTION = "0191332e-7c4d-7a51-9f1e-3b6f2f6d1a77"
MESSAGES_MAX = 1_000_000

IDENTITY = ("key_time", "key_prefix", "key_number", "event_offset", "receive_offset")
VENUE_COLUMNS = {
    "trades": (*IDENTITY, "trade_id_is_key", "trade_id_own", "last_price", "volume", "side", "wide_decimals"),
    "quotes": (
        *IDENTITY,
        "sequence_is_key",
        "sequence_own",
        "bid",
        "bid_size",
        "ask",
        "ask_size",
        "wide_decimals",
    ),
    "books": (
        *(*IDENTITY, "sequence_is_key", "sequence_own", "bid_count"),
        *("prices_narrow", "prices_wide", "sizes_narrow", "sizes_wide", "wide_decimals"),
    ),
}
"""Both times, the venue's id, prices, sizes and side: what the goals of docs/storage.md are about."""


def _exact(*names: str) -> str:
    """Decimals in one spelling: the landing table has them as they were sent."""
    return ", ".join(f"toString(toDecimal256({name}, {FRACTION_DIGITS_MAX}))" for name in names)


def _exact_lists(*names: str) -> str:
    return ", ".join(f"arrayMap(x -> {_exact('x')}, {name})" for name in names)


HASHED = {
    "trades": "event_time_ns, receive_time_ns, record_key, trade_id, toInt8(side), "
    + _exact("last_price", "volume"),
    "quotes": "event_time_ns, receive_time_ns, record_key, sequence, "
    + _exact("bid", "bid_size", "ask", "ask_size"),
    "books": "event_time_ns, receive_time_ns, record_key, sequence, first_sequence, previous_sequence,"
    " toInt8(book_action), " + _exact_lists("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"),
}
HASHED_OF_ALL = (
    "exchange, symbol, venue_symbol, channel, publish_time_ns, participant_time_ns, toInt8(source), connection_id,"
    " frame_sequence, frame_index, parser_version, toInt8(size_unit)"
)
KINDS = {"trades": Kind.TRADE, "quotes": Kind.QUOTE, "books": Kind.BOOK}
NAMES = {Kind.TRADE: "trades", Kind.QUOTE: "quotes", Kind.BOOK: "book_levels"}
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
    " toFloat64(last_price) AS price, toFloat64(volume) AS size, toInt8(side) AS side",
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
        Path | None, typer.Option(help="Folder of recordings; default: the shipped sessions.")
    ] = None,
    venues: Annotated[
        str, typer.Option(help="Feeds, each by itself, or all of which there is a recording.")
    ] = "",
) -> None:
    sets = (
        list(each_recorded(recordings or recording.SHIPPED, venues))
        if venues
        else [("", recorded(recordings))]
    )
    if not sets:
        say(f"{recordings or recording.SHIPPED}: no recording of {venues} venues; nothing is measured")
        return
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        (port,) = free_ports(1)
        settings = make(state_dir=folder, clickhouse_port=port)
        result = asyncio.run(_with_server(settings, lambda: dict(measured(settings, sets))))
    print_result("storage", {"venues": result} if venues else result[""], as_json)


def recorded(folder: Path | None) -> list[Record]:
    """The records of the Binance recordings, on one connection each. Raises ``UsageError`` if there are none."""
    found: list[Record] = []
    for venue in VENUES:
        path = recording.find(folder, venue) if folder else recording.shipped(venue)
        if path is not None:
            found += _records(exchanges.load(venue), path)
    if not found:
        raise UsageError(f"{folder}: no recording of {' or '.join(VENUES)}")
    return found[:MESSAGES_MAX]


def each_recorded(folder: Path, venues: str) -> Iterator[tuple[str, list[Record]]]:
    """Feed and records of each recording in ``folder`` that is wanted and can be used; what is left out is said."""
    for path in sorted(folder.glob("*.jsonl*")):
        name = path.name.split(".")[0]
        venue = RECORDED_AS.get(name, name)
        if venues != ALL and venue not in venues.split(","):
            continue
        if venue not in exchanges.names():
            say(f"{path.name}: left out, there is no such venue here")
        elif not next(recording.lines(path)).receive_time_ns:
            say(f"{path.name}: left out, its frames have no time of receipt")
        elif records := _records(exchanges.load(venue), path)[:MESSAGES_MAX]:
            yield venue, records
        else:
            say(f"{path.name}: left out, it has no trades, quotes or books")


def _records(feed: type[Exchange], path: Path) -> list[Record]:
    """Trades, quotes and books alone."""
    found: list[Record] = []
    exchange: Exchange | None = None
    with path.open("rb") as file:
        for frame in frames(read_lines(file), feed.name):
            exchange = exchange or parser_at(feed, frame.receive_time_ns)()
            live = structs.replace(frame, connection_id=CONNECTION, source=Source.STREAM)
            found += [it for it in exchange.parse(live) if isinstance(it, Record) and it.kind in NAMES]
    return found


async def _with_server(settings: Settings, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    parts = (clickhouse_part(settings),)
    async with Supervisor(parts, child_environment(settings), settings.state_path) as supervisor:
        await supervisor.all_ready()
        return await asyncio.to_thread(measure)


def measured(settings: Settings, sets: Sequence[tuple[str, list[Record]]]) -> Iterator[tuple[str, Any]]:
    """The result of each set, under its name. Raises ``AssertionError`` if a store gives another row than was sent."""
    migrate_clickhouse(settings)
    views = parse_address(settings.clickhouse_address).database
    with connect(settings, internal=True) as client:
        _plain_tables(client)
        for table in VENUE_COLUMNS:
            # a part of this size would be compact, and its columns not told apart
            client.execute(f"ALTER TABLE {table}_stored MODIFY SETTING min_bytes_for_wide_part = 0")
        for name, records in sets:
            _store(client, views, records)
            sizes = {**_sizes(client), **_parquet_sizes(settings.lake, records)}
            say(f"{name or 'all'}: lossless; bytes a row {sizes['bytes_per_row']}")
            if trades := [record for record in records if isinstance(record, Trade)]:
                _store(client, views, _with_uuids(trades))
                sizes["uuid_ids"] = _uuid_sizes(client)
            yield name, sizes


def _store(client: ClickHouse, views: str, records: Sequence[Record]) -> None:
    """Nothing but ``records``, merged. ``views``: the database of what users see."""
    kept = (f"{table}_stored" for table in VENUE_COLUMNS), (f"float_{table}" for table in VENUE_COLUMNS)
    for table in chain(("plain",), *kept):
        client.execute(f"TRUNCATE TABLE {table}")
    body = delimited([encode(record) for record in records])
    client.insert(batch_path(MARKET_DATA, uuid.uuid4().hex, len(records)), body)
    for table in VENUE_COLUMNS:
        client.execute(f"OPTIMIZE TABLE {table}_stored FINAL")
        client.execute(f"OPTIMIZE TABLE float_{table} FINAL")
        _compare_hashes(client, f"{views}.{table}", KINDS[table], HASHED[table])


def _with_uuids(trades: Sequence[Trade]) -> list[Trade]:
    """The same under ids as Bybit gives them: the key is the id."""
    chance = random.Random(1)
    ids = (str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in trades)
    return [
        structs.replace(trade, trade_id=id_, record_key=id_) for trade, id_ in zip(trades, ids, strict=True)
    ]


UUID_FORMS = {
    "text_zstd_1": "String CODEC(ZSTD(1))",
    "text_zstd_12": "String CODEC(ZSTD(12))",
    "uuid": "UUID CODEC(ZSTD(1))",
    "uuid_plain": "UUID CODEC(NONE)",
}


def _uuid_sizes(client: ClickHouse) -> dict[str, float]:
    """Bytes a row of an id and the key made of it, as they are stored, and in other forms."""
    stored = _column_bytes(client, "trades_stored")
    client.execute("DROP TABLE IF EXISTS uuid_forms")
    columns = ", ".join(f"{name} {form}" for name, form in UUID_FORMS.items())
    client.execute(
        f"CREATE TABLE uuid_forms ({columns}) ENGINE = MergeTree ORDER BY () SETTINGS min_bytes_for_wide_part = 0"
    )
    ids = ", ".join("trade_id" for _ in UUID_FORMS)
    client.execute(
        f"INSERT INTO uuid_forms SELECT {ids} FROM trades_stored ORDER BY exchange, symbol, key_time, key_prefix"  # noqa: S608
    )
    client.execute("OPTIMIZE TABLE uuid_forms FINAL")
    rows = int(client.execute("SELECT count() FROM trades_stored"))
    in_tables = sum(stored[name] for name in ("key_prefix", "key_number", "trade_id_is_key", "trade_id_own"))
    forms = _column_bytes(client, "uuid_forms")
    return {"as_stored": round(in_tables / rows, 2)} | {
        name: round(forms[name] / rows, 2) for name in UUID_FORMS
    }


def _parquet_sizes(limits: Lake, records: Sequence[Record]) -> dict[str, Any]:
    """Bytes a row of the lake's files; of books a level."""
    venue_bytes: Counter[str] = Counter()
    whole_bytes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for rows in _rows_by_venue(records):
        table = in_order(to_arrow(rows))
        file = pq.ParquetFile(pa.BufferReader(parquet(rows.kind, table, limits.row_group_rows)))
        name = NAMES[rows.kind]
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
    for venue in dict.fromkeys(record.exchange for record in records):
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
        f" AS SELECT exchange, symbol, {columns} FROM market_data WHERE kind = {KINDS[table]:d}"
    )


def _compare_hashes(client: ClickHouse, view: str, kind: Kind, hashed: str) -> None:
    total = f"SELECT count(), sum(cityHash64({HASHED_OF_ALL}, {hashed}))"
    stored = client.execute(f"{total} FROM {view}")
    sent = client.execute(f"{total} FROM plain WHERE kind = {kind:d}")
    if stored != sent:
        raise AssertionError(f"{view}: stored {stored!r}, sent {sent!r}")


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
        if not rows:
            continue
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
