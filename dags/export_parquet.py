"""The normalized topic into the Parquet lake, every hour."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import Asset, dag, task
from deadlines import late
from policy import policy, usage_errors_fail_at_once

LAKE = Asset("market-data-lake")


@dag(
    deadline=late("export_parquet"),
    tags=["export", "lake"],
    **policy("export_parquet"),
    doc_md="""
### Export to Parquet

Writes what was published before the end of the run's interval, and was not exported yet, as
`tables/{table}/exchange=…/date=…/{partition}-{start}-{end}.parquet`. **Triggered by hand or by the API it exports up
to now.** The boundaries are kept before the files are made, so a run that is killed and run again writes the same bytes
under the same names; each table shows files and the offset it has reached together, or not at all.

**When it fails**

- *lake at …*: the folder or bucket cannot be reached or is full. Mend it; the next run finishes the plan.
- *Kafka at …*: the broker is down. The next run goes on where this one stopped.
- *another writer runs*: an export ran at the same time. The retry mends it.
- *run: etl lake migrate*: the lake is of before 2026-11-30; `docs/lake.md` says how it is taken over.
- *offset … is gone*: the topic's retention overtook the export; replay the hole from the raw frames (`etl replay`).
- Refused records do not fail the run: they are in the quarantine as `store_rejected` (`etl quarantine list`).
""",
)
def export_parquet() -> None:
    @task(outlets=[LAKE])
    @usage_errors_fail_at_once()
    def export(dag_run: Any = None, data_interval_end: datetime | None = None) -> dict[str, Any]:
        """Messages read, rows per table, files and bytes written, records refused."""
        import time

        import msgspec

        from etl import settings
        from etl.lake.upload import upload
        from etl.sinks.export import export

        until = None if dag_run.run_type == "manual" else data_interval_end
        until_ns = None if until is None else int(until.timestamp()) * 1_000_000_000
        own = settings.load()
        summary: dict[str, Any] = msgspec.to_builtins(export(own, until_ns))
        if own.lake.upload_url:
            summary["uploaded"] = msgspec.to_builtins(upload(own, time.time_ns()))
        return summary

    export()


export_parquet()
