"""Splits, dividends, mergers, spin-offs and names, as the vendors tell them, once a day before New York opens."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["instruments", "reference"],
    **policy("refresh_corporate_actions"),
    doc_md="""
### Refresh corporate actions

Fetches the corporate actions of the last 60 days and the announced ones from every venue of the settings that tells
them (Polygon, Alpaca), and adds what is new or corrected to `corporate_actions` in every store. The views
`bars_adjusted` and the symbol statistics adjust by them. Where vendors disagree: `etl actions differences`.
Then the names of stocks over time, which some vendors tell by their actions, go into `symbol_names`.

**When it fails**

- *… would be … and …*: two instruments would have one name on one day. The first keeps it, the other is left out; all
  else is done. `etl symbols show` tells who had it.
- *not a list of corporate actions*: the vendor's answer is broken; what was known stays. A split that is not known by
  its day makes the symbol's first trades `price_far_out` until five of them confirm the level.
- *status …*: the vendor refuses or is down; the next run asks for the same days again.
- *ClickHouse … / TimescaleDB … / lake …*: that store is down. The others may have the rows; the next run adds what each
  lacks.
""",
)
def refresh_corporate_actions() -> None:
    @task
    @usage_errors_fail_at_once()
    def refresh(logical_date: Any = None) -> dict[str, dict[str, int]]:
        """Rows added by store, by venue."""
        import time
        from datetime import UTC, datetime

        from etl import settings
        from etl.reference.corporate_actions import refresh_all

        day = (logical_date or datetime.now(UTC)).date()
        return refresh_all(settings.load(), day, time.time_ns())

    @task
    @usage_errors_fail_at_once()
    def names() -> dict[str, dict[str, int]]:
        """Rows added by store, by venue."""
        import time

        from etl import settings
        from etl.reference.symbol_names import refresh_all

        return refresh_all(settings.load(), time.time_ns())

    refresh() >> names()


refresh_corporate_actions()
