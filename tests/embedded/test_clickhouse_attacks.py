"""Who may ask the embedded ClickHouse, and what no statement of theirs reaches: tried by attack."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from etl.embedded.clickhouse_allowed import TABLE_FUNCTIONS
from etl.embedded.clickhouse_settings import ALLOWED
from etl.embedded.clickhouse_start import clickhouse_part
from etl.settings import Settings
from tests.support.servers import RunningPart, settings_on_free_ports

pytestmark = pytest.mark.integration
# ruff: noqa: E501

SECRET = "the-secret-of-a-file"


class Front:
    """The server, a file that nobody may read, and a port that nobody may call."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.secret = folder / "secret.csv"
        self.secret.write_text(SECRET + "\n")
        self.target = folder / "written"
        self.calls: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()
        self.sql("CREATE DATABASE IF NOT EXISTS market")
        self.sql("CREATE TABLE IF NOT EXISTS t (a String) ENGINE = MergeTree ORDER BY a")

    def _listen(self) -> None:
        while True:
            try:
                connection, place = self.listener.accept()
            except OSError:
                return
            self.calls.append(str(place))
            connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: str = "",
        headers: dict[str, str] | None = None,
        login: bool = True,
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.clickhouse.port, timeout=60)
        sent = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": self.settings.clickhouse_password}
        connection.request(method, path, body.encode(), {**(sent if login else {}), **(headers or {})})
        reply = connection.getresponse()
        try:
            return reply.status, reply.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def sql(self, sql: str, **values: str) -> tuple[int, str]:
        return self.ask("POST", "/?" + urlencode({"database": "default", **values}), sql)

    def refused(self, sql: str, **values: str) -> None:
        status, text = self.sql(sql, **values)
        assert status != 200, (sql, text)
        assert SECRET not in text
        assert self.calls == [], sql
        assert not self.target.exists(), sql


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    settings = settings_on_free_ports(tmp_path_factory.mktemp("front"))
    running = RunningPart(clickhouse_part(settings), settings)
    running.start()
    made = Front(settings, tmp_path_factory.mktemp("machine"))
    yield made
    made.listener.close()
    running.stop()


def test_only_the_password_lets_in(front: Front) -> None:
    file = front.settings.state_path / "clickhouse.password"
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    password = front.settings.clickhouse_password
    assert len(password) >= 24
    assert f":{password}@" in front.settings.clickhouse_address
    path = "/?query=SELECT%201"
    for headers in (
        {},
        {"X-ClickHouse-User": "default"},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "x"},
    ):
        status, text = front.ask("POST", path, headers=headers, login=False)
        assert (status, "Code: 516" in text, password in text) == (403, True, False)
    for headers in ({"Authorization": "Basic !"}, {"Authorization": f"Bearer {password}"}):
        assert front.ask("POST", path, headers=headers, login=False)[0] == 403
    assert front.ask("POST", f"{path}&user=default&password={quote(password)}", login=False) == (200, "1\n")
    assert front.ask("GET", path) == (200, "1\n")
    assert front.ask("GET", "/ping", login=False) == (200, "Ok.\n")


def test_a_page_of_another_site_is_refused(front: Front) -> None:
    port = front.settings.clickhouse.port
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": f"http://127.0.0.1:{port}"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": f"evil.example:{port}"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1"},
        {"Host": f"127.0.0.1.evil.example:{port}"},
        {"Host": f"evil.example@127.0.0.1:{port}"},
        {"Host": f"10.0.0.1:{port}"},
        {"Host": ""},
    ):
        for path in ("/?query=SELECT%201", "/ping", "/"):
            assert front.ask("POST" if "?" in path else "GET", path, headers=headers)[0] == 403, headers
    for headers in (
        {"Host": f"localhost:{port}"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ):
        assert front.ask("GET", "/ping", headers=headers)[0] == 200


def test_a_get_request_never_writes(front: Front) -> None:
    for sql in (
        "INSERT INTO t VALUES ('x')",
        "CREATE TABLE made (a Int8) ENGINE = Memory",
        "DROP TABLE t",
        "ALTER TABLE t DELETE WHERE 1",
        "SET max_threads = 1",
        f"SELECT 1 INTO OUTFILE '{front.target}' TRUNCATE",
    ):
        for more in ({}, {"session_id": "x"}, {"readonly": "0"}, {"session_id": "x", "readonly": "0"}):
            status, _ = front.ask("GET", "/?" + urlencode({"query": sql, "database": "default", **more}))
            assert status != 200, (sql, more)
    assert front.sql("SELECT count() FROM t") == (200, "0\n")
    assert not front.target.exists()


@pytest.mark.parametrize(
    "name",
    [
        "s3_max_redirects", "dialect", "query_plan_display_internal_aliases", "enable_filesystem_cache_log", "workload",
        "http_make_head_request", "filesystem_cache_name", "allow_introspection_functions", "additional_result_filter",
        "log_formatted_queries", "opentelemetry_start_trace_probability", "max_http_get_redirects", "disk",
    ],
)  # fmt: skip
def test_a_setting_that_is_not_on_the_list_is_refused_wherever_it_stands(front: Front, name: str) -> None:
    for sql in (
        f"SELECT 1 SETTINGS {name} = 1",
        f"SELECT 1 SETTINGS max_threads = 1, {name.upper()} = 1",
        f"SELECT 1 settings /* */ `{name}`=1",
        f"SELECT 1 SETTINGS {name}",
        f"SELECT * FROM (SELECT 1 SETTINGS {name} = 1)",
        f"SET {name} = 1",
        f"SET max_threads = 1, {name} = 1",
        f"INSERT INTO t SETTINGS {name} = 1 VALUES ('x')",
        f"CREATE TABLE of_settings (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS {name} = 1",
        f"ALTER TABLE t MODIFY SETTING {name} = 1",
    ):
        status, text = front.sql(sql)
        assert (status != 200, "is not here" in text) == (True, True), (sql, text)
    front.refused("SELECT 1", **{name: "1"})


def test_a_setting_on_the_list_and_a_column_with_the_name_of_another_are_taken(front: Front) -> None:
    for sql in (
        "SELECT 1 SETTINGS max_threads = 1, output_format_json_quote_64bit_integers = 0, final = 1",
        "SELECT 1 AS disk, 2 AS workload WHERE disk = 1",
        "SELECT count() > 0 FROM system.settings WHERE name = 'workload' LIMIT 1 FORMAT TSV",
    ):
        status, text = front.sql(sql)
        assert status == 200, (sql, text)


def test_every_setting_on_the_list_is_one_of_the_engine(front: Front) -> None:
    status, text = front.sql(
        "SELECT name FROM system.settings UNION ALL SELECT name FROM system.merge_tree_settings FORMAT TSV"
    )
    assert status == 200
    assert ALLOWED - set(text.split()) == set()


def test_no_statement_reaches_files_network_or_processes(front: Front) -> None:
    secret, target, url = front.secret, front.target, f"http://127.0.0.1:{front.port}/"
    for sql in (
        f"SELECT 1 INTO OUTFILE '{target}'",
        f"SELECT 1 INTO OUTFILE '{target}' TRUNCATE FORMAT CSV",
        f"SELECT 1 /* */ into /**/ outfile '{target}'",
        f"SELECT $a$ ' $a$ INTO OUTFILE '{target}' --'",
        f"SHOW TABLES INTO OUTFILE '{target}'",
        f"EXPLAIN SELECT 1 INTO OUTFILE '{target}'",
        f"INSERT INTO t FROM INFILE '{secret}' FORMAT CSV",
        f"INSERT INTO t FROM INFILE '{secret}' COMPRESSION 'none' FORMAT LineAsString",
        f"INSERT INTO FUNCTION file('{target}', 'CSV', 'a String') SELECT 'x'",
        f"INSERT INTO FUNCTION file('{target}', 'CSV', 'a String') FORMAT CSV\nx\n",
        f"INSERT INTO TABLE FUNCTION url('{url}', 'CSV', 'a String') VALUES ('x')",
        f"SELECT file('{secret}')",
        f"SELECT FILE('{secret}')",
        f"SELECT `file`('{secret}')",
        f"SELECT \"fi\\x6ce\"('{secret}')",
        f"SELECT $a$ ' $a$, file('{secret}') --'",
        f"SELECT * APPLY file FROM (SELECT '{secret}')",
        f"SELECT * APPLY(file) FROM (SELECT '{secret}')",
        f"INSERT INTO t VALUES (file('{secret}'))",
        f"INSERT INTO t FORMAT Values (file('{secret}'))",
        f"SHOW TABLES WHERE file('{secret}') != ''",
        f"CREATE TABLE f (a Int8, b String DEFAULT file('{secret}')) ENGINE = Memory",
        f"CREATE VIEW f AS SELECT file('{secret}')",
        f"ALTER TABLE t ADD COLUMN b String DEFAULT file('{secret}')",
        f"ALTER TABLE t DELETE WHERE a = file('{secret}')",
        f"SELECT 1 SETTINGS additional_result_filter = 'file(''{secret}'') = ''''  '",
        f"SELECT 1 IN file('{secret}', 'LineAsString')",
        f"SELECT * FROM file('{secret}', 'LineAsString')",
        f"DESCRIBE TABLE file('{secret}')",
        f"CREATE TABLE f AS file('{secret}', 'LineAsString')",
        f"SELECT * FROM `{secret}`",
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM default.`{secret}`",
        f"SELECT * FROM url('{url}', 'CSV', 'a String')",
        f"SELECT * FROM (SELECT * FROM url('{url}', 'CSV', 'a String'))",
        f"SELECT 1 FORMAT Template SETTINGS format_template_row = '{secret}'",
        f"CREATE TABLE f (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = web, endpoint = '{url}')",
        f"CREATE TABLE f (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS `disk` = `disk`(type = web, endpoint = '{url}')",
        f"ATTACH TABLE f FROM '{secret.parent}' (a Int8) ENGINE = MergeTree ORDER BY a",
        "ATTACH TABLE f UUID '11111111-1111-1111-1111-111111111111' (a Int8) ENGINE = MergeTree ORDER BY a",
        f"CREATE DICTIONARY d (a String) PRIMARY KEY a SOURCE(FILE(path '{secret}' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
        f"CREATE DICTIONARY d (a String) PRIMARY KEY a SOURCE(HTTP(url '{url}' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
        "CREATE DICTIONARY d (a String) PRIMARY KEY a SOURCE(EXECUTABLE(command 'id' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
        f"BACKUP TABLE t TO File('{target}')",
        f"RESTORE TABLE t FROM File('{target}')",
        f"CREATE DATABASE d ENGINE = Filesystem('{secret.parent}')",
        f"CREATE DATABASE d ENGINE = SQLite('{target}')",
        f"CREATE DATABASE d ENGINE = MySQL('127.0.0.1:{front.port}', 'a', 'b', 'c')",
        f"CREATE DATABASE d ENGINE = Backup('x', File('{target}'))",
        "CREATE FUNCTION f AS x -> file(x)",
        "CREATE USER u",
        "GRANT ALL ON *.* TO default",
        "CREATE NAMED COLLECTION n AS a = 1",
        "SYSTEM SHUTDOWN",
        "SYSTEM KILL",
        "SYSTEM FLUSH LOGS",
        "SYSTEM RELOAD CONFIG",
        "SYSTEM DROP MARK CACHE",
        "EXECUTE AS default SELECT 1",
        "SELECT 1 PARALLEL WITH SELECT 2",
        "SELECT aiGenerate('x', 'y')",
    ):
        front.refused(sql)
        front.refused(sql, session_id="attack")
    front.refused("SELECT 1", additional_result_filter="1 = 1")
    front.refused("SELECT 1", output_format_schema=str(target))
    front.refused("SELECT 1 AS a FORMAT Protobuf", format_schema=f"{secret}:M", format_schema_source="file")
    assert front.sql("SELECT count() FROM t") == (200, "0\n")


def test_every_table_function_and_engine_of_the_engine_is_refused_unless_it_is_listed(front: Front) -> None:
    names = front.sql("SELECT name FROM system.table_functions")[1].split()
    assert len(names) > 50
    for name in names:
        if name.lower() not in TABLE_FUNCTIONS:
            for sql in (
                f"SELECT * FROM {name}('{front.secret}')",
                f"INSERT INTO FUNCTION {name}('x') VALUES (1)",
            ):
                status, text = front.sql(sql)
                assert status == (400 if sql.startswith("INSERT INTO FUNCTION format(") else 403), (sql, text)
    allowed = {
        *(
            "MergeTree",
            "ReplacingMergeTree",
            "SummingMergeTree",
            "AggregatingMergeTree",
            "CollapsingMergeTree",
        ),
        *(
            "VersionedCollapsingMergeTree",
            "CoalescingMergeTree",
            "GraphiteMergeTree",
            "Null",
            "Memory",
            "Log",
        ),
        *("TinyLog", "StripeLog", "Set", "Join", "Buffer", "Merge", "View", "MaterializedView"),
    }
    engines = front.sql("SELECT name FROM system.table_engines")[1].split()
    assert len(engines) > 50
    for name in set(engines) - allowed:
        status, text = front.sql(f"CREATE TABLE f (a Int8) ENGINE = {name}('{front.secret}')")
        assert status != 200, (name, text)
        assert front.calls == []
    for name in set(front.sql("SELECT name FROM system.database_engines")[1].split()) - {"Atomic", "Memory"}:
        assert front.sql(f"CREATE DATABASE d ENGINE = {name}('{front.secret}')")[0] != 200, name


def test_external_tables_are_no_way_around(front: Front) -> None:
    boundary = '--b\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\n1\n\r\n--b--\r\n'
    for structure in (
        f"a Int64, b String DEFAULT file('{front.secret}')",
        f"a Int64) ENGINE = File(CSV, '{front.target}') --",
    ):
        query = urlencode({"query": "SELECT * FROM x", "x_structure": structure})
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        status, text = front.ask("POST", f"/?{query}", boundary, headers)
        assert (status != 200, SECRET in text) == (True, False)


def test_what_people_ask_goes_on_working(front: Front) -> None:
    for sql in (
        "SELECT sumIf(number, number > 1), quantileExact(0.5)(number) FROM numbers(3)",
        "SELECT format('{}-{}', 1, 2), toDate('2024-01-01') + INTERVAL 1 DAY, arrayMap(x -> x + 1, [1, 2])",
        "WITH 1 AS x SELECT x IN (1, 2), (SELECT count() FROM t)",
        "SELECT name FROM system.tables WHERE database = currentDatabase() FORMAT JSON",
        "SHOW TABLES FORMAT CSV",
        "DESCRIBE TABLE t",
        "EXISTS TABLE t",
        "SHOW CREATE TABLE t",
        "EXPLAIN SELECT 1",
        "SELECT * FROM merge('default', 'nothing|t')",
        "SELECT hostName(), version(), timezone(), 'file(''x'') INTO OUTFILE'",
        "CREATE TABLE IF NOT EXISTS c (a UInt8 CODEC(ZSTD), INDEX i a TYPE minmax, d DateTime) "
        "ENGINE = ReplacingMergeTree ORDER BY a TTL d + INTERVAL 1 DAY",
        "INSERT INTO c (a, d) VALUES (1, now()), (2, toDateTime('2030-01-01 00:00:00'))",
        "ALTER TABLE c ADD COLUMN IF NOT EXISTS b String DEFAULT toString(a)",
        "OPTIMIZE TABLE c FINAL",
        "TRUNCATE TABLE c",
        "DROP TABLE c",
    ):
        status, text = front.sql(sql)
        assert status == 200, (sql, text)


def test_the_place_of_the_state_does_not_matter(crashable: Callable[..., RunningPart]) -> None:
    server = crashable(clickhouse_part)
    before = server.settings.clickhouse_password
    server.restart()
    assert server.settings.clickhouse_password == before
    assert os.listdir(server.settings.state_path).count("clickhouse.password") == 1
