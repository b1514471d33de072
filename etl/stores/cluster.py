"""ClickHouse's migrations as they read on a cluster: every statement on all hosts, every table replicated. Pure.

``etl migrate clickhouse --print-for-cluster NAME`` prints them; nothing here applies them. docs/scale.md says how
shards are filled and asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from etl.errors import UsageError
from etl.model.tables import TABLE_BY_KIND
from etl.stores.migrate import Migration, statements

REPLICA = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'"
"""Where Keeper holds a table, by the macros of each host's configuration."""
SHARDING_KEY = "cityHash64(exchange, symbol)"
"""All versions of an identity lie on one shard: a host de-duplicates alone."""
EVERYWHERE = "_everywhere"
"""Behind the name of a table: what asks all shards."""

_CLUSTER = re.compile(r"[A-Za-z_]\w*")
_BEFORE = r"((?:\s|--[^\n]*\n|/\*.*?\*/)*"
_NAMED = re.compile(
    _BEFORE
    + r"(?:CREATE(?: OR REPLACE)? (?:TABLE|DATABASE|(?:MATERIALIZED )?VIEW)|ALTER TABLE|DROP (?:TABLE|VIEW))"
    r"(?: IF(?: NOT)? EXISTS)? [\w.]+)",
    re.DOTALL,
)
_RENAMED = re.compile(_BEFORE + r"RENAME TABLE .*)", re.DOTALL)
_MOVED = re.compile(_BEFORE + r"INSERT INTO .*)", re.DOTALL)
_ENGINE = re.compile(r"\bENGINE = ((?:Replacing)?MergeTree)\b(?:\(([^)]*)\))?")


def on_cluster(statement: str, cluster: str) -> str:
    """``statement`` of a migration for the cluster of this name. Raises ``UsageError`` for a kind that is not known."""
    if _RENAMED.match(statement):
        return f"{statement} ON CLUSTER {cluster}"
    if _MOVED.match(statement):
        return statement  # rows of before, of which a new cluster has none
    named = _NAMED.match(statement)
    if named is None:
        raise UsageError(f"no form for a cluster is known of: {statement[:80]}")
    placed = f"{named[1]} ON CLUSTER {cluster}{statement[named.end() :]}"
    replicated = _ENGINE.sub(_replicated, placed)
    return replicated.replace("non_replicated_deduplication_window", "replicated_deduplication_window")


def _replicated(match: re.Match[str]) -> str:
    return f"ENGINE = Replicated{match[1]}({', '.join(filter(None, (REPLICA, match[2])))})"


def for_cluster(migrations: Iterable[Migration], cluster: str, database: str) -> Iterator[str]:
    """All statements in their order, each with its semicolon, then a table for each kind that asks every shard. Raises
    ``UsageError`` for a name that is none."""
    if not _CLUSTER.fullmatch(cluster):
        raise UsageError(f"{cluster!r} is no name of a cluster: letters, digits and _")
    for migration in migrations:
        yield f"-- {migration.label}"
        for statement in statements(migration.sql):
            yield f"{on_cluster(statement, cluster)};"
    for table in TABLE_BY_KIND.values():
        yield (
            f"CREATE TABLE IF NOT EXISTS {database}.{table}{EVERYWHERE} ON CLUSTER {cluster} AS {database}.{table}"
            f" ENGINE = Distributed({cluster}, {database}, {table}, {SHARDING_KEY});"
        )
