"""Retention: what is older than its setting says goes, whole chunks, months and days at a time. Off by default.

``expire_days`` names what expires and nothing else does: ``timescale.quotes=90, lake.quotes=900``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

from etl.errors import UsageError
from etl.settings import Settings

DAY_S = 86_400
DAYS_MIN = 2
"""Loads and audits look at yesterday: nothing younger may go."""
TIMESCALE_TABLES = ("trades", "quotes", "bars", "book_updates", "agg_trades", "stats", "liquidations")
CLICKHOUSE_TABLES = ("trades", "quotes", "books", "quarantine")
TABLES = {"timescale": TIMESCALE_TABLES, "clickhouse": CLICKHOUSE_TABLES, "lake": TIMESCALE_TABLES}
"""What may expire, by store. Gaps, corrections and the raw topic never do."""


class Retention(Struct, frozen=True):
    store: str
    table: str
    days: int


class Expired(Struct, frozen=True):
    """``parts``: chunks of a hypertable, monthly partitions, or files of the lake that were dropped."""

    store: str
    table: str
    parts: int


def retentions(settings: Settings) -> list[Retention]:
    """What ``expire_days`` says. Raises ``UsageError`` for anything that it cannot mean."""
    found = []
    for text in filter(None, (part.strip() for part in settings.expiry.days.split(","))):
        place, _, days = text.partition("=")
        store, _, table = place.strip().partition(".")
        if table not in TABLES.get(store, ()) or not days.strip().isdecimal() or int(days) < DAYS_MIN:
            raise UsageError(
                f"expire_days: {text!r}: is not STORE.TABLE=DAYS, STORE one of {', '.join(TABLES)}, "
                f"DAYS at least {DAYS_MIN}"
            )
        found.append(Retention(store, table, int(days)))
    return found


def expire(settings: Settings, store: str, clock: Callable[[], float] = time.time) -> list[Expired]:
    """Drop what the retentions of ``store`` let go. Idempotent. Raises ``UsageError``, ``StoreError``."""
    drop = {"timescale": _drop_chunks, "clickhouse": _drop_partitions, "lake": _drop_days}[store]
    return [
        Expired(store, retention.table, drop(settings, retention.table, clock() - retention.days * DAY_S))
        for retention in retentions(settings)
        if retention.store == store
    ]


def _drop_chunks(settings: Settings, table: str, before_s: float) -> int:
    from etl.stores.timescale import connect

    with connect(settings) as connection:
        dropped = connection.execute(
            "SELECT drop_chunks(%s::regclass, older_than => to_timestamp(%s))", (table, before_s)
        )
        return len(dropped.fetchall())


def _drop_partitions(settings: Settings, table: str, before_s: float) -> int:
    """Months that ended before."""
    from etl.stores.clickhouse_http import connect

    month = datetime.fromtimestamp(before_s, UTC).strftime("%Y%m")
    stored = f"{table}_stored"
    with connect(settings, internal=True) as client:
        listed = client.execute(
            "SELECT DISTINCT partition FROM system.parts WHERE database = currentDatabase() AND active"
            " AND table = {table:String} AND toUInt32OrZero(partition) BETWEEN 1 AND {month:UInt32} - 1"
            " FORMAT TSV",
            parameters={"table": stored, "month": month},
        )
        old = listed.decode().split()
        for partition in old:
            client.execute(f"ALTER TABLE {stored} DROP PARTITION {int(partition)}")
        return len(old)


def _drop_days(settings: Settings, table: str, before_s: float) -> int:
    """Files of days that ended before leave their table; ``compact_lake`` deletes them when their grace is over. Bars
    made of them stay. Local first: in the bucket, where files end up."""
    from etl.lake.catalog import Catalog
    from etl.lake.derived import keep_bars
    from etl.lake.storage import open_storage
    from etl.lake.upload import of_destination

    catalog = Catalog(open_storage(of_destination(settings)))
    state = catalog.read()
    first_kept = datetime.fromtimestamp(before_s, UTC).date().isoformat()
    if table == "trades":
        keep_bars(catalog, state, first_kept)
    old = [file.path for file in state.of(table) if file.date < first_kept]
    if old:
        catalog.commit(state, removed=old, operation="DELETE")
    return len(old)
