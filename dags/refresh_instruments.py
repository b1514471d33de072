"""The venues' instrument lists and the sessions of their markets, once a day."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["instruments", "reference"],
    **policy("refresh_instruments"),
    doc_md="""
### Refresh instruments

Fetches the list of symbols with their tick and size steps of every venue that has one, and keeps it in the state
directory. Backfills check their symbols against it. What a list says anew, ticks and lots too,
becomes a row of `instruments` in every store.
Shares of NSE and BSE are read from the newest of their end-of-day files.
With `openfigi` among the venues it tells the FIGI of every ticker of the stock venues, and of those shares.
The sessions of every venue, as its calendar has them, go into the table `sessions` of every store.

**When it fails**

- *not an instrument list, the list names …*: the venue's answer is broken. The old list stays in use.
- *status …*: the venue refuses or is down; the old list stays in use.
- *… would be … and …*: two instruments of a list have one unified symbol. The first keeps it, the second its venue's
  name; all else is done. The venue file (`read_instruments`) has to tell them apart.
- *openfigi: …@US: …*: the question of that ticker was answered with a fault, or with no FIGI. What was known of it
  stays, all else is done.
- *set OPENFIGI_API_KEY*: live, the source wants a key. One is free.
- *no list of instruments*: the newest end-of-day file below `ETL_ARCHIVE_URL` is another one.
- *ClickHouse …*: the lists are kept, and the next run writes what the history lacks.
- *calendar …: it tells of … alone*: its file ends; docs/reference_data.md says how the next year is made.
""",
)
def refresh_instruments() -> None:
    @task
    @usage_errors_fail_at_once()
    def refresh() -> dict[str, int]:
        """Instruments by venue."""
        from etl import settings
        from etl.jobs.steps import refresh_lists

        return refresh_lists(settings.load())

    @task
    @usage_errors_fail_at_once()
    def sessions(logical_date: Any = None) -> dict[str, int]:
        """Rows added, by store."""
        from datetime import UTC, datetime

        from etl import settings
        from etl.jobs.steps import refresh_sessions

        moment = logical_date or datetime.now(UTC)
        return refresh_sessions(settings.load(), int(moment.timestamp()) * 1_000_000_000)

    refresh()
    sessions()


refresh_instruments()
