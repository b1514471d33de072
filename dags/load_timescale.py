"""The normalized topic into TimescaleDB, every minute."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, dag, task
from deadlines import late
from policy import policy, usage_errors_fail_at_once

TIMESCALE = Asset("market-data-timescale")


@dag(
    deadline=late("load_timescale"),
    tags=["load", "timescale"],
    **policy("load_timescale"),
    doc_md="""
### Load TimescaleDB

Drains the normalized topic up to the high watermark seen at its start, in transactions that move the offset
(`load_offsets`) with the rows, then refreshes the candles of the days it touched. A run that is killed or run twice
neither loses nor doubles; a run that falls behind simply has more to do.

**When it fails**

- *TimescaleDB at … / Kafka at …*: the server is down. Bring it back; the next run goes on where this one stopped.
- *run etl migrate*: the tables are missing or old. Run `etl migrate timescale`.
- *the offset is no longer …; another load runs*: a second load holds the partition. Nothing was written twice.
- *offset … is gone*: the topic's retention overtook the load. Raise the retention, then replay the hole from the raw
  frames (`etl replay`).
- Refused records do not fail the run: they are in the quarantine as `store_rejected` (`etl quarantine list`).
""",
)
def load_timescale() -> None:
    @task(outlets=[TIMESCALE])
    @usage_errors_fail_at_once()
    def load() -> dict[str, Any]:
        """Messages read, rows per table, records refused."""
        import msgspec

        from etl import settings
        from etl.sinks.load import load_timescale

        summary: dict[str, Any] = msgspec.to_builtins(load_timescale(settings.load()))
        return summary

    load()


load_timescale()
