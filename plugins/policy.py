"""What all DAGs have in common: no catch-up, an owner, retries with exponential back-off, a time-out.

Airflow puts this folder on the path of every process that reads DAG files, which may not import each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

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


def policy(
    *,
    retries: int,
    retry_wait_s: float,
    retry_wait_max_s: float,
    time_out_s: float,
    pool: str = "",
    priority: int = 1,
    runs_max: int = 1,
) -> dict[str, Any]:
    """Arguments for ``@dag``. A DAG whose tasks use several pools leaves ``pool`` empty and names one at each task.

    The wait before a retry begins at ``retry_wait_s`` and doubles up to ``retry_wait_max_s``; ``time_out_s`` is that of
    one try; ``runs_max`` limits the runs at a time.
    """
    return {
        "catchup": False,
        "max_active_runs": runs_max,
        "default_args": {
            "owner": OWNER,
            "retries": retries,
            "retry_delay": timedelta(seconds=retry_wait_s),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(seconds=retry_wait_max_s),
            "execution_timeout": timedelta(seconds=time_out_s),
            "priority_weight": priority,
            **({"pool": pool} if pool else {}),
        },
    }
