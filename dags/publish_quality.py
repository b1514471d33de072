"""Quality by venue and day, published every night."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["quality"],
    **policy("publish_quality"),
    doc_md="""
### Publish quality

Counts yesterday and the two days before, of every venue: events, gaps per million, share repaired, lag, coverage,
what is held in quarantine, incidents; makes the score of them, and publishes all to `venue_quality` in ClickHouse, to
`quality/date=….parquet` in the lake and to the page `quality/index.html` in the state (`docs/quality.md`). A day that
is published again replaces itself. Another day: trigger it with `{"day": "2026-01-31"}`, which publishes the three up
to it.

**When it fails**

- *ClickHouse at …*: the server is down or busy; the retry mends it.
- *lake at …*: the table has the day, the lake not yet. Bring the lake back and clear the task.
""",
)
def publish_quality() -> None:
    @task
    @usage_errors_fail_at_once()
    def publish(data_interval_start: Any = None, dag_run: Any = None) -> dict[str, float]:
        """The scores by day and venue."""
        from datetime import date

        from etl import settings
        from etl.monitoring.quality_publish import publish, scores

        asked = (dag_run.conf or {}).get("day") if dag_run else None
        day = date.fromisoformat(asked) if asked else data_interval_start.date()
        return scores(publish(settings.load(), day))

    publish()


publish_quality()
