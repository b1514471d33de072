from __future__ import annotations

import runpy
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from prometheus_client.utils import floatToGoString

from etl.embedded.ports import free_ports
from etl.monitoring.processes import scrape

PLUGIN = Path(__file__).parents[2] / "plugins" / "dag_metrics.py"
STARTED = datetime(2026, 1, 5, 12, tzinfo=UTC)


def run_of(dag_id: str, seconds: float) -> SimpleNamespace:
    return SimpleNamespace(dag_id=dag_id, start_date=STARTED, end_date=STARTED + timedelta(seconds=seconds))


def test_the_scheduler_serves_what_became_of_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("ETL_DAG_METRICS_PORT", str(port))
    from airflow.jobs.job import Job  # after AIRFLOW_HOME is known

    listener = runpy.run_path(str(PLUGIN))["DagMetrics"]()

    listener.on_starting(component=object())
    assert scrape("127.0.0.1", port) == {}
    listener.on_starting(component=Mock(spec=Job))
    assert scrape("127.0.0.1", port) != {}
    listener.on_dag_run_success(run_of("load_timescale", 4.0), "")
    listener.on_dag_run_failed(run_of("load_timescale", 70.0), "")
    listener.on_dag_run_failed(SimpleNamespace(dag_id="export_parquet", start_date=None, end_date=None), "")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = set(answer.read().decode().splitlines())
    ended = STARTED.timestamp() + 4
    assert lines >= {
        'etl_dag_runs_total{dag_id="load_timescale",state="success"} 1.0',
        'etl_dag_runs_total{dag_id="load_timescale",state="failed"} 1.0',
        'etl_dag_runs_total{dag_id="export_parquet",state="failed"} 1.0',
        'etl_dag_run_seconds_bucket{dag_id="load_timescale",le="60.0"} 1.0',
        'etl_dag_run_seconds_bucket{dag_id="load_timescale",le="150.0"} 2.0',
        'etl_dag_run_seconds_sum{dag_id="load_timescale"} 74.0',
        f'etl_dag_last_success_timestamp_seconds{{dag_id="load_timescale"}} {floatToGoString(ended)}',
    }
