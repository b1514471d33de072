from __future__ import annotations

import contextlib
import datetime
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy

from etl.embedded.ports import free_ports
from etl.embedded.timescale import timescale_part
from etl.settings import changed
from tests.support.servers import RunningPart

pytestmark = pytest.mark.integration

TIME = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


@pytest.fixture
def table(timescale_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"t_{abs(hash(request.node.name)):x}"
    with psycopg.connect(timescale_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, note text)")
        yield name
        connection.execute(f"DROP TABLE {name}")


@pytest.fixture
def connect(timescale_url: str, table: str) -> Iterator[Callable[..., psycopg.Connection]]:
    """Closed before the table is dropped: an open transaction would keep everybody waiting."""
    opened: list[psycopg.Connection] = []

    def connect_once(**options: object) -> psycopg.Connection:
        opened.append(psycopg.connect(timescale_url, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield connect_once
    for connection in opened:
        connection.close()


def test_a_hypertable_takes_an_unnest_upsert_twice_and_keeps_it_once(
    connect: Callable[..., psycopg.Connection],
) -> None:
    connection = connect(autocommit=True)
    connection.execute(
        "CREATE TABLE prices (time timestamptz NOT NULL, id text NOT NULL, price numeric, UNIQUE (id, time))"
    )
    connection.execute("SELECT create_hypertable('prices', by_range('time', INTERVAL '1 day'))")
    rows = [(TIME + datetime.timedelta(hours=n), str(n), f"{n}.10") for n in range(100)]
    upsert = (
        "INSERT INTO prices SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::numeric[]) "
        "ON CONFLICT (id, time) DO NOTHING"
    )
    for _ in range(2):
        cursor = connection.execute(upsert, [list(column) for column in zip(*rows, strict=True)])
    assert cursor.rowcount == 0
    assert connection.execute("SELECT count(*), sum(price)::text FROM prices").fetchone() == (100, "4960.00")
    assert connection.execute("SELECT price::text FROM prices WHERE id = '7'").fetchone() == ("7.10",)
    chunks = connection.execute("SELECT count(*) FROM show_chunks('prices')").fetchone()
    assert chunks == (5,)


def test_a_transaction_stays_with_its_client(connect: Callable[..., psycopg.Connection], table: str) -> None:
    first, second = connect(), connect()
    first.execute(f"INSERT INTO {table} VALUES (1, 'first')")
    seen: list[object] = []
    other = threading.Thread(
        target=lambda: seen.append(second.execute(f"SELECT count(*) FROM {table}").fetchone())
    )
    other.start()
    other.join(0.3)
    assert seen == [], "the second client must wait, not read within the first one's transaction"
    first.rollback()
    other.join(10)
    assert seen == [(0,)]


def test_a_client_that_vanishes_in_a_transaction_is_rolled_back(
    connect: Callable[..., psycopg.Connection], table: str
) -> None:
    first = connect()
    first.execute(f"INSERT INTO {table} VALUES (1, 'never')")
    first.pgconn.finish()
    assert connect(autocommit=True).execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_an_error_ends_the_statement_and_not_the_connection(
    connect: Callable[..., psycopg.Connection], table: str
) -> None:
    connection = connect()
    connection.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
    connection.commit()
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(f"INSERT INTO {table} VALUES (1, 'again')")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute(f"SELECT * FROM {table}")
    connection.rollback()
    assert connection.execute(f"SELECT * FROM {table}").fetchall() == [(1, "kept")]


def test_prepared_statements_of_two_clients_do_not_meet(connect: Callable[..., psycopg.Connection]) -> None:
    first, second = connect(autocommit=True), connect(autocommit=True)
    for number in range(3):
        for connection, sign in ((first, 1), (second, -1)):
            sql = f"SELECT {sign} * %s::int"
            assert connection.execute(sql, [number], prepare=True).fetchone() == (sign * number,)
    names = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE '%%\\_pg3\\_%%'"
    before = first.execute(names, prepare=False).fetchone()
    first.execute("DISCARD ALL", prepare=False)
    assert before == (2,)
    assert second.execute(names, prepare=False).fetchone() == (1,)
    assert second.execute("SELECT -1 * %s::int", [5], prepare=True).fetchone() == (-5,)


def test_a_pipeline_of_many_statements_is_answered_in_full(
    connect: Callable[..., psycopg.Connection], table: str
) -> None:
    connection = connect(autocommit=True)
    with connection.pipeline():
        for number in range(500):
            connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", [number, "x" * 100])
    found = connection.execute(f"SELECT count(*), sum(length(note)) FROM {table}").fetchone()
    assert found == (500, 50_000)


def test_copy_in_and_out_and_a_copy_that_fails(
    connect: Callable[..., psycopg.Connection], table: str
) -> None:
    connection = connect()
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for number in range(20_000):
            copy.write_row((number, f"note {number}"))
    connection.commit()
    with (
        pytest.raises(psycopg.errors.UniqueViolation),
        connection.cursor().copy(f"COPY {table} FROM STDIN") as copy,
    ):
        copy.write_row((1, "again"))
    connection.rollback()
    with connection.cursor().copy(f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT") as copy:
        rows = list(copy.rows())
    assert len(rows) == 20_000
    assert rows[19_999] == ("19999", "note 19999")


def test_a_copy_that_would_trap_the_engine_is_refused_and_one_in_comments_is_not(
    connect: Callable[..., psycopg.Connection], table: str
) -> None:
    connection = connect(autocommit=True)
    for sql in (f"BEGIN; COPY {table} FROM STDIN", f"COPY {table} FROM STDIN; SELECT 1"):
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute(sql)
        connection.rollback()
    with pytest.raises(psycopg.errors.FeatureNotSupported), connection.cursor() as cursor:
        cursor.execute(f"COPY {table} FROM STDIN", binary=True)
    with connection.cursor().copy(f"/* a */ COPY {table} (id) -- b\nFROM STDIN") as copy:
        copy.write("7\n")
    found = connection.execute(f"SELECT id, 'COPY x FROM STDIN' FROM {table}").fetchall()
    assert found == [(7, "COPY x FROM STDIN")]


def test_a_large_value_and_a_large_result_come_through_whole(
    connect: Callable[..., psycopg.Connection],
) -> None:
    connection = connect(autocommit=True)
    large = "é" * 3_000_000
    assert connection.execute("SELECT %s::text", [large]).fetchone() == (large,)
    rows = connection.execute("SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n").fetchall()
    assert len(rows) == 50_000


def test_sqlalchemy_works_with_its_pool(timescale_url: str, table: str) -> None:
    engine = sqlalchemy.create_engine(timescale_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(f"INSERT INTO {table} VALUES (:id, :note)"), [{"id": 1, "note": "a"}]
        )
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text(f"SELECT id, note FROM {table}")).all() == [(1, "a")]
    assert table in sqlalchemy.inspect(engine).get_table_names()
    engine.dispose()


def test_another_database_is_refused(timescale_url: str) -> None:
    with pytest.raises(psycopg.OperationalError, match='database "other" does not exist'):
        psycopg.connect(timescale_url.removesuffix("/postgres") + "/other")


def test_what_one_client_sets_another_does_not_see(connect: Callable[..., psycopg.Connection]) -> None:
    first, second = connect(autocommit=True), connect(autocommit=True)
    first.execute("SET timezone = 'America/New_York'")
    first.execute("SELECT set_config('application_name', %s, false)", ["it's"])
    assert second.execute("SHOW timezone").fetchone() == ("UTC",)
    second.execute("SET search_path = pg_catalog")
    assert first.execute("SHOW search_path").fetchone() == ("public",)
    assert first.execute("SHOW application_name").fetchone() == ("it's",)
    assert first.execute("SHOW timezone").fetchone() == ("America/New_York",)
    first.execute("RESET timezone")
    assert first.execute("SHOW timezone").fetchone() == ("UTC",)
    assert second.execute("SHOW search_path").fetchone() == ("pg_catalog",)


def test_the_protocol_may_arrive_in_pieces_of_any_size(timescale_url: str) -> None:
    address = urlsplit(timescale_url)
    startup = b"user\0postgres\0database\0postgres\0\0"
    sent = struct.pack("!ii", 8, 80877103) + struct.pack("!ii", 8 + len(startup), 196608) + startup
    for sql in (b"SELECT 1\0", b"SELECT 'two'\0"):
        sent += b"Q" + struct.pack("!i", 4 + len(sql)) + sql
    sent += b"X" + struct.pack("!i", 4)
    answers = []
    for size in (1, 7, len(sent)):
        with socket.create_connection((str(address.hostname), address.port or 0), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(sent), size):
                connection.sendall(sent[start : start + size])
            with connection.makefile("rb") as stream:
                answers.append(stream.read())
    assert answers[0].count(b"Z\0\0\0\x05I") == 3
    assert b"two" in answers[0]
    # all but the greeting's BackendKeyData, which numbers the connection
    assert len({answer[-120:] for answer in answers}) == 1


def test_a_message_that_would_trap_the_engine_ends_its_connection_only(
    connect: Callable[..., psycopg.Connection],
) -> None:
    first, second = connect(autocommit=True), connect(autocommit=True)
    for kind in (b"F", b"z"):
        broken = connect(autocommit=True)
        with socket.socket(fileno=os.dup(broken.fileno())) as wire:
            wire.sendall(kind + struct.pack("!i", 12) + bytes(8))
        with pytest.raises(psycopg.OperationalError):
            broken.execute("SELECT 1")
    for connection in (first, second):
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0\0\0\0\0", b"\xff" * 64])
def test_noise_ends_its_connection_and_no_other(timescale_url: str, noise: bytes) -> None:
    address = urlsplit(timescale_url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=10) as connection:
        connection.sendall(noise)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1000)[:1] in (b"", b"E")
    with psycopg.connect(timescale_url) as other:
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_an_idle_transaction_is_ended_and_the_jobs_of_timescaledb_run(
    crashable: Callable[..., RunningPart],
) -> None:
    server = crashable(timescale_part, timescale_idle_transaction_s=0.3, timescale_housekeeping_s=0.2)
    url = server.settings.timescale_address
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE runs (job int)")
        connection.execute(
            "CREATE PROCEDURE note(job int, config jsonb) LANGUAGE SQL AS 'INSERT INTO runs VALUES (job)'"
        )
        job = connection.execute("SELECT add_job('note', INTERVAL '1 second')").fetchone()
        idle = psycopg.connect(url)
        idle.execute("INSERT INTO runs VALUES (-1)")
        started = time.monotonic()
        runs: list[tuple[object, ...]] = []
        while len(runs) < 2 and time.monotonic() - started < 20:
            runs = connection.execute("SELECT job FROM runs").fetchall()
            time.sleep(0.1)
        assert runs[:2] == [job, job]
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            idle.execute("SELECT 1")
        idle.close()


def test_what_was_committed_is_there_after_kill_9(crashable: Callable[..., RunningPart]) -> None:
    server = crashable(timescale_part)
    acknowledged = 0
    with psycopg.connect(server.settings.timescale_address, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id bigint PRIMARY KEY)")
        crash = threading.Timer(0.7, server.kill)
        crash.start()
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                connection.execute("INSERT INTO kept VALUES (%s)", [acknowledged])
                acknowledged += 1
        crash.join()
    server.start()
    assert acknowledged > 0
    with psycopg.connect(server.settings.timescale_address) as connection:
        found = connection.execute("SELECT count(*) FROM kept WHERE id < %s", [acknowledged]).fetchone()
        assert found == (acknowledged,)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < server.part.stop_within_s


def test_one_data_directory_serves_one_process(crashable: Callable[..., RunningPart]) -> None:
    server = crashable(timescale_part)
    settings = changed(server.settings, timescale_port=free_ports(1)[0])
    elsewhere = RunningPart(timescale_part(settings), settings)
    elsewhere.log = server.log.with_suffix(".second")
    with pytest.raises(RuntimeError, match="is in use by another process"):
        elsewhere.start()
