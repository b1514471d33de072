"""What a SELECT reads of the lake is told before it runs, by exchange and date, and it is not run."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from etl import settings as settings_module
from etl.cli import app
from etl.errors import UsageError
from etl.lake.catalog import File
from etl.lake.estimate import LargeScanWarning, Scan, at_most
from etl.settings import Settings
from etl.stores.query import lake_scan, query
from tests.support import stream
from tests.support.lake import export_records, state_of

ODD = "odd')(x"


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """Trades of two exchanges on 2024-08-08, 09 and 10, those of the 9th twice; a quote."""
    records = [
        stream.trade(day, exchange, time_ns=stream.START_NS + day * stream.DAY)
        for day in range(3)
        for exchange in ("binance", ODD)
    ]
    export_records(settings, [*records, stream.quote(0)])
    export_records(settings, records[2:4], 10)
    return settings


def any_file(_: File) -> bool:
    return True


@pytest.mark.parametrize(
    ("sql", "tables", "is_read"),
    [
        ("SELECT count(*) FROM trades", ["trades"], any_file),
        ("SELECT count(*) FROM trades WHERE time > '2030-01-01'", ["trades"], any_file),
        ("SELECT * FROM trades WHERE exchange = 'binance'", ["trades"], lambda file: file.exchange == "binance"),
        ("SELECT * FROM Trades WHERE exchange = 'odd'')(x' AND date < '2024-08-10'", ["trades"],
         lambda file: file.exchange == ODD and file.date < "2024-08-10"),
        ("SELECT * FROM trades WHERE exchange LIKE 'bin%' OR date = DATE '2024-08-10'", ["trades"],
         lambda file: file.exchange == "binance" or file.date == "2024-08-10"),
        ("WITH t AS (FROM trades WHERE date >= '2024-08-09') SELECT volume FROM t WHERE exchange IN ('binance', 'x')",
         ["trades"], lambda file: file.exchange == "binance" and file.date >= "2024-08-09"),
        ("SELECT * FROM trades WHERE exchange = 'none'", ["trades"], lambda _: False),
        ("SELECT a.volume FROM trades a JOIN trades b USING (symbol)", ["trades", "trades"], any_file),
        ("SELECT max(bid), max(last_price) FROM trades, quotes", ["trades", "quotes"], any_file),
        ("SELECT count(*) FROM trades_corrected WHERE exchange = 'binance'", ["trades"],
         lambda file: file.exchange == "binance"),
        ("SELECT count(*) FROM trades_of('binance', 'BTC-USDT') WHERE date >= '2024-08-09'", ["trades"],
         lambda file: file.exchange == "binance" and file.date >= "2024-08-09"),
        ("SELECT count(*) FROM gaps", [], any_file),
        ("SELECT 1", [], any_file),
    ],
)  # fmt: skip
def test_files_that_exchange_and_date_leave_out_are_not_counted(
    filled: Settings, sql: str, tables: list[str], is_read: Callable[[File], bool]
) -> None:
    state = state_of(filled)
    expected = at_most(file for table in tables for file in state.of(table) if is_read(file))
    assert lake_scan(filled, sql) == expected


def test_what_is_not_one_select_is_refused_as_where_it_runs(filled: Settings) -> None:
    for sql, told in (
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("COPY trades TO 'x.parquet'", "one SELECT"),
        ("SELECT nothing FROM trades", "nothing"),
        ("SELECT count(*) FROM trades, read_csv('/etc/passwd')", "disabled"),
    ):
        with pytest.raises(UsageError, match=told):
            lake_scan(filled, sql)
        with pytest.raises(UsageError, match=told):
            query(filled, "lake", sql)


def test_a_large_one_is_told_of_before_it_runs(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.lake.plan.LARGE_SCAN_ROWS", 4)
    size = sum(file.bytes for file in state_of(filled).of("trades"))
    sql = "SELECT count(*) FROM trades"
    told = (
        f"lake: 8 files, 8 rows, {size:,} bytes are to be read; WHERE exchange and date leaves files out;"
        " ohlcv_1s and ohlcv_1m have prices and volumes"
    )
    with pytest.warns(LargeScanWarning) as caught:
        assert query(filled, "lake", sql).rows == [(6,)]
    assert [str(warning.message) for warning in caught] == [told]
    assert query(filled, "lake", f"{sql} WHERE exchange = 'binance'").rows == [
        (3,)
    ]  # a warning is an error here
    for name, value in settings_module.as_environment(filled).items():
        monkeypatch.setenv(name, value)
    asked = CliRunner().invoke(app, ["query", "--store", "lake", "--csv", sql])
    assert (asked.stderr, asked.stdout) == (f"{told}\n", "count_star()\n6\n")
    only = ["query", "--store", "lake", "--scan", sql]
    assert CliRunner().invoke(app, only).stdout == f"lake: at most 8 files, 8 rows, {size:,} bytes\n"
    assert json.loads(CliRunner().invoke(app, [*only, "--json"]).stdout) == {
        "files": 8,
        "rows": 8,
        "bytes": size,
    }


def test_a_scan_is_of_the_lake_alone() -> None:
    refused = CliRunner().invoke(app, ["query", "--scan", "SELECT 1"])
    assert isinstance(refused.exception, UsageError)
    assert Scan() + Scan(1, 2, 3) == Scan(1, 2, 3)
