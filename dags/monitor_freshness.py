"""The second line behind deadlines: everything that can be late or wrong, looked at every minute."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from policy import policy, usage_errors_fail_at_once


@dag(
    tags=["monitoring", "sla"],
    **policy("monitor_freshness"),
    doc_md="""
### Monitor freshness

Silence of venues and channels by receive time (within market hours), refused keys and bans, parts that do not run,
consumer lag, rows of the last five minutes against the hour before, failed runs, full disk, and whatever cannot be
asked. One mail an incident, a reminder after `incident_reminder_s`, one mail at its end, to `mail_to`
(`mail_to_critical` for critical ones). A mail server that is down fails no run: its mails are sent when it is back.

**When it fails**

- The log says which file or setting is broken. Incidents are kept in `monitoring/incidents.json` below `state_dir`.
- It can be run by hand at any time: `etl monitor`.
""",
)
def monitor_freshness() -> None:
    @task
    @usage_errors_fail_at_once()
    def watch() -> dict[str, Any]:
        """Open incidents, and mails that the server has not taken yet."""
        import time

        import msgspec

        from etl import settings
        from etl.monitoring.loop import run_round

        found: dict[str, Any] = msgspec.to_builtins(run_round(settings.load(), time.time_ns()))
        return found

    watch()


monitor_freshness()
