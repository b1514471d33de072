"""The deadline of a DAG's runs: one that is not done in time is told of by mail, from the triggerer, without a worker.

Airflow puts this folder on the path of every process that reads DAG files. Addresses and limits are the settings of
the same names (``ETL_MAIL_TO``, ``ETL_LOAD_DEADLINE_S``, …), read from the environment because a DAG file that loaded
all settings would fail with a wrong one.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

NOTIFIER = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"


def late(setting: str, otherwise_s: float, meaning: str) -> DeadlineAlert:
    """A mail for each run that is not done so many seconds after it was queued.

    ``setting`` names the limit (``load_deadline_s``), ``otherwise_s`` is its default; ``meaning`` says, as HTML, what
    lags behind, the likely cause and what to do.
    """
    limit = timedelta(seconds=float(os.environ.get(f"ETL_{setting.upper()}", otherwise_s)))
    airflow = os.environ.get("AIRFLOW__API__BASE_URL", "http://127.0.0.1:8080").rstrip("/")
    run = "{{ dag_run.dag_id }}/runs/{{ dag_run.dag_run_id }}"
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=limit,
        callback=AsyncCallback(
            NOTIFIER,
            kwargs={
                "from_email": os.environ.get("ETL_MAIL_FROM", "market-data@localhost"),
                "to": os.environ.get("ETL_MAIL_TO", "operator@localhost"),
                "subject": f"[late] {{{{ dag_run.dag_id }}}}: not done after {limit}",
                "html_content": f"<p>Run {{{{ dag_run.dag_run_id }}}} was queued at {{{{ dag_run.queued_at }}}} and is "
                f'not done.</p><p>{meaning}</p><p><a href="{airflow}/dags/{run}">The run</a> · '
                f'<a href="{airflow}/plugin/pipeline_monitor">Pipeline Monitor</a></p>',
            },
        ),
    )
