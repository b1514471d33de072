"""Prometheus metrics of the DAGs' runs, served by the scheduler, which is who sees every run end.

    etl_dag_runs_total{dag_id,state}   etl_dag_run_seconds{dag_id}   etl_dag_last_success_timestamp_seconds{dag_id}

Only where the setting ``dag_metrics_port`` is given. It belongs in the scheduler's environment alone, as ``etl up``
does it: the listener cannot tell the scheduler from Airflow's other parts when it starts, and one port serves one
process. A run that an operator marks by hand in the web UI ends in the API server and is not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

RUN_SECONDS_BUCKETS = (1, 2.5, 5, 10, 25, 60, 150, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400)


class DagMetrics:
    """Airflow's listener: hears of the scheduler's start and of each run's end."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._runs = Counter(
            "etl_dag_runs", "Runs that ended, by their state", ["dag_id", "state"], registry=self.registry
        )
        self._seconds = Histogram(
            "etl_dag_run_seconds",
            "Start of a run to its end",
            ["dag_id"],
            buckets=RUN_SECONDS_BUCKETS,
            registry=self.registry,
        )
        self._last_success = Gauge(
            "etl_dag_last_success_timestamp_seconds",
            "End of the newest run that succeeded",
            ["dag_id"],
            registry=self.registry,
        )

    @hookimpl
    def on_starting(self, component: object) -> None:
        # only here, for every process of Airflow imports its plugins
        from airflow.jobs.job import Job

        from etl import settings as settings_module
        from etl.telemetry.serve import serve

        settings = settings_module.load()
        if settings.metrics.dag_port and isinstance(
            component, Job
        ):  # a task, which has the setting too, is no Job
            serve(self.registry, settings, settings.metrics.dag_port)

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        self._ended(dag_run, "success")
        if dag_run.end_date:
            self._last_success.labels(dag_run.dag_id).set(dag_run.end_date.timestamp())

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        self._ended(dag_run, "failed")

    def _ended(self, dag_run: DagRun, state: str) -> None:
        self._runs.labels(dag_run.dag_id, state).inc()
        if dag_run.start_date and dag_run.end_date:
            seconds = (dag_run.end_date - dag_run.start_date).total_seconds()
            self._seconds.labels(dag_run.dag_id).observe(seconds)


class DagMetricsPlugin(AirflowPlugin):
    name = "dag_metrics"
    listeners = [DagMetrics()]
