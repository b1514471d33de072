"""``etl lake export-hive``: every row once in plain folders, and again only what is new."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from etl import settings as settings_module
from etl.cli import app
from etl.lake.compaction import compact
from etl.lake.derived import derive
from etl.lake.hive import ExportedHive, export_hive, hive_folder
from etl.settings import Settings, changed
from etl.stores.expiry import DAY_S, expire
from tests.support import stream
from tests.support.lake import export_records
from tests.support.stream import DAY, START_NS


def rows(folder: Path, table: str) -> list[tuple[object, ...]]:
    sql = f"SELECT source, market, date::text, symbol, record_key, last_price FROM '{folder}/{table}/*/*/*/*.parquet'"
    return duckdb.execute(f"{sql} ORDER BY ALL").fetchall()


def on_disk(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_an_exchange_is_a_source_and_a_market() -> None:
    assert (
        hive_folder("trades", "binance", "2026-03-02") == "trades/source=binance/market=main/date=2026-03-02"
    )
    assert hive_folder("bars", "kraken_v1", "2026-03-02") == "bars/source=kraken/market=v1/date=2026-03-02"


def test_every_row_is_there_once_and_only_what_is_new_is_written_again(
    settings: Settings, tmp_path: Path
) -> None:
    to = tmp_path / "hive"
    first = [
        stream.trade(0),
        stream.trade(1, symbol="A/B", last_price="0.00000001"),
        stream.trade(2, "binance_usdm"),
    ]
    export_records(settings, first)
    export_records(settings, [stream.trade(0), stream.trade(3)], 3)
    assert export_hive(settings, str(to)) == ExportedHive(days=2, written=2, kept=0, deleted=0)
    found = rows(to, "trades")
    day, btc = "2024-08-08", "BTC-USDT"
    assert found == [
        ("binance", "main", day, "A/B", first[1].record_key, Decimal("0.00000001")),
        ("binance", "main", day, btc, first[0].record_key, Decimal(61837)),
        ("binance", "main", day, btc, stream.trade(3).record_key, Decimal("61840.03")),
        ("binance", "usdm", day, btc, first[2].record_key, Decimal("61839.02")),
    ]
    compact(settings, START_NS)
    derive(settings)
    before = on_disk(to)
    done = export_hive(settings, str(to), table="trades")
    assert done == ExportedHive(days=2, written=1, kept=1, deleted=1)
    assert rows(to, "trades") == found
    assert len(before.items() & on_disk(to).items()) == 1
    assert export_hive(settings, str(to), exchange="binance_usdm").days == 4
    assert {path.partition("/")[0] for path in on_disk(to)} == {"trades", "coverage", "ohlcv_1s", "ohlcv_1m"}


def test_days_that_expired_are_named_and_go_only_if_that_is_said(settings: Settings, tmp_path: Path) -> None:
    to = tmp_path / "hive"
    for exchange in ("binance", "binance_usdm"):
        export_records(
            settings, [stream.trade(0, exchange), stream.trade(1, exchange, time_ns=START_NS + DAY)]
        )
    export_hive(settings, str(to))
    expiring = changed(settings, expire_days="lake.trades=2")
    expire(expiring, "lake", lambda: START_NS / 1e9 + 3 * DAY_S)
    days = [f"trades/source=binance/market={name}/date=2024-08-08" for name in ("main", "usdm")]
    assert export_hive(settings, str(to)) == ExportedHive(2, 0, 2, 0, tuple(days))
    (to / days[0] / "notes.txt").write_text("ours")
    assert export_hive(settings, str(to), "quotes", delete_gone=True) == ExportedHive(0, 0, 0, 0)
    only = export_hive(settings, str(to), exchange="binance", delete_gone=True)
    assert only == ExportedHive(1, 0, 1, 1, (days[0],))
    assert export_hive(settings, str(to)).gone == (days[1],)
    assert (to / days[0] / "notes.txt").exists()
    assert {row[2] for row in rows(to, "trades") if row[1] == "main"} == {"2024-08-09"}


def test_the_command_says_what_it_did(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_records(settings, [stream.trade(0)])
    for name, value in settings_module.as_environment(settings).items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(app, ["lake", "export-hive", "--to", str(tmp_path / "hive")]).output
    assert told == "lake: 1 days; 1 files written, 0 were there, 0 deleted\n"
