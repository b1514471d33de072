"""Few large Parquet files instead of many small ones, every night."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, dag, task
from policy import policy, usage_errors_fail_at_once

LAKE = Asset("market-data-lake")


@dag(
    tags=["compaction", "lake"],
    **policy("compact_lake"),
    doc_md="""
### Compact the lake

Merges the files of each table, exchange and date that overlap or are small, with one row per identity: the last state
of a bar, the newest parser's trade. A table switches to the new files some days at a time; replaced files are deleted
after `lake_grace_s`. Then `coverage`, `ohlcv_1s` and `ohlcv_1m` are made anew for the days in which something came.
Running it twice changes nothing.

**When it fails**

- *lake at …*: the folder or bucket cannot be reached or is full. What was switched by then stays; run it again.
- *another writer runs*: another compaction ran at the same time. The retry mends it.
- Out of memory or disk: a day is sorted on disk beyond `lake_compaction_memory_mib`; give it room in the temp folder.
""",
)
def compact_lake() -> None:
    @task(inlets=[LAKE], outlets=[LAKE])
    @usage_errors_fail_at_once()
    def compact() -> dict[str, Any]:
        """Days compacted, files before and after, old files deleted."""
        import time

        import msgspec

        from etl import settings
        from etl.lake.compaction import compact
        from etl.lake.upload import of_destination

        summary: dict[str, Any] = msgspec.to_builtins(
            compact(of_destination(settings.load()), time.time_ns())
        )
        return summary

    @task(inlets=[LAKE], outlets=[LAKE])
    @usage_errors_fail_at_once()
    def derive() -> dict[str, Any]:
        """Days whose coverage or bars were made anew, files and rows written."""
        import msgspec

        from etl import settings
        from etl.lake.derived import derive
        from etl.lake.upload import of_destination

        summary: dict[str, Any] = msgspec.to_builtins(derive(of_destination(settings.load())))
        return summary

    compact() >> derive()


compact_lake()
