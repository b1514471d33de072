"""Symbol statistics from ClickHouse to the workers, every four hours."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["validation", "quality"],
    **policy("refresh_symbol_stats"),
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
    @usage_errors_fail_at_once()
    def refresh() -> dict[str, Any]:
        """Symbols published."""
        import time

        from etl import settings
        from etl.reference.symbol_statistics import refresh

        return {"symbols": refresh(settings.load(), time.time_ns())}

    refresh()


refresh_symbol_stats()
