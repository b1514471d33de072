"""``etl lake ls``, ``coverage``, ``history``, ``vacuum``: from the logs alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from etl import settings as settings_module
from etl.cli import app
from etl.errors import UsageError
from etl.lake import report
from etl.lake.compaction import compact, vacuum
from etl.lake.derived import derive
from etl.lake.report import Change, DayTotals, TableTotals
from etl.lake.storage import open_storage
from etl.model.times import NS_PER_S
from etl.settings import Settings
from tests.support import stream
from tests.support.lake import export_records, state_of
from tests.support.stream import DAY, MS, START_NS


@pytest.fixture
def lake(settings: Settings) -> Settings:
    """Two days of trades of two exchanges, a quote, and of the first day two exports compacted into one."""
    later = stream.trade(0, time_ns=START_NS + DAY)
    export_records(settings, [stream.trade(0), stream.trade(1, symbol="ETH-USDT"), later, stream.quote(0)])
    export_records(settings, [stream.trade(2), stream.trade(0), stream.trade(3, "kraken")], 4)
    compact(settings, START_NS)
    return settings


def without_data(settings: Settings, but: str = "") -> None:
    """Who reads a file of data from now on fails, but for those of one table."""
    for path in Path(settings.lake_path, "tables").glob("*/exchange=*"):
        if path.parent.name != but:
            shutil.rmtree(path)


def test_tables_and_days_are_told_from_the_logs(lake: Settings) -> None:
    without_data(lake)
    state = state_of(lake)
    sizes = {file.path: file.bytes for file in state.files.values()}
    assert [(each.table, each.version, each.files, each.rows) for each in report.tables(state)] == [
        ("trades", 2, 3, 5),
        ("quotes", 0, 1, 1),
    ]
    assert report.tables(state)[0] == TableTotals(
        *("trades", 2, 3, 5, sum(size for path, size in sizes.items() if "/trades/" in path)),
        *(2, "2024-08-08", "2024-08-09"),
    )  # fmt: skip
    first = report.coverage(state, "trades", "binance", end="2024-08-09")
    assert first == [
        DayTotals(
            "trades", "binance", "2024-08-08", 1, 3, first[0].bytes, START_NS, START_NS + 2 * MS, "BTC-USDT", "ETH-USDT"
        )
    ]  # fmt: skip
    days = [
        (day.table, day.exchange, day.date, day.rows) for day in report.coverage(state, start="2024-08-08")
    ]
    assert days == [
        ("trades", "binance", "2024-08-08", 3),
        ("trades", "binance", "2024-08-09", 1),
        ("trades", "kraken", "2024-08-08", 1),
        ("quotes", "binance", "2024-08-08", 1),
    ]
    assert [day.date for day in report.coverage(state, "trades", start="2024-08-09")] == ["2024-08-09"]


def test_each_table_and_exchange_is_told_with_its_bytes_a_row(lake: Settings) -> None:
    without_data(lake)
    state = state_of(lake)
    found = report.venues(state)
    assert [(it.table, it.exchange, it.files, it.rows) for it in found] == [
        ("trades", "binance", 2, 4),
        ("trades", "kraken", 1, 1),
        ("quotes", "binance", 1, 1),
    ]
    size = sum(file.bytes for file in state.of("trades") if file.exchange == "binance")
    assert (found[0].bytes, found[0].bytes_per_row) == (size, round(size / 4, 2))
    assert (found[0].first_time_ns, found[0].last_time_ns) == (START_NS, START_NS + DAY)


def test_what_is_there_of_a_symbol_is_told_from_the_table_coverage_alone(lake: Settings) -> None:
    derive(lake)
    export_records(lake, [stream.quote(1)], 7)
    without_data(lake, "coverage")
    state, storage = state_of(lake), open_storage(lake)

    def told(symbols: list[str], **where: str) -> list[tuple[str, str, str, str, int, bool]]:
        found = report.symbol_coverage(storage, state, symbols, **where)
        return [(it.exchange, it.date, it.symbol, it.kind, it.rows, it.is_current) for it in found]

    late_quote = ("binance", "2024-08-08", "BTC-USDT", "quote", 1, False)
    eth = ("binance", "2024-08-08", "ETH-USDT", "trade", 1, True)
    other = ("kraken", "2024-08-08", "BTC-USDT", "trade", 1, True)
    assert told(["ETH-USDT", "SOL-*"]) == [eth]
    assert told(["*"], end="2024-08-09") == [
        *(late_quote, ("binance", "2024-08-08", "BTC-USDT", "trade", 2, True), eth, other),
    ]
    assert told(["BTC-*"], table="trades", start="2024-08-09") == [
        ("binance", "2024-08-09", "BTC-USDT", "trade", 1, True)
    ]
    assert told(["BTC-USDT", "E*"], exchange="kraken") == [other]
    assert told(["E"]) == []


def test_the_history_of_a_table_is_its_commits(lake: Settings) -> None:
    changes = list(report.history(open_storage(lake), "trades"))
    times = [change.time_ms for change in changes]
    assert times == sorted(times)
    assert changes == [
        Change(0, times[0], "WRITE", 2, 3, 0, {"topic-id/0": 4}),
        Change(1, times[1], "WRITE", 2, 3, 0, {"topic-id/0": 7}),
        Change(2, times[2], "OPTIMIZE", 1, 3, 2, {}),
    ]


def test_a_vacuum_deletes_what_was_replaced_when_its_grace_is_over(lake: Settings) -> None:
    now_ns = state_of(lake).tables["trades"].adds.popitem()[1].modification_time * MS
    assert vacuum(lake, now_ns) == 0
    assert vacuum(lake, now_ns + int(lake.lake.grace_s + 60) * NS_PER_S) == 2
    assert {
        str(path.relative_to(lake.lake_path)) for path in Path(lake.lake_path).glob("tables/*/exchange=*/*/*")
    } == set(state_of(lake).files)


def test_the_commands_print_it_and_give_it_as_json(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings_module.as_environment(lake).items():
        monkeypatch.setenv(name, value)
    runner = CliRunner()
    for words, names in (
        (["ls"], ["trades", "quotes"]),
        (["stat"], ["trades", "trades", "quotes"]),
        (["coverage", "--table", "trades", "--from", "2024-08-09"], ["trades"]),
    ):
        shown = runner.invoke(app, ["lake", *words])
        assert (shown.exit_code, [name in shown.output for name in names]) == (0, [True] * len(names))
        lines = runner.invoke(app, ["lake", *words, "--json"]).output.splitlines()
        assert [json.loads(line)["table"] for line in lines] == names
    assert json.loads(runner.invoke(app, ["compact", "--json"]).output)["derived"]["days"] == 3
    words = ["lake", "coverage", "--symbols", "ETH-*"]
    assert "ETH-USDT" in runner.invoke(app, words).output
    assert json.loads(runner.invoke(app, [*words, "--json"]).output)["rows"] == 1
    lines = runner.invoke(app, ["lake", "history", "trades", "--json"]).output.splitlines()
    assert [json.loads(line)["operation"] for line in lines] == ["WRITE", "WRITE", "OPTIMIZE"]
    assert "OPTIMIZE" in runner.invoke(app, ["lake", "history", "trades"]).output
    assert "USD/month" in runner.invoke(app, ["lake", "cost"]).output
    told = json.loads(runner.invoke(app, ["lake", "cost", "--json"]).output)
    assert told["growth"]["bytes"] == sum(file.bytes for file in state_of(lake).files.values())
    assert json.loads(runner.invoke(app, ["lake", "vacuum", "--json"]).output) == {"deleted": 0}
    made = runner.invoke(app, ["lake", "pin", "friday", "--json"]).output
    versions = {table: at.version for table, at in state_of(lake).tables.items() if at.version >= 0}
    assert json.loads(made)["versions"] == versions
    assert runner.invoke(app, ["lake", "pins", "--json"]).output == made
    assert "friday" in runner.invoke(app, ["lake", "pins"]).output
    assert runner.invoke(app, ["lake", "unpin", "friday"]).output == "lake: friday is given up\n"
    assert runner.invoke(app, ["lake", "pins", "--json"]).output == ""
    wrong = runner.invoke(app, ["lake", "history", "treades"])
    assert isinstance(wrong.exception, UsageError)
    assert str(wrong.exception).startswith("lake: treades: no such table; there are trades, ")
