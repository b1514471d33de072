from __future__ import annotations

import pytest

from etl.embedded.clickhouse_statement import Insert, Plain, SeveralStatements, parse


@pytest.mark.parametrize(
    ("text", "body", "insert"),
    [
        ("INSERT INTO t FORMAT Native", b"\x00\xff", Insert("INSERT INTO t ", "Native", b"\x00\xff")),
        ("", b"INSERT INTO t (a) FORMAT Native\n\x00", Insert("INSERT INTO t (a) ", "Native", b"\x00")),
        ("", b"insert into t format TSV\r\n1\t2\n", Insert("insert into t ", "TSV", b"1\t2\n")),
        ("", b"INSERT INTO t FORMAT CSV 1,2\n", Insert("INSERT INTO t ", "CSV", b"1,2\n")),
        ("", b"INSERT INTO t FORMAT CSV\n\n1", Insert("INSERT INTO t ", "CSV", b"\n1")),
        (
            "/* FORMAT x */ INSERT INTO `format` (`a FORMAT b`) SETTINGS x = 'FORMAT CSV' FORMAT Protobuf",
            b"INSERT; SELECT",
            Insert(
                "/* FORMAT x */ INSERT INTO `format` (`a FORMAT b`) ",
                "Protobuf",
                b"INSERT; SELECT",
                clause="SETTINGS x = 'FORMAT CSV' ",
            ),
        ),
    ],
)
def test_an_insert_is_cut_where_its_data_begins(text: str, body: bytes, insert: Insert) -> None:
    assert parse(text, body) == insert


def test_the_default_format_serves_an_insert_that_names_none() -> None:
    assert parse("INSERT INTO t", b"1\t2", "TSV") == Insert("INSERT INTO t", "TSV", b"1\t2")


@pytest.mark.parametrize(
    ("text", "format_name", "reads", "totals"),
    [
        ("SELECT 1", "", True, False),
        ("select 1 format JSON", "JSON", True, False),
        ("SELECT 1 FORMAT JSON SETTINGS max_threads = 1;", "JSON", True, False),
        ("SELECT format, x FROM t", "", True, False),
        ("SELECT 'a FORMAT b'", "", True, False),
        ("SELECT a, count() FROM t GROUP BY a WITH TOTALS FORMAT CSV", "CSV", True, True),
        ("WITH 1 AS x SELECT x -- ; FORMAT CSV", "", True, False),
        ("CREATE TABLE t (a Int8) ENGINE = Memory", "", False, False),
        ("INSERT INTO t VALUES (1); SELECT", "", False, False),
        ("INSERT INTO t SELECT 1", "", False, False),
        ("DESCRIBE TABLE t", "", False, False),
    ],
)
def test_anything_else_goes_to_the_engine_as_it_is(
    text: str, format_name: str, reads: bool, totals: bool
) -> None:
    assert parse(text, b"") == Plain(text + "\n", format_name, reads, totals)
    assert parse("", text.encode()) == Plain(text, format_name, reads, totals)


@pytest.mark.parametrize("text", ["SELECT 1; SELECT 2", "DROP TABLE a;DROP TABLE b;", "SELECT 1;; 2"])
def test_several_statements_are_refused_as_the_server_does(text: str) -> None:
    with pytest.raises(SeveralStatements):
        parse("", text.encode())


def test_one_statement_may_end_with_a_semicolon_and_a_comment() -> None:
    assert parse("", b"SELECT ';' ; -- done") == Plain("SELECT ';' ; -- done", "", True, False)


def test_a_statement_that_is_not_text_is_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        parse("", b"SELECT '\xff'")
