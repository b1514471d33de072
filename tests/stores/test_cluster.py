"""The migrations for a cluster: parsed by the real engine, for there is no cluster here to run them on."""

from __future__ import annotations

import json

import chdb
import pytest

from etl.errors import UsageError
from etl.model.tables import TABLE_BY_KIND
from etl.stores.cluster import for_cluster, on_cluster
from etl.stores.migrate import SQL_DIR, Migration, read_migrations, statements

CLUSTER = "market_cluster"
MIGRATIONS = read_migrations(SQL_DIR / "clickhouse")


def formatted(printed: list[str]) -> list[str]:
    """Each as the engine prints it, which it does for what it can parse alone."""
    quoted = ", ".join("'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'" for text in printed)
    answer = chdb.query(f"SELECT formatQuery(arrayJoin([{quoted}])) AS text", "JSONCompactColumns")
    (column,) = json.loads(answer.bytes())
    return [str(text) for text in column]


def test_the_engine_reads_every_statement_and_finds_the_cluster_in_it() -> None:
    made = list(for_cluster(MIGRATIONS, CLUSTER, "market"))
    printed = [text.rstrip(";") for text in made if not text.startswith("-- 0")]
    count = sum(len(list(statements(migration.sql))) for migration in MIGRATIONS) + len(TABLE_BY_KIND)
    assert len(printed) == count
    parsed = formatted(printed)
    assert len(parsed) == count
    local = [text for text in parsed if f" ON CLUSTER {CLUSTER}" not in text]
    assert [text.split("(")[0].strip() for text in local] == [
        "INSERT INTO corporate_actions_history",
        "INSERT INTO instruments_history",
    ]
    assert [
        text for text in parsed if "ENGINE = MergeTree" in text or "ENGINE = ReplacingMergeTree" in text
    ] == []
    assert sum("ENGINE = Replicated" in text for text in parsed) >= len(TABLE_BY_KIND) // 2
    assert "non_replicated" not in "".join(parsed)


def test_each_table_is_asked_on_all_shards_by_a_table_of_its_name() -> None:
    made = list(for_cluster([], CLUSTER, "market"))
    assert made[0] == (
        "CREATE TABLE IF NOT EXISTS market.trades_everywhere ON CLUSTER market_cluster AS market.trades"
        " ENGINE = Distributed(market_cluster, market, trades, cityHash64(exchange, symbol));"
    )
    assert len(made) == len(TABLE_BY_KIND)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "CREATE TABLE IF NOT EXISTS a.b (x UInt8) ENGINE = ReplacingMergeTree(x) ORDER BY x"
            " SETTINGS non_replicated_deduplication_window = 9",
            "CREATE TABLE IF NOT EXISTS a.b ON CLUSTER c (x UInt8) ENGINE = ReplicatedReplacingMergeTree("
            "'/clickhouse/tables/{uuid}/{shard}', '{replica}', x) ORDER BY x"
            " SETTINGS replicated_deduplication_window = 9",
        ),
        ("RENAME TABLE IF EXISTS a TO b", "RENAME TABLE IF EXISTS a TO b ON CLUSTER c"),
        ("-- why\nDROP VIEW IF EXISTS v SYNC", "-- why\nDROP VIEW IF EXISTS v ON CLUSTER c SYNC"),
        ("CREATE TABLE n (x UInt8) ENGINE = Null", "CREATE TABLE n ON CLUSTER c (x UInt8) ENGINE = Null"),
    ],
)
def test_a_statement_names_the_cluster_behind_its_object(statement: str, expected: str) -> None:
    assert on_cluster(statement, "c") == expected


def test_a_kind_of_statement_that_nobody_thought_of_is_refused() -> None:
    with pytest.raises(UsageError, match="no form for a cluster is known of: OPTIMIZE TABLE a"):
        list(for_cluster([Migration(1, "a", "OPTIMIZE TABLE a")], "c", "market"))
    with pytest.raises(UsageError, match="is no name of a cluster"):
        list(for_cluster([], "c; DROP", "market"))
