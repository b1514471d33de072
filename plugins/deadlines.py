"""The deadline of a DAG's runs: one that is not done in time is told of by mail, from the triggerer, without a worker.

Airflow puts this folder on the path of every process that reads DAG files. Reading the settings there takes 6 ms; a
wrong one stands in Airflow's list of import errors.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.configuration import conf
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from etl import settings as settings_module
from etl.jobs.table import JOBS

NOTIFIER = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"


def late(name: str) -> DeadlineAlert:
    """A mail for each run of the job ``name`` that is not done so many seconds after it was queued. Raises
    ``UsageError`` where a setting is wrong."""
    job, settings = JOBS[name], settings_module.load()
    limit = timedelta(seconds=settings_module.value_of(settings, job.deadline))
    airflow = conf.get("api", "base_url", fallback=f"http://127.0.0.1:{settings.airflow.port}").rstrip("/")
    run = "{{ dag_run.dag_id }}/runs/{{ dag_run.dag_run_id }}"
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=limit,
        callback=AsyncCallback(
            NOTIFIER,
            kwargs={
                "from_email": settings.mail.sender,
                "to": settings.mail.to,
                "subject": f"[late] {{{{ dag_run.dag_id }}}}: not done after {limit}",
                "html_content": f"<p>Run {{{{ dag_run.dag_run_id }}}} was queued at {{{{ dag_run.queued_at }}}} and is "
                f'not done.</p><p>{job.late}</p><p><a href="{airflow}/dags/{run}">The run</a> · '
                f'<a href="{airflow}/plugin/pipeline_monitor">Pipeline Monitor</a></p>',
            },
        ),
    )
