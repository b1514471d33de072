"""The normalized topic into TimescaleDB, every minute."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, dag, task
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

TIMESCALE = Asset("market-data-timescale")

LATE = DeadlineAlert(
    reference=DeadlineReference.DAGRUN_QUEUED_AT,
    interval=timedelta(minutes=15),
    callback=AsyncCallback(
        "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
        kwargs={
            "from_email": os.environ.get("ETL_MAIL_FROM", "market-data@localhost"),
            "to": os.environ.get("ETL_MAIL_TO", "operator@localhost"),
            "subject": "[late] {{ dag_run.dag_id }}: not done after 15 minutes",
            "html_content": "<p>Run {{ dag_run.dag_run_id }} was queued at {{ dag_run.queued_at }}. "
            "TimescaleDB lags behind the topic. Likely: the store is down, slow or compressing. "
            "Look at the log of <i>load</i>; nothing is lost.</p>",
        },
    ),
)


@dag(
    schedule="* * * * *",
    catchup=False,
    max_active_runs=1,
    deadline=LATE,
    tags=["load", "timescale"],
    default_args={
        "owner": "market-data",
        "pool": "timescale",
        "retries": 5,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=2),
        "execution_timeout": timedelta(minutes=30),
    },
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
  tape (`etl replay`).
- Refused records do not fail the run: they are in the quarantine as `store_rejected` (`etl quarantine list`).
""",
)
def load_timescale() -> None:
    @task(outlets=[TIMESCALE])
    def load() -> dict[str, Any]:
        """Messages read, rows per table, records refused."""
        import msgspec

        from etl import settings
        from etl.load import load_timescale

        summary: dict[str, Any] = msgspec.to_builtins(load_timescale(settings.load()))
        return summary

    load()


load_timescale()
