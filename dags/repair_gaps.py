"""Open gaps of the ledger, asked of the venues' histories every five minutes."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["gaps", "repair"],
    params={
        "exchange": Param("", type="string", title="Venue", description="Only this one; empty = all"),
        "symbol": Param("", type="string", title="Symbol", description="Only this one; empty = all"),
        "key": Param("", type="string", title="Gap", description="Only this record_key; empty = all"),
    },
    **policy("repair_gaps"),
    doc_md="""
### Repair gaps

The workers repair gaps while they stream; this is the second line, for those that they put off or left open. Each open
gap that ended less than a day ago gets one attempt a run, at most 200 a run; a run triggered by hand takes older ones
too. A gap closes only with proof: all ids there, or the venue's own history without them.

*look_again* asks for what backfills found not published yet (a day's file, the last minutes of a history) when the time
has come that its gap's reason names: what comes closes it, and a file that is still missing after seven days is a hole
at the source. A run triggered by hand does not wait for that time.

**When it fails**

- *ClickHouse at … / Kafka at …*: the ledger cannot be read or written. Bring it back; the next run goes on.
- A venue that refuses fails no run: its gaps stay open with the reason (`etl gaps list --state open`).
""",
)
def repair_gaps() -> None:
    @task
    @usage_errors_fail_at_once()
    def repair(params: dict[str, Any] | None = None, dag_run: Any = None) -> dict[str, int]:
        """Attempted gaps by what became of them."""
        from etl import settings
        from etl.ingest.gap_rounds import repair_round

        loaded, asked = settings.load(), params or {}
        if not loaded.keeps("clickhouse"):
            return {}  # where the ledger lies
        return repair_round(
            loaded,
            venue=(asked.get("exchange") or "").strip(),
            symbol=(asked.get("symbol") or "").strip(),
            key=(asked.get("key") or "").strip(),
            any_age=dag_run.run_type == "manual",
        )

    @task
    @usage_errors_fail_at_once()
    def look_again(params: dict[str, Any] | None = None, dag_run: Any = None) -> dict[str, int]:
        """What was not published yet, by what became of it."""
        from etl import settings
        from etl.ingest.gap_rounds import look_again_round

        asked = params or {}
        return look_again_round(
            settings.load(),
            venue=(asked.get("exchange") or "").strip(),
            symbol=(asked.get("symbol") or "").strip(),
            key=(asked.get("key") or "").strip(),
            any_time=dag_run.run_type == "manual",
        )

    repair()
    look_again()


repair_gaps()
