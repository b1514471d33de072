"""Retention, by table and by setting; without one nothing is ever deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task


@dag(
    schedule="40 4 * * *",
    catchup=False,
    max_active_runs=1,
    tags=["retention"],
    default_args={
        "owner": "market-data",
        "pool": "timescale",
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": timedelta(hours=1),
    },
    doc_md="""
### Expire data

Drops whole chunks (TimescaleDB) and whole months (ClickHouse) that are older than the setting `expire_days` says, such
as `timescale.quotes=90, clickhouse.books=400`. Tables that it does not name are kept; it is empty by default. The raw
tape and the lake are not touched: what was dropped can be loaded again.

**When it fails**

- *expire_days: …*: the setting cannot be read; nothing was deleted.
- *TimescaleDB at … / ClickHouse at …*: the store is down. The next run mends it.
""",
)
def expire_data() -> None:
    @task
    def expire() -> list[dict[str, Any]]:
        """Dropped chunks and partitions by table."""
        import msgspec

        from etl import settings
        from etl.expiry import expire

        return [msgspec.to_builtins(one) for one in expire(settings.load())]

    expire()


expire_data()
