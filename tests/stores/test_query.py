from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from etl import settings as settings_module
from etl.errors import StoreUnavailable, UsageError
from etl.settings import Settings, changed, make
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
    migrate_timescale(settings)
    asked = query(settings, "timescale", "SELECT 1.50::numeric AS price, '100%'::text AS share")
    assert asked == ResultSet(["price", "share"], [(Decimal("1.50"), "100%")])
    with pytest.raises(UsageError, match="may only read"):
        query(settings, "timescale", "CREATE TABLE t (a integer)")


def test_a_store_that_is_down_says_so(settings: Settings) -> None:
    down = make(
        timescale_analyst_url="postgresql://u:secret@127.0.0.1:1/p", clickhouse_url="http://127.0.0.1:1/d"
    )
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


RISES = (
    "RESET ROLE",
    "SET ROLE postgres",
    "SET ROLE NONE",
    "SET LOCAL ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET SESSION AUTHORIZATION DEFAULT",
    "RESET SESSION AUTHORIZATION",
    "/* ' */ RESET SESSION AUTHORIZATION -- '",
    "RESET ALL",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT set_config('session_authorization', 'postgres', false)",
    "UPDATE pg_settings SET setting = 'postgres' WHERE name = 'role'",
    "DO $$ BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; END $$",
    "SELECT query_to_xml('RESET SESSION AUTHORIZATION', true, true, '')",
    "SELECT query_to_xml('SELECT pg_read_file(''/etc/passwd'')', true, true, '')",
    "PREPARE p AS SELECT 1",
    "ALTER ROLE etl_analyst SUPERUSER",
    "GRANT postgres TO etl_analyst",
    "CREATE ROLE attacked SUPERUSER",
    "SELECT 1; RESET SESSION AUTHORIZATION",
    r"SELECT E'\''; RESET SESSION AUTHORIZATION; --'",
    "BEGIN READ/**/WRITE",
    "SET TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "BEGIN READ WRITE; CREATE TABLE attacked (a integer); COMMIT",
)
REACHES = (
    "CREATE TABLE attacked (a integer)",
    "CREATE TEMP TABLE attacked (a integer)",
    "SELECT 1 AS a INTO attacked",
    "SELECT 1 AS a INTO TEMP attacked",
    "CREATE FUNCTION attacked() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION pg_temp.attacked() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION dblink",
    "SELECT dblink('host=127.0.0.1', 'SELECT 1')",
    "INSERT INTO trades SELECT * FROM trades",
    "WITH gone AS (DELETE FROM trades RETURNING *) SELECT * FROM gone",
    "EXPLAIN ANALYZE DELETE FROM trades",
    "SELECT * FROM trades FOR UPDATE",
    "SELECT drop_chunks('trades', INTERVAL '0')",
    "CALL run_job(1)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_export(1, '/tmp/attacked')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "COPY (SELECT 1) TO '/tmp/attacked'",
    "COPY trades TO PROGRAM 'id'",
    "COPY trades FROM STDIN",
    "COPY trades FROM '/etc/passwd'",
    "SELECT rolpassword FROM pg_authid",
    "TABLE pg_authid",
)
HOLDS_UP = ("SELECT pg_sleep(1000)", "SELECT pg_advisory_lock(1)")


@pytest.mark.integration
def test_no_statement_of_etl_query_gains_rights_on_timescaledb(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(timescale=True)
    migrate_timescale(settings)
    for sql in (*RISES, *REACHES, *HOLDS_UP):
        with pytest.raises(UsageError):
            query(settings, "timescale", sql)
    query(settings, "timescale", "COMMIT")
    who = "SELECT to_regclass('attacked') AS t, current_user::text, session_user::text"
    assert query(settings, "timescale", who).rows == [(None, "etl_analyst", "etl_analyst")]
    assert query(settings, "timescale", "SELECT count(*) FROM trades").rows == [(0,)]


@pytest.mark.integration
def test_no_statement_of_an_analysts_own_session_gains_rights(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(timescale=True)
    migrate_timescale(settings)
    with (
        psycopg.connect(settings.timescale.analyst_url, autocommit=True) as analyst,
        psycopg.connect(settings.timescale_address, autocommit=True) as owner,
    ):
        for sql in (*RISES, *REACHES, *HOLDS_UP):
            for prepare in (False, True):
                with pytest.raises(psycopg.Error):
                    analyst.execute(sql.encode(), prepare=prepare)
                assert analyst.execute("SELECT current_user::text, session_user::text").fetchone() == (
                    "etl_analyst",
                    "etl_analyst",
                )
            assert owner.execute("SELECT current_user::text").fetchone() == ("postgres",)
        with analyst.transaction():
            analyst.execute("SET LOCAL timezone = 'Asia/Tokyo'")
            assert analyst.execute("SELECT count(*) FROM trades").fetchone() == (0,)
            assert analyst.execute("SHOW timezone").fetchone() == ("Asia/Tokyo",)
        assert owner.execute(
            "SELECT to_regclass('attacked'), count(*) FROM pg_largeobject_metadata"
        ).fetchone() == (
            None,
            0,
        )


@pytest.mark.integration
def test_an_analyst_proves_who_he_is_and_a_superuser_is_none(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(timescale=True)
    wrong = settings.timescale.analyst_url.replace(":", ":x", 2).replace("postgresql:x", "postgresql:")
    with pytest.raises(StoreUnavailable, match="password authentication failed"):
        query(changed(settings, timescale_analyst_url=wrong), "timescale", "SELECT 1")
    for name in ("etl_analyst", "ann"):
        with pytest.raises(psycopg.OperationalError, match="no login"):
            psycopg.connect(settings.timescale_address.replace("postgres@", f"{name}@"))
    owner = changed(settings, timescale_analyst_url=settings.timescale_address)
    with pytest.raises(UsageError, match="it must only read"):
        query(owner, "timescale", "SELECT 1")
    migrate_timescale(settings)
    with psycopg.connect(settings.timescale_address, autocommit=True) as connection:
        connection.execute("CREATE TABLE prints (a int)")
        for may, grant, revoke in (
            ("write prints", "GRANT INSERT (a) ON prints TO etl_analyst", "DROP TABLE prints"),
            (
                "create in schema public",
                "GRANT CREATE ON SCHEMA public TO etl_analyst",
                "REVOKE CREATE ON SCHEMA public FROM etl_analyst",
            ),
            ("make roles", "ALTER ROLE etl_analyst CREATEROLE", "ALTER ROLE etl_analyst NOCREATEROLE"),
        ):
            connection.execute(grant.encode())
            with pytest.raises(UsageError, match=f"may {may}.*; it must only read"):
                query(settings, "timescale", "SELECT 1")
            connection.execute(revoke.encode())
    assert query(settings, "timescale", "SELECT 1").rows == [(1,)]
    with pytest.raises(UsageError, match="set timescale_analyst_url"):
        query(changed(settings, timescale_analyst_url=""), "timescale", "SELECT 1")
