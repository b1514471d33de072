"""Macro series by the calendar of their releases, every hour."""

from __future__ import annotations

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["observations", "backfill"],
    **policy("refresh_observations"),
    doc_md="""
### Refresh observations

Asks each source of macro series among `ETL_VENUES` (`fred`) for the days of the releases of its series
(`ETL_BACKFILL_SERIES`), and fetches those that were told anew since the last run, with their vintages. A series that
was never asked for comes with all of its past. On the day of a release it is asked for every hour: nobody says at which
hour it comes.

**When it fails**

- *set FRED_API_KEY*: live, the source wants a key. One is free.
- *authentication*: the key is refused. *rate_limit*: another program uses it too; the next run goes on.
- *… chunks are not done*: the source broke off. What is done stays done; the next run fetches the rest.
""",
)
def refresh_observations() -> None:
    @task
    @usage_errors_fail_at_once()
    def refresh() -> dict[str, int]:
        """Rows by series."""
        import time

        from etl import settings
        from etl.ingest.release_calendar import refresh

        return refresh(settings.load(), time.time_ns())

    refresh()


refresh_observations()
