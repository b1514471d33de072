"""Other engines read the tables as they are, by ``_delta_log`` alone: every value of every kind."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.lake.compaction import compact
from etl.lake.layout import DELTA_FIELDS, DERIVED_SCHEMAS, RAW, REFERENCE_SCHEMAS
from etl.model.tables import KIND_BY_TABLE
from etl.settings import Settings
from tests.support import stream
from tests.support.bucket import running_bucket
from tests.support.lake import export_records, query, state_of

WIDE = "1234567890123.1234567890123456789"
TABLES = ("trades", "quotes", "book_updates", "bars", "gaps")


@pytest.fixture(params=["exported", "compacted", "checkpointed"])
def lake(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Odd names, wide decimals, empty lists, nulls, two days, removed files; with and without a checkpoint."""
    export_records(
        settings,
        [
            stream.trade(0, last_price=WIDE, conditions=("@", "T"), flags=("stale",)),
            stream.trade(1, "kraken", symbol="XBT/USD", trade_id=""),
            stream.trade(2, symbol='odd %2A=\' "name" 币', last_price="0.00000001"),
            stream.trade(3, time_ns=stream.START_NS + stream.DAY, volume="9999999999.12345678"),
            stream.quote(0, ask=None),
            stream.book(0, bid_orders=(1, 2), ask_prices=(), ask_sizes=(), bid_sizes=("0.0000000001", "1")),
            stream.bar(0, trade_count=7, quote_volume="12.1234567890123456789"),
            stream.gap(0, exchange="*", symbol="*", to_sequence=None),
        ],
    )
    if request.param != "exported":
        export_records(
            settings, [stream.trade(4), stream.quote(1), stream.book(1), stream.bar(1), stream.gap(1)], 8
        )
        compact(settings, stream.START_NS if request.param == "compacted" else 1 << 62)
    return settings


def place_of(settings: Settings, table: str) -> str:
    return f"{settings.lake_path}/tables/{table}"


def expected(settings: Settings, table: str) -> list[dict[str, Any]]:
    """The files' own rows, read one by one, with the partitions that the log has."""
    rows: list[dict[str, Any]] = []
    for file in state_of(settings).of(table):
        own = pq.ParquetFile(f"{settings.lake_path}/{file.path}").read().to_pylist(maps_as_pydicts="strict")
        day = datetime.date.fromisoformat(file.date)
        rows += [{"exchange": file.exchange, "date": day, **row} for row in own]
    return in_order(rows)


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["exchange"], row["date"], row["symbol"], row["record_key"]))


@pytest.mark.parametrize("table", TABLES)
def test_deltalake_and_pyarrow_find_every_value(lake: Settings, table: str) -> None:
    found = deltalake.DeltaTable(place_of(lake, table))
    assert [field.name for field in found.schema().fields] == [field.name for field in DELTA_FIELDS[table]]
    assert found.transaction_version("topic-id/0") == max(f.end for f in state_of(lake).of(table))
    rows = found.to_pyarrow_dataset().to_table().to_pylist(maps_as_pydicts="strict")
    assert in_order(rows) == expected(lake, table)
    assert len(rows) == len(query(lake, f"SELECT * FROM {table}"))


@pytest.mark.parametrize("table", TABLES)
def test_polars_finds_every_value(lake: Settings, table: str) -> None:
    rows = polars.scan_delta(place_of(lake, table)).collect().to_arrow().to_pylist()
    assert in_order([plain(row) for row in rows]) == [plain(row) for row in expected(lake, table)]


def test_statistics_let_a_reader_skip_and_lose_nothing(lake: Settings) -> None:
    wanted = expected(lake, "trades")
    for row in wanted:
        same = (polars.col("symbol") == row["symbol"]) & (polars.col("time") == row["time"])
        found = polars.scan_delta(place_of(lake, "trades")).filter(same).collect()
        assert found["record_key"].to_list() == [row["record_key"]]
    actions = pa.table(
        deltalake.DeltaTable(place_of(lake, "trades")).get_add_actions(flatten=True)
    ).to_pylist()
    assert sum(action["num_records"] for action in actions) == len(wanted)
    assert min(action["min.time"] for action in actions) == min(row["time"] for row in wanted)
    assert max(action["max.time"] for action in actions) == max(row["time"] for row in wanted)
    assert min(action["min.symbol"] for action in actions) == min(row["symbol"] for row in wanted)


def test_pandas_and_duckdb_find_every_value(lake: Settings) -> None:
    table = deltalake.DeltaTable(place_of(lake, "trades"))
    frame = table.to_pandas().sort_values(["exchange", "date", "symbol", "record_key"])
    wanted = expected(lake, "trades")
    assert list(frame["event_time_ns"]) == [row["event_time_ns"] for row in wanted]
    assert [None if pandas.isna(value) else value for value in frame["last_price"]] == [
        row["last_price"] for row in wanted
    ]
    rows = duckdb.execute(
        "SELECT symbol, record_key, last_price, volume, event_time_ns FROM read_parquet($files) ORDER BY ALL",
        {"files": table.file_uris()},
    ).fetchall()
    names = ("symbol", "record_key", "last_price", "volume", "event_time_ns")
    assert rows == sorted(tuple(row[name] for name in names) for row in wanted)


CLICKHOUSE = """
import sys, chdb
print(chdb.query(sys.argv[1], "JSONEachRow"))
"""


@pytest.mark.parametrize("table", TABLES)
def test_clickhouse_finds_every_value_in_a_bucket(lake: Settings, table: str) -> None:
    """In a process of its own: the engine has one data path a process."""
    root, bare = Path(lake.lake_path), {"exchange", "date"}
    lists = {field.name for field in DELTA_FIELDS[table] if pa.types.is_list(field.type)}
    with running_bucket() as (address, objects):
        objects |= {
            f"lake/{path.relative_to(root)}": path.read_bytes() for path in root.rglob("*") if path.is_file()
        }
        shown = ", ".join(
            f"toString(date) AS {name}" if name == "date" else f"toUnixTimestamp64Micro({name}) AS {name}"
            if name == "time" else name
            for name in (field.name for field in DELTA_FIELDS[table])
        )  # fmt: skip
        sql = (
            f"SELECT {shown} FROM deltaLake('http://{address}/lake/tables/{table}/', 'key', 'secret') SETTINGS"
            " output_format_json_quote_decimals = 1, output_format_json_quote_64bit_integers = 0"
        )
        command = [sys.executable, "-c", CLICKHOUSE, sql]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr[-2_000:]
    rows = [json.loads(line) for line in answer.stdout.splitlines() if line]
    assert in_order([as_said(row, lists) for row in rows]) == [
        as_said(row, lists) for row in expected(lake, table)
    ]
    assert bare <= rows[0].keys()


def as_said(row: dict[str, Any], lists: set[str]) -> dict[str, Any]:
    """As JSON has it; ClickHouse knows no list and no map that is null."""
    said: dict[str, Any] = {}
    for name, value in plain(row).items():
        if isinstance(value, datetime.datetime):
            value = round(value.timestamp() * 1_000_000)
        if name == "wide_decimals" or name in lists:
            value = value or None
        said[name] = number(value)
    return said


def number(value: Any) -> Any:
    if isinstance(value, list):
        return [number(item) for item in value]
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, str) and value.replace(".", "").isdigit() and "." in value:
        return format(Decimal(value).normalize(), "f")
    return str(value) if isinstance(value, datetime.date) else value


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Maps in one form: Arrow gives pairs, or structs of key and value."""
    shown = {}
    for name, value in row.items():
        if name == "wide_decimals" and isinstance(value, list):
            pairs = [(item["key"], item["value"]) if isinstance(item, dict) else item for item in value]
            value = dict(pairs)
        shown[name] = value
    return shown


def test_every_kind_and_the_raw_topic_have_a_table() -> None:
    assert set(DELTA_FIELDS) == {*KIND_BY_TABLE, RAW, *DERIVED_SCHEMAS, *REFERENCE_SCHEMAS}


@pytest.fixture
def spark() -> Iterator[Any]:
    if not shutil.which("java"):
        pytest.skip("Spark runs on Java, which is not installed")
    delta = pytest.importorskip("delta", reason="delta-spark is not installed")
    pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed")
    builder = (
        pyspark.sql.SparkSession.builder.master("local[1]")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.session.timeZone", "UTC")
    )
    session = delta.configure_spark_with_delta_pip(builder).getOrCreate()
    yield session
    session.stop()


@pytest.mark.parametrize("table", TABLES)
def test_spark_finds_every_value(lake: Settings, spark: Any, table: str) -> None:
    rows = [row.asDict() for row in spark.read.format("delta").load(place_of(lake, table)).collect()]
    keys = [(row["exchange"], row["symbol"], row["record_key"], row["event_time_ns"]) for row in rows]
    wanted = expected(lake, table)
    assert sorted(keys) == sorted(
        (r["exchange"], r["symbol"], r["record_key"], r["event_time_ns"]) for r in wanted
    )
