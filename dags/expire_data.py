"""Retention, by table and by setting; without one nothing is ever deleted."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once

from etl import settings

POOLS = {"timescale": "timescale", "clickhouse": "topics", "lake": "lake"}
"""By store: nothing else writes the lake meanwhile."""


@dag(
    tags=["retention"],
    **policy("expire_data"),
    doc_md="""
### Expire data

Drops whole chunks (TimescaleDB), months (ClickHouse) and days (the lake) that are older than the setting `expire_days`
says, such as `timescale.quotes=90, clickhouse.books=400, lake.quotes=900`. Tables that it does not name are kept; it is
empty by default. The raw frames are not touched: what was dropped can be made again from them.

**When it fails**

- *expire_days: …*: the setting cannot be read; nothing was deleted.
- *TimescaleDB at … / ClickHouse at … / lake at …*: the store is down. The next run mends it.
- *commit … exists already; another writer runs*: an export came between. The retry mends it.
""",
)
def expire_data() -> None:
    @task
    @usage_errors_fail_at_once()
    def expire(store: str) -> list[dict[str, Any]]:
        """Dropped chunks, months or files by table."""
        import msgspec

        from etl.stores.expiry import expire

        return [msgspec.to_builtins(one) for one in expire(settings.load(), store)]

    for store in settings.load().stores:
        expire.override(task_id=store, pool=POOLS[store])(store)


expire_data()
