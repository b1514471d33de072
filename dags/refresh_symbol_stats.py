"""Symbol statistics from ClickHouse to the workers, every four hours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, dag, task


@dag(
    schedule=CronDataIntervalTimetable("15 */4 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["validation", "quality"],
    default_args={
        "owner": "market-data",
        "pool": "topics",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(minutes=15),
    },
    doc_md="""
### Refresh symbol statistics

Computes the previous close and 30 days of daily returns of every symbol in ClickHouse
(`sql/queries/symbol_statistics.sql`) and publishes them to the compacted topic that running workers follow; no restart.
A symbol with fewer than 20 days is unknown: its prices are not judged by deviation.

**When it fails**

- *ClickHouse at … / Kafka at …*: the server is down. Workers go on with what they have; the next run mends it.
""",
)
def refresh_symbol_stats() -> None:
    @task
    def refresh() -> dict[str, Any]:
        """Symbols published."""
        import time

        from etl import settings
        from etl.reference.symbol_statistics import refresh

        return {"symbols": refresh(settings.load(), time.time_ns())}

    refresh()


refresh_symbol_stats()
