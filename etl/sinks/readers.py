"""Who reads which topic into which store, under which group: retention in Redis waits for all of them, also for one
that has not begun."""

from __future__ import annotations

from collections.abc import Iterator

from etl.settings import Settings
from etl.stores.clickhouse_http import parse_address

LOAD = "timescale-load"
EXPORT = "lake-export"
ARCHIVE = "lake-archive"
"""The load and the lake's go by what they keep with their rows: these only show how far they are."""


def readers(settings: Settings) -> Iterator[tuple[str, str]]:
    """Topic and group, of the stores that are kept."""
    topics = settings.topics
    if settings.keeps("clickhouse"):
        yield topics.normalized, group_of(settings)
        yield topics.quarantine, group_of(settings)
    if settings.keeps("timescale"):
        yield topics.normalized, LOAD
    if settings.keeps("lake"):
        yield topics.normalized, EXPORT


def group_of(settings: Settings) -> str:
    """Of the ClickHouse sinks. A database has a group of its own: another one starts from the beginning."""
    return settings.sink.group or f"etl-clickhouse-{parse_address(settings.clickhouse_address).database}"
