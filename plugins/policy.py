"""What all DAGs have in common: a schedule, no catch-up, an owner, retries with exponential back-off, a time-out.

Airflow puts this folder on the path of every process that reads DAG files, which may not import each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from etl import settings as settings_module
from etl.jobs.table import JOBS, Job

OWNER = "market-data"


@contextmanager
def usage_errors_fail_at_once() -> Iterator[None]:
    """Decorates every task. A form that asks for what there is not, a setting or a key that is wrong is no better at
    the next try: no retry, and the line says what to do."""
    from airflow.sdk.exceptions import AirflowFailException

    from etl.errors import UsageError

    try:
        yield
    except UsageError as error:
        raise AirflowFailException(str(error)) from None


def policy(name: str) -> dict[str, Any]:
    """Arguments for ``@dag``, as the table of jobs has them; no schedule where the stores that it needs are not kept. A
    job whose tasks use several pools names one at each task. Raises ``UsageError`` where a setting is wrong."""
    job = JOBS[name]
    return {
        "schedule": _schedule(job) if job.is_scheduled(settings_module.load()) else None,
        "catchup": False,
        "max_active_runs": job.runs_max,
        "default_args": {
            "owner": OWNER,
            "retries": job.retries,
            "retry_delay": timedelta(seconds=job.retry_wait_s),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(seconds=job.retry_wait_max_s),
            "execution_timeout": timedelta(seconds=job.time_out_s),
            "priority_weight": job.priority,
            **({"pool": job.pool} if job.pool else {}),
        },
    }


def _schedule(job: Job) -> Any:
    from airflow.sdk import CronDataIntervalTimetable

    return CronDataIntervalTimetable(job.cron, timezone="UTC") if job.of_interval else job.cron
