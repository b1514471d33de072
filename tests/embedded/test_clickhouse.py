"""The HTTP interface of the embedded ClickHouse, held against a real server where one is named."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import clickhouse_connect
import lz4.frame
import pytest
from backports import zstd
from clickhouse_connect.driver.exceptions import DatabaseError
from msgspec import Struct

from etl.embedded.clickhouse import REQUESTS_AT_ONCE_MAX, REQUESTS_WAITING_MAX, STATUS_OF_CODE, Gate
from etl.embedded.clickhouse_engine import EngineError
from etl.embedded.clickhouse_parts import LOOK_EVERY_S, is_whole
from etl.embedded.clickhouse_request import REQUEST_BYTES_MAX
from etl.embedded.clickhouse_start import clickhouse_part
from etl.settings import Settings
from tests.support.servers import BOTH_SERVERS, RunningPart
from tests.support.topics import eventually

pytestmark = pytest.mark.integration

ENDS_WITHIN_S = 4 * LOOK_EVERY_S + 10.0
SCHEMA = """syntax = "proto3";
message Tick { sfixed64 time_ns = 1; string id = 2; optional string price = 3; repeated string sizes = 4; }
"""


class Reply(Struct):
    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    """ClickHouse by bare HTTP: no client library between the test and the server."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self.database = self._address.path.strip("/")

    def __call__(
        self, sql: str = "", body: bytes = b"", headers: dict[str, str] | None = None, **values: Any
    ) -> Reply:
        parameters = {"database": self.database, **values}
        if sql and body:
            parameters["query"] = sql
        connection = http.client.HTTPConnection(str(self._address.hostname), self._address.port, timeout=60)
        sent = dict(headers or {})
        if self._address.username:
            sent["X-ClickHouse-User"] = unquote(self._address.username)
            sent["X-ClickHouse-Key"] = unquote(self._address.password or "")
        connection.request("POST", f"/?{urlencode(parameters)}", body=body or sql.encode(), headers=sent)
        reply = connection.getresponse()
        try:
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def text(self, sql: str, **values: Any) -> str:
        reply = self(sql, **values)
        assert reply.status == 200, reply.body
        return reply.body.decode().rstrip("\n")


@pytest.fixture
def raw(settings_with: Callable[..., Settings]) -> Raw:
    return Raw(settings_with(clickhouse=True).clickhouse_address)


@pytest.fixture
def client(settings_with: Callable[..., Settings]) -> Iterator[object]:
    connected = clickhouse_connect.get_client(dsn=settings_with(clickhouse=True).clickhouse_address)
    yield connected
    connected.close()


def message(time_ns: int, identity: str, price: str | None, sizes: tuple[str, ...] = ()) -> bytes:
    """A ``Tick`` with its length before it, written by hand: the wire form, not a library's idea of it."""
    fields = b"\x09" + time_ns.to_bytes(8, "little", signed=True) + _text(0x12, identity)
    fields += b"" if price is None else _text(0x1A, price)
    fields += b"".join(_text(0x22, size) for size in sizes)
    return bytes([len(fields)]) + fields


def _text(tag: int, text: str) -> bytes:
    return bytes([tag, len(text)]) + text.encode()


@BOTH_SERVERS
def test_protobuf_goes_through_a_null_table_into_exact_decimals_once(raw: Raw) -> None:
    raw.text(
        "CREATE TABLE landing (time_ns Int64, id String, price Nullable(String), sizes Array(String)) ENGINE = Null"
    )
    raw.text(
        "CREATE TABLE ticks (time DateTime64(9), id String, price Nullable(Decimal(38, 19)), sizes Array(String)) "
        "ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"
    )
    raw.text(
        "CREATE MATERIALIZED VIEW fan_out TO ticks AS SELECT fromUnixTimestamp64Nano(time_ns, 'UTC') AS time, id, "
        "CAST(price, 'Nullable(Decimal(38, 19))') AS price, sizes FROM landing"
    )
    batch = message(1_700_000_000_123_456_789, "a", "61837.6300", ("1", "2.5")) + message(-1, "b", None)
    for token in ("first", "first", "second"):
        reply = raw(
            "INSERT INTO landing FORMAT Protobuf",
            batch,
            format_schema_source="string",
            format_schema=SCHEMA,
            format_schema_message_name="Tick",
            insert_deduplication_token=token,
            deduplicate_blocks_in_dependent_materialized_views=1,
            async_insert=0,
        )
        assert reply.status == 200, reply.body
    assert raw.text(
        "SELECT id, count(), any(time), any(price), any(sizes) FROM ticks GROUP BY id ORDER BY id"
    ) == (
        "a\t2\t2023-11-14 22:13:20.123456789\t61837.63\t['1','2.5']\n"
        "b\t2\t1969-12-31 23:59:59.999999999\t\\N\t[]"
    )


def test_the_engine_writes_nothing_outside_its_data_directory(settings_with: Callable[..., Settings]) -> None:
    raw = Raw(settings_with(clickhouse=True).clickhouse_address)
    raw.text("CREATE TABLE t (time_ns Int64) ENGINE = Null")
    schema: dict[str, Any] = {"format_schema_source": "string", "format_schema_message_name": "Tick"}
    text = SCHEMA + f"// {raw.database}\n"  # not one that was cached before
    reply = raw("INSERT INTO t FORMAT Protobuf", message(1, "a", None), format_schema=text, **schema)
    assert reply.status == 200, reply.body
    cached = [file for file in Path.cwd().glob("__cache__/*") if raw.database in file.read_text()]
    assert cached == []


@BOTH_SERVERS
def test_an_insert_is_stored_when_it_is_answered(raw: Raw) -> None:
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    for number in range(20):
        assert raw("INSERT INTO t FORMAT TSV", b"%d\n" % number).status == 200
        assert raw.text("SELECT count() FROM t") == str(number + 1)


@BOTH_SERVERS
@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT * FROM missing", 404, 60),
        ("SELECT missing", 404, 47),
        ("SELECT 1 FROM", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT toInt8('x')", 400, 6),
        ("SELECT 1 SETTINGS no_such_setting = 1", 404, 115),
        ("SELECT throwIf(1)", 500, 395),
    ],
)
def test_an_error_has_the_servers_status_and_code(raw: Raw, sql: str, status: int, code: int) -> None:
    reply = raw(sql)
    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert reply.body.startswith(b"Code: %d. DB::Exception: " % code)


@BOTH_SERVERS
def test_an_unknown_database_and_bad_data_are_said(raw: Raw) -> None:
    assert raw("SELECT 1", database="missing").headers["x-clickhouse-exception-code"] == "81"
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    bad = raw("INSERT INTO t FORMAT TSV", b"1\nx\n")
    assert (bad.status, bad.headers["x-clickhouse-exception-code"]) == (400, "27")
    assert raw.text("SELECT count() FROM t") == "0"


@BOTH_SERVERS
def test_an_insert_that_a_view_refuses_is_an_error(raw: Raw) -> None:
    raw.text("CREATE TABLE landing (a String) ENGINE = Null")
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    raw.text("CREATE MATERIALIZED VIEW into_t TO t AS SELECT CAST(a, 'Int64') AS a FROM landing")
    refused = raw("INSERT INTO landing SETTINGS async_insert = 0 FORMAT TSV", b"1\nx\n")
    assert (refused.status, refused.headers["x-clickhouse-exception-code"]) == (400, "6")
    assert raw.text("SELECT count() FROM t") == "0"


@BOTH_SERVERS
def test_an_insert_stays_one_block_unless_it_is_told_otherwise(raw: Raw) -> None:
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    raw.text("SYSTEM STOP MERGES t")
    rows = b"".join(b"%d\n" % number for number in range(150_000))
    exact: dict[str, Any] = {
        "input_format_parallel_parsing": 0,
        "min_insert_block_size_rows": 0,
        "min_insert_block_size_bytes": 0,
    }
    assert raw("INSERT INTO t FORMAT TSV", rows, **exact).status == 200
    assert raw.text("SELECT count(DISTINCT _part), count() FROM t") == "1\t150000"
    assert raw("INSERT INTO t FORMAT TSV", rows, max_insert_block_size=50_000, **exact).status == 200
    assert raw.text("SELECT count(DISTINCT _part), count() FROM t") == "4\t300000"


@BOTH_SERVERS
@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_bodies_are_compressed_both_ways(raw: Raw, encoding: str) -> None:
    compress = {
        "lz4": lz4.frame.compress,
        "zstd": zstd.compress,
        "gzip": gzip.compress,
        "deflate": zlib.compress,
    }
    decompress = {
        "lz4": lz4.frame.decompress,
        "zstd": zstd.decompress,
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
    }
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    rows = b"".join(b"%d\n" % number for number in range(300_000))
    sent = raw("INSERT INTO t FORMAT TSV", compress[encoding](rows), headers={"Content-Encoding": encoding})
    assert sent.status == 200, sent.body
    reply = raw(
        "SELECT a FROM t ORDER BY a", headers={"Accept-Encoding": encoding}, enable_http_compression=1
    )
    assert reply.headers["content-encoding"] == encoding
    assert decompress[encoding](reply.body) == rows


@BOTH_SERVERS
def test_a_session_keeps_its_settings_and_a_requests_settings_end_with_it(raw: Raw) -> None:
    ask = "SELECT getSetting('max_threads')"
    assert raw.text("SET max_threads = 3", session_id=raw.database) == ""
    assert raw.text(ask, session_id=raw.database, max_threads=1) == "1"
    assert raw.text(ask, session_id=raw.database) == "3"
    assert raw.text(ask) != "3"
    raw.text("CREATE TEMPORARY TABLE kept (a Int8)", session_id=raw.database)
    assert raw.text("SELECT count() FROM kept", session_id=raw.database) == "0"
    assert raw("SELECT 1", session_id="no-such-session", session_check=1).status == 404


@BOTH_SERVERS
def test_parameters_and_external_tables_reach_the_query(raw: Raw) -> None:
    assert (
        raw.text("SELECT {a:Array(String)}, {b:Int32} + 1", param_a="['x','y']", param_b=41)
        == "['x','y']\t42"
    )
    boundary = "--b\r\n"
    form = (
        boundary
        + 'Content-Disposition: form-data; name="ids"; filename="ids"\r\n\r\n1\tx\n3\ty\n\r\n--b--\r\n'
    )
    reply = raw(
        "SELECT id, name FROM ids ORDER BY id DESC",
        form.encode(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        ids_structure="id Int64, name String",
        ids_format="TSV",
    )
    assert (reply.status, reply.body) == (200, b"3\ty\n1\tx\n")


@BOTH_SERVERS
def test_a_get_request_cannot_write(raw: Raw) -> None:
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    connection = http.client.HTTPConnection(str(raw._address.hostname), raw._address.port, timeout=30)
    login = {"X-ClickHouse-User": str(raw._address.username), "X-ClickHouse-Key": str(raw._address.password)}
    query = urlencode({"query": f"INSERT INTO {raw.database}.t VALUES (1)"})
    connection.request("GET", "/?" + query, headers=login)
    reply = connection.getresponse()
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (500, "164")
    connection.close()


def test_a_large_result_comes_as_it_is_made_and_an_error_midway_breaks_it_off(raw: Raw) -> None:
    reply = raw("SELECT number FROM numbers(3000000) FORMAT RowBinary")
    assert len(reply.body) == 24_000_000
    assert reply.headers["transfer-encoding"] == "chunked"
    with pytest.raises(http.client.IncompleteRead):
        raw("SELECT throwIf(number = 9000000) FROM numbers(10000000) FORMAT RowBinary")
    totals = raw("SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k")
    assert totals.body == b"0\t5\n1\t5\n\n0\t10\n"
    rows = json.loads(raw("SELECT number FROM numbers(200000) FORMAT JSON").body)["rows"]
    assert rows == 200_000


def test_a_request_that_is_too_large_is_refused(raw: Raw) -> None:
    zeros = lz4.frame.compress(bytes(REQUEST_BYTES_MAX + 1))
    reply = raw("INSERT INTO t FORMAT TSV", zeros, headers={"Content-Encoding": "lz4"})
    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (413, "229")
    cut = raw("INSERT INTO t FORMAT TSV", zeros[:100], headers={"Content-Encoding": "lz4"})
    assert cut.headers["x-clickhouse-exception-code"] == "271"


@BOTH_SERVERS
def test_clickhouse_connect_inserts_and_reads(client: clickhouse_connect.driver.Client) -> None:
    client.command(
        "CREATE TABLE t (a Int64, b Nullable(String), c Decimal(38, 19)) ENGINE = MergeTree ORDER BY a"
    )
    client.insert("t", [[1, "x", 1.5], [2, None, 2]], column_names=["a", "b", "c"])
    found = client.query(
        "SELECT a, b, toString(c) FROM t WHERE a >= {a:Int64} ORDER BY a", parameters={"a": 1}
    )
    assert found.result_rows == [(1, "x", "1.5"), (2, None, "2")]
    assert client.query("SELECT * FROM t WHERE a = 9").result_rows == []
    assert client.query("SELECT number, toString(number) FROM numbers(200000)").row_count == 200_000
    assert client.query_df("SELECT a FROM t ORDER BY a")["a"].tolist() == [1, 2]
    assert client.query_arrow("SELECT a FROM t ORDER BY a").to_pydict() == {"a": [1, 2]}
    assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).first_row == (1,)
    with pytest.raises(DatabaseError, match="code: 60"):
        client.query("SELECT * FROM missing")


@BOTH_SERVERS
def test_requests_run_side_by_side_while_inserts_do(raw: Raw) -> None:
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    failures: list[bytes] = []

    def work(number: int) -> None:
        for round_number in range(5):
            for reply in (
                raw("INSERT INTO t FORMAT TSV", b"%d\n" % (number * 100 + round_number)),
                raw("SELECT count() FROM t"),
            ):
                if reply.status != 200:
                    failures.append(reply.body)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert raw.text("SELECT count(), uniqExact(a) FROM t") == "60\t60"


def test_more_requests_than_may_wait_are_told_to_come_back() -> None:
    async def fill() -> int:
        gate = Gate()
        for _ in range(REQUESTS_AT_ONCE_MAX):
            await gate.__aenter__()
        waiting = [asyncio.create_task(gate.__aenter__()) for _ in range(REQUESTS_WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(EngineError) as refused:
            await gate.__aenter__()
        for _ in range(REQUESTS_AT_ONCE_MAX):
            await gate.__aexit__()
        await asyncio.wait(waiting[:REQUESTS_AT_ONCE_MAX])
        return STATUS_OF_CODE[refused.value.code]

    assert asyncio.run(fill()) == 503


@pytest.mark.slow
def test_a_part_that_a_full_disk_left_unwritten_ends_the_server_and_its_next_start_has_every_row(
    crashable: Callable[..., RunningPart],
) -> None:
    server = crashable(clickhouse_part)
    raw = Raw(server.settings.clickhouse_address.removesuffix("/market") + "/default")
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    for number in range(3):
        raw.text(f"INSERT INTO t VALUES ({number})")
    raw.text("OPTIMIZE TABLE t FINAL")
    (merged,) = raw.text("SELECT path FROM system.parts WHERE table = 't' AND active").split()
    marks = next(Path(merged).glob("*.cmrk*"))
    for file in (marks, Path(merged) / "checksums.txt"):
        os.truncate(file, 0)

    eventually(lambda: not answers(server), ENDS_WITHIN_S)
    server.stop()
    assert f"clickhouse: {Path(merged)} was not written whole; starting again" in server.log.read_text()
    server.start()
    assert raw.text("SELECT a FROM t ORDER BY a").split() == ["0", "1", "2"]


def test_an_insert_that_was_not_written_is_refused_and_stored_when_it_is_sent_again(tmp_path: Path) -> None:
    """The engine once a process: in one of its own."""
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from etl.embedded.clickhouse_engine import Engine, EngineError\n"
        "from etl.embedded.clickhouse_parts import Parts\n"
        "engine = Engine(Path(sys.argv[1])); parts = Parts(engine)\n"
        "engine.own('CREATE TABLE default.t (a Int64) ENGINE = MergeTree ORDER BY a'\n"
        "           ' SETTINGS non_replicated_deduplication_window = 100')\n"
        "def insert(number):\n"
        "    engine.own(f'INSERT INTO default.t SETTINGS insert_deduplication_token = {number!r} VALUES ({number})')\n"
        "def rows(): return engine.own('SELECT a FROM default.t ORDER BY a').split()\n"
        "insert('1'); parts.require_written(time.monotonic())\n"
        "began = time.monotonic(); insert('2')\n"
        "path = engine.own(\"SELECT path FROM system.parts WHERE name = 'all_2_2_0'\").strip()\n"
        "os.truncate(Path(path) / 'checksums.txt', 0)\n"
        "try: parts.require_written(began)\n"
        "except EngineError as error: print(error.code)\n"
        "print(rows()); insert('1'); insert('2'); print(rows())\n"
        "parts.require_written(time.monotonic()); print('whole')\n"
        "engine.close()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == ["243", "['1']", "['1', '2']", "whole"]


def answers(server: RunningPart) -> bool:
    try:
        return server.part.ready()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("name", "size", "whole"),
    [
        ("data.bin", 0, False),
        ("data.cmrk4", 0, False),
        ("checksums.txt", 0, False),
        ("data.bin", 99, False),
        ("data.bin", 100, True),
        ("sizes.bin", 0, True),
    ],
)
def test_a_part_is_whole_with_as_many_bytes_as_are_counted_and_no_empty_mark_or_text(
    name: str, size: int, whole: bool, tmp_path: Path
) -> None:
    for file in ("data.bin", "data.cmrk4", "checksums.txt"):
        (tmp_path / file).write_bytes(bytes(100))
    (tmp_path / name).write_bytes(bytes(size))
    assert is_whole(tmp_path, 300) is whole
    assert not is_whole(tmp_path / "gone", 300)


def test_what_was_answered_is_there_after_kill_9(crashable: Callable[..., RunningPart]) -> None:
    server = crashable(clickhouse_part)
    raw = Raw(server.settings.clickhouse_address.removesuffix("/market") + "/default")
    raw.text("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    answered = 0
    crash = threading.Timer(0.5, server.kill)
    crash.start()
    try:
        while raw("INSERT INTO t FORMAT TSV", b"%d\n" % answered).status == 200:
            answered += 1
    except (OSError, http.client.HTTPException):
        pass
    crash.join()
    server.start()
    assert answered > 0
    assert raw.text(f"SELECT count() FROM t WHERE a < {answered}") == str(answered)
    assert server.stop() == 0
