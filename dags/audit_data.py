"""The nightly audit of yesterday: the rows that were not validated on ingestion."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["audit", "quality"],
    **policy("audit_data"),
    doc_md="""
### Audit the stores

Asks ClickHouse, TimescaleDB and the lake, one UTC day at a time, what no store should hold: values out of bounds,
doubled identities, missing ids that no gap declares, bars that the trades contradict, candles that are not their
trades, totals that differ between the stores; and Great Expectations on TimescaleDB, with Data Docs under
`data_docs/`. Findings are kept in `audit_findings`, each once; a summary is mailed where there are open ones.

A run audits the day that its data interval began in. Another day: trigger it with `{"day": "2026-01-31"}`.

**When it fails**

- *… at …: connection refused*: a store is down. Nothing was kept; bring it back and clear the task.
- *mail server …*: the findings are kept, only the mail is missing. It is tried again.

**When it finds something**

`etl audit findings` lists it, the check's file in `sql/checks/` says what it means. What is known and harmless is
silenced for a time with `etl audit suppress --reason … --days …`.
""",
)
def audit_data() -> None:
    @task
    @usage_errors_fail_at_once()
    def audit(data_interval_start: Any = None, dag_run: Any = None) -> dict[str, Any]:
        """Offences found, open and suppressed findings of the day."""
        from datetime import date

        from etl import settings
        from etl.audit.nightly import audit_and_tell

        asked = (dag_run.conf or {}).get("day") if dag_run else None
        day = date.fromisoformat(asked) if asked else data_interval_start.date()
        return audit_and_tell(settings.load(), day)

    audit()


audit_data()
