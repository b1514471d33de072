from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from etl import settings as settings_module
from etl.errors import StoreUnavailable, UsageError
from etl.settings import Settings, make
from etl.stores.migrate import migrate_timescale
from etl.stores.query import ResultSet, plain, query
from tests.support import stream
from tests.support.lake import export_records


def test_plain_values_are_exact() -> None:
    moment = datetime(2024, 8, 8, 23, 54, 15, 342_000, UTC)
    assert plain(Decimal("61837.6300000000000000000")) == "61837.63"
    assert plain(Decimal("100")) == "100"
    assert plain(Decimal("1E+3")) == "1000"
    assert plain([Decimal("0.10"), None, moment]) == ["0.1", None, "2024-08-08T23:54:15.342000+00:00"]


def etl_query(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "etl", "query", *words],
        env={"PATH": "/usr/bin:/bin", **settings_module.as_environment(settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_prints_json_csv_or_a_table(settings: Settings) -> None:
    export_records(settings, [stream.trade(0), stream.trade(1, last_price="0.5", tape="a,b")])
    sql = "SELECT event_time_ns, last_price, tape FROM trades ORDER BY 1"
    asked = etl_query(settings, sql, "--store", "lake", "--json")
    assert json.loads(asked.stdout) == [
        {"event_time_ns": stream.START_NS, "last_price": "61837", "tape": None},
        {"event_time_ns": stream.START_NS + stream.MS, "last_price": "0.5", "tape": "a,b"},
    ]
    asked = etl_query(settings, sql, "--store", "lake", "--csv")
    assert asked.stdout.splitlines() == [
        "event_time_ns,last_price,tape",
        f"{stream.START_NS},61837,",
        f'{stream.START_NS + stream.MS},0.5,"a,b"',
    ]
    assert "0.5" in etl_query(settings, sql, "--store", "lake").stdout
    wrong = etl_query(settings, "SELECT nothing FROM trades", "--store", "lake")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)


@pytest.mark.integration
def test_clickhouse_is_asked_read_only(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(clickhouse=True)
    sql = "SELECT toDecimal64('1.50', 4) AS price, toInt64(9007199254740993) AS id, NULL AS none"
    assert query(settings, "clickhouse", sql) == ResultSet(
        ["price", "id", "none"], [("1.5", 9007199254740993, None)]
    )
    with pytest.raises(UsageError):
        query(settings, "clickhouse", "CREATE TABLE t (a Int8) ENGINE = Memory")
    for form in ("Vertical", "JSON", "CSV"):
        with pytest.raises(UsageError, match="leave out FORMAT"):
            query(settings, "clickhouse", f"SELECT 1 AS one FORMAT {form}")


@pytest.mark.integration
def test_timescale_is_asked_read_only(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(timescale=True)
    asked = query(settings, "timescale", "SELECT 1.50::numeric AS price, '100%'::text AS share")
    assert asked == ResultSet(["price", "share"], [(Decimal("1.50"), "100%")])
    with pytest.raises(UsageError, match="read-only"):
        query(settings, "timescale", "CREATE TABLE t (a integer)")


def test_a_store_that_is_down_says_so(settings: Settings) -> None:
    down = make(timescale_url="postgresql://u:secret@127.0.0.1:1/p", clickhouse_url="http://127.0.0.1:1/d")
    for store in ("timescale", "clickhouse"):
        with pytest.raises(StoreUnavailable) as raised:
            query(down, store, "SELECT 1")
        assert "secret" not in str(raised.value)


def test_the_lake_is_asked_read_only(settings: Settings, tmp_path: Path) -> None:
    export_records(settings, [stream.trade(0)])
    secret, target = tmp_path / "secret.csv", tmp_path / "written"
    secret.write_text("the-secret\n")
    before = {path: path.read_bytes() for path in Path(settings.lake_path).rglob("*") if path.is_file()}
    file = next(iter(before))
    for sql in (
        f"COPY (SELECT 1) TO '{target}'",
        f"COPY (SELECT 1) TO '{file}'",
        f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        f"EXPORT DATABASE '{target}'",
        f"ATTACH '{target}'",
        f"ATTACH '{settings.lake_path}/new.db'",
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM read_text('{settings.lake_path}/../../secret.csv')",
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM glob('{tmp_path}/*')",
        "SELECT * FROM sql",
        "SELECT 1; SELECT 2",
        "SET enable_external_access = true",
        "RESET allowed_directories",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE t (a INTEGER)",
        "",
    ):
        with pytest.raises(UsageError):
            query(settings, "lake", sql)
    after = {path: path.read_bytes() for path in Path(settings.lake_path).rglob("*") if path.is_file()}
    assert after == before
    assert not target.exists()
    assert query(settings, "lake", "SELECT count(*) AS n FROM trades").rows == [(1,)]


@pytest.mark.integration
def test_timescale_takes_one_statement_of_a_role_that_may_only_read(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(timescale=True)
    migrate_timescale(settings)
    for sql in (
        "BEGIN READ WRITE; CREATE TABLE attacked (a integer); COMMIT",
        "SELECT 1; SELECT 2",
        "CREATE TABLE attacked (a integer)",
        "INSERT INTO trades SELECT * FROM trades",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/attacked'",
        "COPY trades TO PROGRAM 'id'",
        "SELECT rolpassword FROM pg_authid",
    ):
        with pytest.raises(UsageError):
            query(settings, "timescale", sql)
    for sql in ("BEGIN READ WRITE", "COMMIT", "RESET ROLE"):
        query(settings, "timescale", sql)
    assert query(settings, "timescale", "SELECT to_regclass('attacked') AS t, current_user::text").rows == [
        (None, "etl_analyst")
    ]
    assert query(settings, "timescale", "SELECT count(*) FROM trades").rows == [(0,)]
